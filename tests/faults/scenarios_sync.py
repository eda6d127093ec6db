"""Scenarios of what tasks share: locks, channels, the blocking pool. See scenarios.py."""

import threading

from scenarios import after, persist, scenario

import tonio.colored as tonio
from tonio.colored import sync, time
from tonio.colored.sync import channel
from tonio.exceptions import EndOfChannel, TaskCancelled, WouldBlock

# --- synchronisation --------------------------------------------------------------------------


@scenario()
async def events():
    event = tonio.Event()
    waiters = tonio.spawn(*[event.wait() for _ in range(3)])
    await tonio.yield_now()
    threading.Thread(target=event.set).start()
    assert await waiters == [True, True, True]
    assert event.clear()
    return "done"


@scenario()
async def locks():
    lock = sync.Lock()
    inside = []

    def check():
        assert not lock.locked()

    after(check)

    async def work():
        await persist(lock.acquire)
        inside.append(1)
        try:
            assert len(inside) == 1
            await tonio.yield_now()
            inside.clear()
        finally:
            inside.clear()
            lock.release()
        async with lock():
            await tonio.yield_now()
        async with lock():
            pass
        assert await time.timeout(persist(lock.acquire), 5) == (None, True) or lock.locked()
        lock.release()

    await tonio.spawn(work(), work(), work())
    with lock.or_raise():
        try:
            lock.try_acquire()
            raise AssertionError
        except (WouldBlock, tonio.exceptions.DeadlockError):
            pass
    return "done"


@scenario()
async def semaphores():
    semaphore = sync.Semaphore(2)

    def check():
        assert semaphore.tokens() == 2, semaphore

    after(check)

    async def work():
        async with semaphore():
            await tonio.yield_now()
        async with semaphore(2):
            await tonio.yield_now()

    await tonio.spawn(work(), work(), work())
    try:
        async with semaphore(2):
            await semaphore.acquire(timeout=0.0005)
        raise AssertionError
    except TimeoutError:
        pass
    return "done"


@scenario()
async def other_locks():
    table = sync.RwLock()
    barrier = sync.Barrier(2)
    once = sync.Once()
    condition = sync.Condition()
    items = []

    def check():
        assert not table.locked()
        assert table.readers() == 0
        assert not condition.locked()

    after(check)

    async def meet():
        return await barrier.wait()

    async def read():
        async with table.read():
            await tonio.yield_now()

    async def write():
        async with table.write():
            await tonio.yield_now()

    async def consume():
        async with condition():
            await condition.wait_for(lambda: items)
            return items.pop()

    async def produce():
        async with condition():
            items.append("fresh")
            condition.notify()

    async with tonio.scope() as scope:
        scope.spawn(read())
        scope.spawn(write())
        scope.spawn(read())
    async with tonio.scope() as scope:
        first, second = scope.spawn(meet()), scope.spawn(meet())
    assert sorted([await first, await second]) == [0, 1]
    async with tonio.scope() as scope:
        consumer = scope.spawn(consume())
        scope.spawn(produce())
    assert await consumer == "fresh"

    async def load():
        await tonio.yield_now()
        return 42

    loads = [once.get_or_init(load), once.get_or_init(load)]
    assert await tonio.spawn(*loads) == [42, 42]
    return "done"


# --- channels ---------------------------------------------------------------------------------


async def deliver(sender, receiver, count):
    """Sends and receives so many numbers, each once and in order, whatever memory there is."""
    got = []

    async def send():
        for i in range(count):
            await persist(lambda i=i: sender.send(i))

    async def receive():
        for _ in range(count):
            got.append(await persist(receiver.receive))

    async with tonio.scope() as scope:
        scope.spawn(send())
        scope.spawn(receive())
    assert got == list(range(count)), got
    assert len(receiver) == 0


@scenario()
async def bounded_channels():
    await deliver(*channel.channel(2), 6)
    sender, receiver = channel.channel(2)
    assert sender.statistics().size == 2
    assert channel.channel(1000)[0].statistics().size == 1000
    assert "2" in repr(receiver)
    await deliver(*channel.channel(0), 3)
    return "done"


@scenario()
async def unbounded_channels():
    sender, receiver = channel.unbounded()
    sent = []
    for i in range(20):
        try:
            sender.send(i)
            sent.append(i)
        except MemoryError:
            pass
    with sender.clone() as other:
        other.send_nowait(100)
    got = []
    while len(got) < len(sent):
        got.append(await persist(receiver.receive))
    assert got == sent, (got, sent)
    assert receiver.receive_nowait() == 100
    sender.close()
    try:
        await receiver.receive()
        raise AssertionError
    except EndOfChannel:
        pass
    return "done"


@scenario()
async def iterated_channels():
    sender, receiver = channel.channel(3)
    got = []

    async def send():
        with sender:
            for i in range(5):
                await sender.send(i)

    async with tonio.scope() as scope:
        scope.spawn(send())
        async for message in receiver:
            got.append(message)
    assert got == [0, 1, 2, 3, 4]
    assert receiver.statistics().queued == 0
    return "done"


@scenario()
async def hubs():
    sender, receiver = channel.broadcast(4)
    late = sender.subscribe()
    for i in range(3):
        assert sender.send(i) == 2
    got = []
    for _ in range(3):
        got.append(await persist(receiver.receive))
    assert got == [0, 1, 2]
    assert late.receive_nowait() == 0
    state, watcher = channel.watch("old")
    waiting = tonio.spawn(watcher.receive())
    await tonio.yield_now()
    state.send("new")
    assert await waiting == "new"
    assert watcher.value == "new"
    return "done"


# --- blocking calls ---------------------------------------------------------------------------


@scenario()
async def blocking_calls():
    def fail():
        raise ValueError

    assert await tonio.spawn_blocking(len, "abc") == 3
    assert await tonio.map_blocking(len, ["a", "bb"]) == [1, 2]
    assert await tonio.spawn_blocking.abandon(len, "abcd") == 4
    caught = 0
    try:
        await tonio.spawn_blocking(fail)
    except* ValueError:
        caught = 1
    assert caught
    return "done"


@scenario(TaskCancelled)
async def cancelled_calls():
    go = threading.Event()
    ran = []

    def block():
        ran.append(1)
        while not go.wait(0.0005):
            pass

    async with tonio.scope(timeout=0.002) as scope:
        await tonio.spawn_blocking(block)
    assert scope.cancelled
    go.set()
    return "done"


@scenario(blocking_threadpool_size=1, blocking_threadpool_idle_ttl=0.0005)
async def queued_calls():
    got = await tonio.map_blocking(lambda x: 2 * x, range(5))
    assert got == [0, 2, 4, 6, 8]
    await tonio.sleep(0.003)
    assert await tonio.spawn_blocking(len, "abc") == 3
    return "done"
