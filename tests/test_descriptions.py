"""What is said of tasks that wait: in the report of a deadlock, in the warning at the end of a run.

In processes of their own, as the tests of deadlocks.
"""

import pytest
from helpers import Program
from kinds import needs_no_other_thread
from notation import NOTATIONS

HEAD = """
import socket as stdlib, sys, warnings
import tonio.colored as tonio
from tonio.colored import sync
from tonio.colored.io import register
from tonio.colored.net import socket
from tonio.colored.sync import channel
from tonio.exceptions import DeadlockError

kind, threads = sys.argv[1], int(sys.argv[2])
"""

DEADLOCKED = (
    HEAD
    + """
async def never():
    await tonio.Event().wait()

async def wait():
    if kind == "barrier":
        await sync.Barrier(2).wait()
    elif kind == "lock":
        lock = sync.Lock()
        await lock.acquire()
        await tonio.spawn(lock.acquire())
    elif kind == "condition":
        condition = sync.Condition()
        async with condition():
            await condition.wait()
    elif kind == "once":
        await sync.Once().get_or_init(never)
    elif kind == "second once":
        once = sync.Once()
        await tonio.spawn(once.get_or_init(never), once.get_or_init(never))
    elif kind == "send":
        sender, receiver = channel.channel(1)
        await sender.send(1)
        await sender.send(2)
    elif kind == "receive":
        sender, receiver = channel.channel(1)
        await receiver.receive()
    elif kind == "broadcast":
        sender, receiver = channel.broadcast(1)
        await receiver.receive()
    elif kind == "watch":
        sender, receiver = channel.watch(1)
        await receiver.receive()
        await receiver.receive()
    elif kind == "select":
        await tonio.select(tonio.Event().wait(), sync.Barrier(2).wait(), never())
    elif kind == "scope":
        async with tonio.scope() as scope:
            scope.spawn(never())
    elif kind == "object":
        class Awaitable:
            def __await__(self):
                return sync.Barrier(2).wait().__await__()
        await Awaitable()

class Named:
    def __init__(self, waits):
        self.iterator = waits
    def __await__(self):
        return self
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.iterator)

async def main():
    if kind == "iterator":
        await tonio.spawn(Named(iter([tonio.Event().wait()])))
    await wait()

try:
    tonio.run(main(), threads=threads)
except DeadlockError as error:
    print(error)
"""
)


@needs_no_other_thread
@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize(
    ("kind", "threads", "words"),
    [
        ("barrier", 1, "wait() of <Barrier"),
        ("lock", 2, "of <Lock"),
        ("condition", 2, "wait() of <Condition"),
        ("once", 1, "waits for <Event"),
        ("second once", 2, "get_or_init() of <Once"),
        ("send", 1, "send() of <"),
        ("receive", 2, "receive() of <"),
        ("broadcast", 1, "receive() of <"),
        ("watch", 2, "receive() of <"),
        ("select", 2, "select() of "),
        ("scope", 1, "the end of <"),
        ("object", 1, "wait() of <Barrier"),
        ("iterator", 2, "Named"),
    ],
)
def test_deadlock_says_what_is_waited_for(
    notation: str, kind: str, threads: int, words: str
) -> None:
    with Program(DEADLOCKED, notation, kind, threads) as program:
        status, output, errors = program.finish()
    assert (status, errors) == (0, "")
    assert words in output


HELD_UP = (
    HEAD
    + """
async def wait():
    ours, theirs = socket.socketpair()
    peer, other = stdlib.socketpair()
    async with tonio.scope(shield=True, timeout=0.2):
        if kind == "recv":
            await ours.recv(1)
        elif kind == "readable":
            await register(peer.fileno()).wait_readable()
        elif kind == "sleep":
            await tonio.sleep(100)

async def main():
    tonio.spawn.without_tracking(wait())
    await tonio.sleep(0.01)

tonio.run(main(), threads=threads, shutdown_warning=0.01)
"""
)


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize(
    ("kind", "threads", "words"),
    [
        ("recv", 1, "recv() of <"),
        ("readable", 2, "to be readable"),
        ("sleep", 4, "sleep"),
    ],
)
def test_warning_says_what_holds_up_the_end(
    notation: str, kind: str, threads: int, words: str
) -> None:
    with Program(HELD_UP, notation, kind, threads) as program:
        status, _, errors = program.finish()
    assert status == 0, errors
    assert "have not ended" in errors
    assert words in errors
