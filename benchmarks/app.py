"""The app that ``stepwell dev`` serves while it is measured: one function that nothing in the load starts."""

from typing import Any

from stepwell import Context, Stepwell

app = Stepwell("bench-server")


@app.create_function(id="heard", trigger="bench/heard")
async def heard(ctx: Context[Any]) -> str:
    return "heard"
