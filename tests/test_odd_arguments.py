"""Arguments whose own methods fail, and values that only just do not fit."""

import errno
import socket as stdlib_socket
import threading
from typing import Any

import pytest
from notation import both
from sockets import abstract_name, tcp_listener

import tonio.colored as tonio
from tonio.colored.io import register
from tonio.colored.net import SocketStream, socket
from tonio.exceptions import CancelledError


class Failing:
    def __index__(self) -> int:
        raise ZeroDivisionError

    def __bool__(self) -> bool:
        raise ZeroDivisionError


FAILING: Any = Failing()


@both
async def test_failures_of_an_argument_come_out() -> None:
    with socket.socket() as sock:
        with pytest.raises(ZeroDivisionError):
            sock.setblocking(FAILING)
        with pytest.raises(ZeroDivisionError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, FAILING)
        with pytest.raises(ZeroDivisionError):
            await sock.bind(("127.0.0.1", FAILING))


@both
async def test_socket_arguments() -> None:
    wrong: Any = 1.5
    with pytest.raises(TypeError, match="fileno"):
        socket.socket(fileno=wrong)
    with socket.socket() as sock:
        many: Any = [1] * 9
        with pytest.raises(TypeError, match="at most"):
            sock.recv_into(*many)
        nobody: Any = {"nobody": 1}
        with pytest.raises(TypeError, match="nobody"):
            SocketStream(sock).send_all(**nobody)
        sock.settimeout(0)
        with pytest.raises(ValueError, match="sendfile"):
            sock.sendfile(many)
    with pytest.raises(ValueError, match="port must not contain"):
        await socket.getaddrinfo("127.0.0.1", "80\0")
    with pytest.raises(UnicodeError):
        await socket.getnameinfo(("\udc80", 80), 0)


@both
async def test_options_of_vsock_are_wide() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM, 0, fileno=plain.detach())
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
        with pytest.raises(OverflowError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 << 64)


@both
async def test_scope_arguments() -> None:
    with tonio.scope() as scope:
        wrong: Any = scope
        with pytest.raises(TypeError, match="no arguments"):
            wrong(1)
        with pytest.raises(TypeError, match="cannot be deleted"):
            del wrong.deadline
    await tonio.yield_now()


@pytest.mark.parametrize("option", ["blocking_threadpool_idle_ttl", "shutdown_warning"])
def test_numbers_of_seconds_of_a_runtime(option: str) -> None:
    options: Any = {option: None}
    with pytest.raises(TypeError, match=f"{option} must be a number of seconds"):
        tonio.runtime(**options)


@both
async def test_names_of_vsock() -> None:
    anybody = (0xFFFFFFFF, 0xFFFFFFFF)
    try:
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except OSError as error:
        pytest.skip(f"no AF_VSOCK here: {error}")
    with sock:
        assert sock.getsockname() == anybody
        try:
            await sock.bind(anybody)
        except OSError as error:
            pytest.skip(f"AF_VSOCK has no transport here: {error}")
        assert sock.getsockname()[0] == anybody[0]


def test_operations_can_be_subscripted() -> None:
    from tonio._core import Operation

    operation: Any = Operation
    assert operation[int] is operation


def test_descriptor_belongs_to_one_runtime() -> None:
    """Not only while that one runs in the same thread."""
    kept: list[Any] = []
    begun, done = threading.Event(), threading.Event()

    async def own() -> None:
        left, right = stdlib_socket.socketpair()
        with left, right:
            kept.append(register(left))
            begun.set()
            await tonio.spawn_blocking(done.wait)
            kept.pop().close()

    async def foreign() -> None:
        with pytest.raises(RuntimeError, match="another runtime"):
            await kept[0].wait_readable()

    thread = threading.Thread(target=lambda: tonio.run(own(), threads=1))
    thread.start()
    begun.wait(10)
    try:
        tonio.run(foreign(), threads=1)
    finally:
        done.set()
        thread.join()


@both
async def test_connections_without_time_to_wait() -> None:
    """To a Unix socket with a full queue there is no waiting; TCP only begins."""
    name = abstract_name()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        await listener.bind(name)
        listener.listen(0)
        clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
        try:
            with pytest.raises(BlockingIOError):
                for client in clients:
                    await client.connect(name)
        finally:
            for client in clients:
                client.close()
    with tcp_listener() as listener:
        with socket.socket() as sock:
            sock.settimeout(0)
            with pytest.raises(BlockingIOError) as begun:
                await sock.connect(listener.getsockname())
            assert begun.value.errno == errno.EINPROGRESS
        with socket.socket() as sock:
            sock.settimeout(0)
            assert await sock.connect_ex(listener.getsockname()) == errno.EINPROGRESS


@both
async def test_scope_of_an_address_may_be_in_its_host() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        with pytest.raises(OSError):
            await sock.bind(("fe80::1234%lo", 0))


@both
async def test_iterator_that_knows_exceptions_gets_them() -> None:
    class Waits:
        thrown: BaseException | None = None

        def __await__(self) -> Any:
            return self

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            return tonio.Event().wait()

        def throw(self, error: BaseException) -> None:
            self.thrown = error
            raise error

    waits = Waits()
    with tonio.scope() as scope:
        scope.spawn(waits)
        await tonio.sleep(0.001)
        scope.cancel()
    await scope()
    assert isinstance(waits.thrown, CancelledError) or waits.thrown is None
