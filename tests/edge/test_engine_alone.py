import asyncio
from pathlib import Path
from typing import Any

from stepwell import Context, Event, Stepwell


async def test_a_sender_that_gives_up_does_not_keep_its_run_from_starting(tmp_path: Path) -> None:
    app = Stepwell("alone")
    started = asyncio.Event()

    @app.create_function(id="work", trigger="alone/go")
    async def work(ctx: Context[Any]) -> None:
        started.set()

    async with app.embedded(tmp_path / "alone.db"):
        sending = asyncio.ensure_future(app.send(Event("alone/go", {})))
        await asyncio.sleep(0)  # by now it waits for the disk
        sending.cancel()

        async with asyncio.timeout(5):
            await started.wait()
