"""Very much in both directions of one TLS connection at once, from two tasks at each end.

    python tests/stress/tls_bulk.py [MEGABYTES]

Digests of what was sent and what came must be equal.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from certificates import certificate

import tonio.colored as tonio
from tonio.colored import net
from tonio.colored.net import tls

MEGABYTE = 1 << 20


async def send(stream: tls.TLSStream[Any], megabytes: int, seed: int) -> str:
    """Sends so much of pseudo-random bytes; their digest."""
    generator = random.Random(seed)
    blocks = [generator.randbytes(MEGABYTE) for _ in range(16)]
    digest = hashlib.sha256()
    for number in range(megabytes):
        block = blocks[generator.randrange(16)]
        digest.update(block)
        await stream.send_all(block)
        if seed and number % 128 == 127:
            print(f"  {number + 1} MB sent", flush=True)
    await stream.send_eof()
    return digest.hexdigest()


async def receive(stream: tls.TLSStream[Any]) -> str:
    digest = hashlib.sha256()
    async for data in stream:
        digest.update(data)
    return digest.hexdigest()


async def program(megabytes: int) -> str:
    listeners = await tls.open_tls_over_tcp_listeners(0, certificate().server(), host="127.0.0.1")
    port = listeners[0].transport.socket.getsockname()[1]
    theirs: list[Any] = []

    async def handler(stream: tls.TLSStream[Any]) -> None:
        theirs.extend(await tonio.spawn(send(stream, megabytes, 0), receive(stream)))

    start, cpu = time.perf_counter(), time.process_time()
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(handler, listeners, grace=60))
        async with await tls.open_tls_over_tcp_stream(
            "localhost", port, ssl_context=certificate().client()
        ) as stream:
            sent, received = await tonio.spawn(send(stream, megabytes, 1), receive(stream))
        scope.cancel()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert [received, sent] == theirs, "what came is not what was sent"
    return (
        f"{megabytes} MB in each direction, digests equal: {megabytes / seconds:.0f} MB/s each, "
        f"{cpu / megabytes / 2 * 1000:.2f} ms of CPU per MB"
    )


def run(megabytes: int, threads: int = 2) -> str:
    return tonio.run(program(megabytes), threads=threads)


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else 1024))
