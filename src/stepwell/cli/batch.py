"""``stepwell batch``: see ``cli/held.py``."""

from __future__ import annotations

from stepwell.cli.held import windows_command

command = windows_command("batch")
