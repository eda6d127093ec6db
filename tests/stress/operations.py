"""Every public operation, again and again: what it used it gives back, to the last reference.

    python tests/stress/operations.py [TIMES [ROUNDS [CERTIFICATE KEY]]]

Each function below is called TIMES times in one run, and that run several times. For each a line is
printed: its name and by how much the allocated blocks and, on a debug build of the interpreter, the
references have grown per call, once all was warm. Without rounds (ROUNDS=0) each is called only to
see that it works. Written with `await`; the tests translate it.
"""

import array
import contextlib
import gc
import os
import socket as stdlib_socket
import ssl
import sys
import tempfile
import warnings

import tonio.colored as tonio
from tonio.colored import io, net, sync, time
from tonio.colored.net import socket, tls
from tonio.colored.sync import channel
from tonio.exceptions import ResourceBroken, TaskCancelled, WouldBlock

TIMES = int(sys.argv[1]) if len(sys.argv) > 1 else 20
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 10
CERTIFICATE = sys.argv[3:]
WARM = 4  # rounds that do not count
THREADS = 2

operations = {}


def operation(function):
    operations[function.__name__] = function
    return function


async def give(value):
    await tonio.sleep(0)
    return value


async def fail(error):
    await tonio.sleep(0)
    raise error


# --- tasks --------------------------------------------------------------------------------------


@operation
async def spawn_one():
    assert await tonio.spawn(give(1)) == 1


@operation
async def spawn_several():
    assert await tonio.spawn(give(1), give([2]), give("3")) == [1, [2], "3"]


@operation
async def spawn_that_fails():
    try:
        await tonio.spawn(give(1), fail(ValueError(1)), fail(KeyError(2)))
    except ExceptionGroup as group:
        failed = len(group.exceptions)
    assert failed == 2


@operation
async def spawn_without_results():
    await tonio.spawn.without_results(give(1), give(2))
    tonio.spawn.without_tracking(give(3))
    await tonio.sleep(0)


@operation
async def join_cancelled():
    join = tonio.spawn(tonio.sleep(1000), tonio.Event().wait())
    assert join.cancel()
    with contextlib.suppress(TaskCancelled):
        await join
    assert join.done()


@operation
async def spawn_of_an_operation_and_repr():
    event = tonio.Event()
    join = tonio.spawn(event.wait())
    assert repr(join)
    assert tonio.current_task().name
    assert repr(tonio.current_task())
    event.set()
    assert await join


@operation
async def coroutine_that_cannot_be_spawned():
    used = give(1)
    await used
    with contextlib.suppress(RuntimeError):
        tonio.spawn(used)
    with contextlib.suppress(TypeError):
        tonio.spawn(1)


@operation
async def mapping():
    assert await tonio.map(give, range(3)) == [0, 1, 2]


@operation
async def mapping_that_fails():
    try:
        await tonio.map(fail, [ValueError(1), ValueError(2)])
    except ExceptionGroup as group:
        failed = len(group.exceptions)
    assert failed == 2


@operation
async def blocking():
    assert await tonio.spawn_blocking(divmod, 7, 2) == (3, 1)
    assert await tonio.spawn_blocking.abandon(int, "12", base=3) == 5
    assert await tonio.map_blocking(abs, [-1, -2]) == [1, 2]


@operation
async def blocking_that_fails():
    with contextlib.suppress(ValueError):
        await tonio.spawn_blocking(int, "x")
    with contextlib.suppress(ExceptionGroup):
        await tonio.map_blocking(int, ["x", "y"])


@operation
async def selecting():
    assert await tonio.select(tonio.sleep(1000), give(7)) == 7


@operation
async def selecting_a_failure():
    with contextlib.suppress(ValueError):
        await tonio.select(tonio.Event().wait(), fail(ValueError(1)))


@operation
async def as_completed():
    got = []
    async for value in tonio.as_completed(give(1), give(2)):
        got.append(value)
    assert sorted(got) == [1, 2]


@operation
async def as_completed_left_early():
    first = next(iter(tonio.as_completed(give(1), tonio.sleep(1000))))
    assert await first == 1


@operation
async def block_on():
    assert await tonio.spawn_blocking(lambda: tonio.block_on(give(3))) == 3
    with tonio.pinned():
        await tonio.sleep(0)
    assert tonio.runtime_stats()


# --- scopes -------------------------------------------------------------------------------------


@operation
async def scope_with_tasks():
    async with tonio.scope() as scope:
        join = scope.spawn(give(1))
        scope.spawn(give(2))
    assert await join == 1


@operation
async def scope_cancelled():
    async with tonio.scope() as scope:
        scope.spawn(tonio.sleep(1000))
        scope.spawn(tonio.Event().wait())
        scope.cancel()
    assert scope.cancel_called


@operation
async def scope_that_times_out():
    async with tonio.scope(timeout=0) as scope:
        await tonio.Event().wait()
    assert scope.cancelled


@operation
async def scope_shielded():
    async with tonio.scope() as scope:
        scope.cancel()
        async with tonio.scope(shield=True):
            await tonio.sleep(0)


@operation
async def scope_whose_tasks_fail():
    try:
        async with tonio.scope() as scope:
            scope.spawn(fail(ValueError(1)))
            scope.spawn(tonio.sleep(1000))
    except ExceptionGroup:
        pass


# --- time ---------------------------------------------------------------------------------------


@operation
async def sleeping():
    await tonio.sleep(0)
    await tonio.sleep(0.00001)
    await time.sleep_until(time.time() + 0.00001)


class failing:  # the translation to the other notation knows a scope by this name
    scope = staticmethod(time.fail_after)


@operation
async def timeouts():
    assert await time.timeout(give(1), 1000) == (1, True)
    assert await time.timeout(time.sleep_forever(), 0) == (None, False)
    try:
        async with failing.scope(0):
            await tonio.Event().wait()
    except TimeoutError:
        pass


@operation
async def interval():
    ticks = time.interval(0.00001)
    await ticks.tick()
    await ticks.tick()


# --- synchronisation ----------------------------------------------------------------------------


@operation
async def event():
    one = tonio.Event()
    waiting = tonio.spawn(one.wait(), one.wait(1000))
    assert await one.wait(0) is False
    one.set()
    assert await waiting == [True, True]
    one.clear()


@operation
async def lock():
    one = sync.Lock()
    async with one():
        assert one.locked()
        waiting = tonio.spawn(hold(one))
        with contextlib.suppress(ExceptionGroup):
            await tonio.spawn(one.acquire(timeout=0))
        with contextlib.suppress(WouldBlock):
            one.or_raise()
    await waiting
    one.try_acquire()
    one.release()


async def hold(one):
    async with one():
        await tonio.sleep(0)


@operation
async def semaphore():
    one = sync.Semaphore(3, max_value=3)
    async with one(2):
        waiting = tonio.spawn(hold_two(one))
        with contextlib.suppress(TimeoutError):
            await one.acquire(2, timeout=0)
    await waiting
    with one.or_raise(3):
        assert one.tokens() == 0


async def hold_two(one):
    async with one(2):
        await tonio.sleep(0)


@operation
async def rwlock():
    one = sync.RwLock()
    async with one.read():
        waiting = tonio.spawn(write(one))
        assert one.readers() == 1
    await waiting
    with one.read_or_raise():
        pass


async def write(one):
    async with one.write():
        await tonio.sleep(0)


@operation
async def condition():
    one = sync.Condition()
    state = []
    waiting = tonio.spawn(wait_for(one, state))
    async with one():
        state.append(1)
        one.notify_all()
    assert await waiting == [1]
    async with one():
        with contextlib.suppress(TimeoutError):
            await one.wait(timeout=0)


async def wait_for(one, state):
    async with one():
        return await one.wait_for(lambda: state)


@operation
async def once():
    one = sync.Once()
    assert await tonio.spawn(one.get_or_init(list), one.get_or_init(list)) == [[], []]
    assert one.get() == []
    other = sync.Once()
    with contextlib.suppress(ValueError):
        await other.get_or_init(lambda: fail(ValueError(1)))


@operation
async def barrier():
    one = sync.Barrier(2)
    assert sorted(await tonio.spawn(one.wait(), one.wait())) == [0, 1]
    with contextlib.suppress(TimeoutError):
        await one.wait(timeout=0)
    assert not one.broken()
    one.abort()
    with contextlib.suppress(ResourceBroken):
        await one.wait()
    one.reset()


@operation
async def channel_of_size():
    sender, receiver = channel.channel(1)
    with sender, receiver:
        sending = tonio.spawn(send_all(sender.clone(), [[1], [2], [3]]))
        assert await receiver.receive() == [1]
        assert await receiver.receive(timeout=1000) == [2]
        assert await receiver.receive() == [3]
        await sending
        with contextlib.suppress(WouldBlock):
            receiver.receive_nowait()
        with contextlib.suppress(TimeoutError):
            await receiver.receive(timeout=0)
        await sender.send([4])
        assert sender.statistics().queued == 1
    # a message that nobody takes


async def send_all(sender, messages):
    with sender:
        for message in messages:
            await sender.send(message)


@operation
async def channel_unbounded():
    sender, receiver = channel.unbounded()
    for number in range(20):
        sender.send([number])
    sender.close()
    got = []
    async for message in receiver:
        got.append(message)
    assert len(got) == 20
    receiver.close()


@operation
async def broadcast():
    sender, receiver = channel.broadcast(2)
    other = sender.subscribe()
    sender.send([1])
    sender.send([2])
    assert await receiver.receive() == [1]
    assert other.receive_nowait() == [1]
    sender.close()
    async for message in receiver:
        assert message == [2]


@operation
async def watch():
    sender, receiver = channel.watch([0])
    waiting = tonio.spawn(receiver.receive())
    sender.send([1])
    assert await waiting
    assert sender.value == receiver.value == [1]
    sender.close()


# --- input and output ---------------------------------------------------------------------------


@operation
async def descriptor():
    reader, writer = os.pipe()
    try:
        with io.register(reader) as one:
            with contextlib.suppress(TimeoutError):
                await one.wait_readable(timeout=0)
            waiting = tonio.spawn(one.wait_readable())
            os.write(writer, b"x")
            await waiting
    finally:
        os.close(reader)
        os.close(writer)


async def connected():
    with socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.socket()
        await client.connect(listener.getsockname())
        server, address = await listener.accept()
        assert address == client.getsockname()
        return client, server


@operation
async def sockets():
    client, server = await connected()
    with client, server:
        await client.sendall(b"x" * 100)
        assert len(await server.recv(100)) == 100
        assert await server.send(b"y" * 50)
        room = bytearray(100)
        assert await client.recv_into(room)
        await client.sendmsg([b"a", b"b"])
        assert (await server.recvmsg(10, 100))[0]
        with contextlib.suppress(TimeoutError):
            await server.recv(1, timeout=0)
        assert client.getpeername() == server.getsockname()
        server.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_KEEPALIVE, 1)
        assert server.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_KEEPALIVE)
        with client.dup() as other:
            other.shutdown(stdlib_socket.SHUT_WR)
        assert await server.recv(1) == b""
        assert repr(server)


@operation
async def sockets_of_datagrams():
    with (
        socket.socket(type=stdlib_socket.SOCK_DGRAM) as left,
        socket.socket(type=stdlib_socket.SOCK_DGRAM) as right,
    ):
        await left.bind(("127.0.0.1", 0))
        await right.bind(("127.0.0.1", 0))
        await left.sendto(b"x", right.getsockname())
        assert await right.recvfrom(10) == (b"x", left.getsockname())
        await left.sendto(b"x", right.getsockname())
        assert (await right.recvfrom_into(bytearray(10)))[0] == 1


@operation
async def sockets_that_pass_descriptors():
    left, right = socket.socketpair()
    with left, right:
        await socket.send_fds(left, [b"x"], [0, 1])
        message, descriptors, _, _ = await socket.recv_fds(right, 10, 2)
        for number in descriptors:
            os.close(number)
        assert message == b"x"


@operation
async def sockets_that_send_a_file():
    left, right = socket.socketpair()
    with left, right, tempfile.TemporaryFile() as file:
        file.write(b"x" * 1000)
        file.flush()
        file.seek(0)
        assert await left.sendfile(file) == 1000
        assert await right.recv(10)


@operation
async def sockets_that_fail():
    with socket.socket() as one:
        with contextlib.suppress(OSError):
            await one.connect(("127.0.0.1", 1))
        with contextlib.suppress(TypeError):
            await one.connect("nonsense")
        await one.connect_ex(("127.0.0.1", 1))
        with contextlib.suppress(OSError):
            await one.recv(10)


@operation
async def names():
    assert await socket.getaddrinfo("127.0.0.1", 80)
    assert await socket.getnameinfo(("127.0.0.1", 80), stdlib_socket.NI_NUMERICHOST)
    assert await socket.getaddrinfo("localhost", 80)


async def echo(stream):
    while data := await stream.receive_some():
        await stream.send_all(data)


@operation
async def streams():
    (listener,) = await net.open_tcp_listeners(0, host="127.0.0.1")
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(echo, [listener]))
        with await net.open_tcp_stream(*listener.socket.getsockname()) as stream:
            await stream.send_all(b"line\nrest")
            assert await stream.receive_until(b"\n") == b"line"
            assert await stream.receive_exactly(4) == b"rest"
            stream.send_eof()
            assert await stream.receive_some() == b""
        scope.cancel()
    listener.close()


@operation
async def server_until_cancelled():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        async with tonio.scope() as scope:
            scope.spawn(net.serve_unix(echo, path))
            stream = None
            while stream is None:
                try:
                    stream = await net.open_unix_socket(path)
                except OSError:  # it does not listen yet
                    await tonio.yield_now()
            with stream:
                await stream.send_all(b"x")
                assert await stream.receive_some() == b"x"
            scope.cancel()


@operation
async def unix_streams():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        listener = await net.open_unix_listener(path)
        with listener, await net.open_unix_socket(path) as client:
            with await listener.accept() as server:
                await client.send_all(b"x" * 10)
                assert await server.receive_some() == b"x" * 10


if CERTIFICATE:
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(*CERTIFICATE)
    client_context = ssl.create_default_context(cafile=CERTIFICATE[0])

    @operation
    async def tls_streams():
        (listener,) = await tls.open_tls_over_tcp_listeners(0, server_context, host="127.0.0.1")
        async with tonio.scope() as scope:
            scope.spawn(net.serve_listeners(echo, [listener]))
            port = listener.transport.socket.getsockname()[1]
            stream = await tls.open_tls_over_tcp_stream(
                "127.0.0.1", port, ssl_context=client_context
            )
            await stream.send_all(b"x" * 10)
            assert await stream.receive_some() == b"x" * 10
            await stream.close()
            scope.cancel()
        listener.close()


# --- runs ---------------------------------------------------------------------------------------


async def times(function, number):
    for _ in range(number):
        await function()


async def left_behind():
    tonio.map(tonio.sleep, [1000] * 3)
    tonio.spawn(tonio.Event().wait())
    tonio.spawn.without_tracking(give(1))


def run_that_leaves_tasks_behind():
    tonio.run(left_behind(), threads=THREADS)


def run_that_fails():
    with contextlib.suppress(ValueError):
        tonio.run(fail(ValueError(1)), threads=THREADS)


def runtime_with_context():
    with tonio.runtime(threads=THREADS, context=True) as runtime:
        runtime.run_until_complete(give(1))
        runtime.run_until_complete(give(2))


def repeated(function):
    for _ in range(TIMES):
        function()


# --- measuring ----------------------------------------------------------------------------------

references = getattr(sys, "gettotalrefcount", lambda: 0)


def sample(samples):
    # The interpreter's cache of attribute look-ups keeps the names that it has seen alive.
    with warnings.catch_warnings(action="ignore"):
        sys._clear_type_cache()
    gc.collect()
    gc.collect()
    samples.append(sys.getallocatedblocks())
    samples.append(references())


def measure(name, function, *arguments):
    if ROUNDS == 0:
        function(*arguments)
        print(name, 0, 0)
        return
    samples = array.array("q")  # numbers that are no objects: they must not count themselves
    for _ in range(ROUNDS):
        function(*arguments)
        sample(samples)
    # The least of the first half to the least of the second.
    half = (ROUNDS - WARM) // 2
    grown = []
    for values in (samples[WARM * 2 :: 2], samples[WARM * 2 + 1 :: 2]):
        grown.append((min(values[half:]) - min(values[:half])) / (half * TIMES))
    print(name, *grown, flush=True)


def run_times(function):
    tonio.run(times(function, TIMES), threads=THREADS)


for called in operations.values():
    measure(called.__name__, run_times, called)
for called in (run_that_leaves_tasks_behind, run_that_fails, runtime_with_context):
    measure(called.__name__, repeated, called)
