"""A program that runs for long: what a run has used it gives back, and so does each operation.

The latter on a debug build of the interpreter, which counts references (make test-refleaks).
"""

from pathlib import Path

import pytest
from certificates import certificate, needs_openssl
from helpers import run_program
from kinds import ASAN, DEBUG, TSAN
from notation import NOTATIONS

OPERATIONS = Path(__file__).parent / "stress" / "operations.py"

SAMPLES = """
    import array, gc, os, sys, warnings

    samples = array.array("q")  # numbers that are no objects: they must not count themselves

    def sample():
        # The interpreter's cache of attribute look-ups keeps the names that it has seen alive.
        with warnings.catch_warnings(action="ignore"):
            sys._clear_type_cache()
        gc.collect()
        samples.append(len(os.listdir("/proc/self/task")))
        samples.append(len(os.listdir("/proc/self/fd")))
        samples.append(sys.getallocatedblocks())
        with open("/proc/self/statm") as file:
            samples.append(int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE"))

    def grown():
        "From the second quarter of the samples, when all is warm, to the last: the least of each."
        quarter = len(samples) // 16
        for kind in range(4):
            values = samples[kind::4]
            print(min(values[-quarter:]) - min(values[quarter : 2 * quarter]))
"""

MANY_RUNS = """
    import tonio.colored as tonio
    from tonio.colored.net import socket

    async def give(value):
        await tonio.yield_now()
        return value

    async def fail(number):
        await tonio.sleep(0)
        raise ValueError(number)

    async def exchange():
        with socket.socket() as listener, socket.socket() as client:
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            await client.connect(listener.getsockname())
            server, _ = await listener.accept()
            with server:
                await client.sendall(b"x" * 1000)
                await server.recv(10)

    async def main():
        await tonio.spawn(*[give(number) for number in range(TASKS)])
        await tonio.time.timeout(tonio.sleep(1000), 0.0001)
        await tonio.map_blocking(abs, range(10))
        await exchange()
        try:
            await tonio.map(fail, range(10))
        except ExceptionGroup:
            pass
        # left behind: cancelled at the end
        tonio.map(tonio.sleep, [1000] * 10)
        tonio.spawn(tonio.Event().wait())
        tonio.spawn.without_tracking(give(1))

    for _ in range(RUNS):
        tonio.run(main(), threads=4)
        sample()
    grown()
"""

ONE_RUN = """
    import tonio.colored as tonio

    async def work(number):
        await tonio.sleep(0.0001 * (number % 2))
        await tonio.time.timeout(tonio.Event().wait(), 0)
        return number

    async def main():
        for _ in range(RUNS):
            await tonio.map(work, range(TASKS))
            sample()
        grown()

    tonio.run(main(), threads=4)
"""


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("program", [MANY_RUNS, ONE_RUN], ids=["many runs", "one long run"])
def test_nothing_grows(program: str, notation: str) -> None:
    runs, tasks = 60, 1000
    source = SAMPLES + program.replace("RUNS", str(runs)).replace("TASKS", str(tasks))
    status, output, errors = run_program(source, notation)
    assert (status, errors) == (0, "")
    threads, descriptors, blocks, resident = map(int, output.split())
    assert threads <= 0
    assert descriptors <= 0
    assert blocks < 15  # less than one in two runs
    if not (ASAN or TSAN):  # these keep what was freed for a while, to find who still uses it
        assert resident < 1 << 20


def growth(notation: str, times: int, rounds: int) -> dict[str, tuple[float, float]]:
    """For each public operation how many blocks and references it keeps each time."""
    good = certificate()
    status, output, errors = run_program(
        OPERATIONS.read_text(), notation, times, rounds, good.certificate, good.key
    )
    assert (status, errors) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    assert len(lines) == OPERATIONS.read_text().count("@operation\n") + 3
    return {name: (float(blocks), float(references)) for name, blocks, references in lines}


@pytest.mark.skipif(not DEBUG, reason="make test-refleaks: only a debug build counts references")
@needs_openssl
@pytest.mark.parametrize("notation", NOTATIONS)
def test_no_operation_keeps_anything(notation: str) -> None:
    grown = growth(notation, 10, 10)
    # One that leaks keeps one each time. A list or a dictionary of the interpreter's may grow once.
    kept = {name: values for name, values in grown.items() if max(values) > 0.5}
    assert kept == {}


@pytest.mark.skipif(DEBUG, reason="the test above does it as well")
@needs_openssl
@pytest.mark.parametrize("notation", NOTATIONS)
def test_the_operations_that_are_measured_work(notation: str) -> None:
    """On a debug build few run them, and nobody would notice when the hunt ends halfway."""
    growth(notation, 1, 0)
