"""The app that ``stepwell dev`` serves while it is measured: none of its functions is started by that load.

It is the app of the embedded measurements, so that on a database with a past its runs are served here, too.
"""

from benchmarks.embedded import Bench

app = Bench().app
