"""A load generator: one process, some keep-alive connections, ``POST /e/bench`` as fast as answers come.

``python -m benchmarks.load PORT CONNECTIONS SECONDS BATCH`` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time


async def _connection(port: int, request: bytes, until: float, taken: list[float]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    try:
        while (started := time.perf_counter()) < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode(errors="replace"))
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
            )
            await reader.readexactly(length)
            taken.append(time.perf_counter() - started)
            done += 1
    finally:
        writer.close()
    return done


async def main(port: int, connections: int, seconds: float, batch: int) -> dict[str, float]:
    event = {"name": "bench/unheard", "data": {"order_id": "o-1234", "amount": 4200, "note": "x" * 40}}
    body = json.dumps(event if batch == 1 else [event] * batch).encode()
    request = (
        b"POST /e/bench HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    ) + body
    taken: list[float] = []
    started = time.perf_counter()
    until = started + seconds
    counts = await asyncio.gather(*(_connection(port, request, until, taken) for _ in range(connections)))
    elapsed = time.perf_counter() - started
    taken.sort()
    return {
        "events_per_s": sum(counts) * batch / elapsed,
        "requests_per_s": sum(counts) / elapsed,
        "p50_ms": taken[len(taken) // 2] * 1000,
        "p99_ms": taken[int(len(taken) * 0.99)] * 1000,
    }


if __name__ == "__main__":
    import uvloop

    port, connections, seconds, batch = sys.argv[1:]
    print(json.dumps(uvloop.run(main(int(port), int(connections), float(seconds), int(batch)))))
