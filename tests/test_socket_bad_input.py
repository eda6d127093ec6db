"""`tonio.net.socket`: wrong arguments, sockets that are closed or shared, and peers that are gone.

Each is a clear exception, and the socket works on, if there is one.
"""

import errno
import os
import socket as stdlib_socket
import struct
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from helpers import in_thread, run_program
from notation import both
from sockets import fill, half_connected, tcp_listener, tcp_pair, udp

import tonio.colored as tonio
from tonio.colored.net import socket
from tonio.exceptions import ResourceBusy, ResourceClosed

# --- sizes ------------------------------------------------------------------------------------


@both
async def test_sizes_of_gigabytes() -> None:
    client, server = await tcp_pair()
    with client, server:
        for size in (1 << 62, (1 << 63) - 1):
            with pytest.raises(MemoryError):
                await client.recv(size)
            with pytest.raises(MemoryError):
                await client.recvfrom(size)
            with pytest.raises(MemoryError):
                await client.recvmsg(size)
        with pytest.raises(OverflowError):
            await client.recv(1 << 64)
        with pytest.raises(ValueError):
            await client.recvmsg(1, 1 << 40)
        await server.sendall(b"a little")
        assert await client.recv(1 << 30) == b"a little"


@both
async def test_sizes_that_are_no_sizes() -> None:
    client, server = await tcp_pair()
    buffer = bytearray(4)
    with client, server:
        for with_size in (
            client.recv,
            client.recvfrom,
            client.recvmsg,
            lambda size: client.recv_into(buffer, size),
            lambda size: client.recvfrom_into(buffer, size),
            lambda size: client.recvmsg(1, size),
            lambda size: client.recvmsg_into([buffer], size),
        ):
            for size in (-1, -(1 << 62)):
                with pytest.raises(ValueError):
                    await with_size(size)
            for size in (1 << 64, -(1 << 64)):
                with pytest.raises(OverflowError):
                    await with_size(size)
            for size in (1.0, "1", b"1", [1]):
                with pytest.raises(TypeError):
                    await with_size(size)
        for size in (-1, 1025):
            with pytest.raises(ValueError):
                client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, size)
        for into in (client.recv_into, client.recvfrom_into):
            with pytest.raises(ValueError):
                await into(buffer, 1 << 40)
        for file_size in (1 << 64, -1, 0):
            with tempfile.TemporaryFile() as file, pytest.raises((OverflowError, ValueError)):
                await client.sendfile(file, 0, file_size)
        await server.sendall(b"ok")
        assert await client.recv(4) == b"ok"


# --- buffers ----------------------------------------------------------------------------------


@both
async def test_wrong_buffers() -> None:
    client, server = await tcp_pair()
    with client, server:
        scattered = memoryview(bytearray(10))[::2]
        with pytest.raises(BufferError):
            await client.send(scattered)
        with pytest.raises(BufferError):
            await client.recv_into(scattered)
        for read_only in (b"bytes", "text", 5, memoryview(b"x")):
            with pytest.raises(TypeError):
                await client.recv_into(read_only)
        with pytest.raises(ValueError):
            await client.recv_into(bytearray(5), -1)
        with pytest.raises(ValueError):
            await client.recv_into(bytearray(5), 6)
        with pytest.raises(TypeError):
            await client.sendto(b"x")
        buffer = bytearray(5)
        receiving = tonio.spawn(client.recv_into(buffer))
        await tonio.sleep(0.001)
        with pytest.raises(BufferError):  # it is in use
            buffer.append(1)
        await server.sendall(b"12345")
        assert await receiving == 5
        buffer.append(1)


@both
async def test_receiving_needs_one_piece_of_writable_memory() -> None:
    client, server = await tcp_pair()
    with client, server:
        for into in (
            client.recv_into,
            client.recvfrom_into,
            lambda buffer: client.recvmsg_into([bytearray(1), buffer]),
        ):
            for unfit, error in (
                (b"bytes", TypeError),
                ("text", TypeError),
                (memoryview(bytearray(4)).toreadonly(), TypeError),
                (None, TypeError),
                (memoryview(bytearray(4))[::2], BufferError),
                (memoryview(bytearray(4))[::-1], BufferError),
            ):
                with pytest.raises(error):
                    await into(unfit)
        released = memoryview(bytearray(4))
        released.release()
        with pytest.raises((TypeError, ValueError)):
            await client.recv_into(released)
        await server.sendall(b"ok")
        buffer = bytearray(4)
        assert await client.recv_into(memoryview(buffer)[1:3]) == 2
        assert buffer == b"\0ok\0"


@both
async def test_text_must_be_encoded() -> None:
    client, server = await tcp_pair()
    with client, server, await udp() as datagrams:
        for send in (
            client.send,
            client.sendall,
            lambda data: client.sendmsg([b"x", data]),
            lambda data: client.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, data)]),
            lambda data: datagrams.sendto(data, datagrams.getsockname()),
        ):
            with pytest.raises(TypeError, match="encode"):
                await send("text")
            for data in (5, None, [b"x"], 1.5):
                with pytest.raises(TypeError):
                    await send(data)
            with pytest.raises(BufferError):
                await send(memoryview(b"0123")[::2])
        await client.send(b"nothing of all that")
        assert await server.recv(100) == b"nothing of all that"


@both
async def test_message_that_changes_while_it_is_read() -> None:
    """Whose `__index__` takes the rest of it away has to expect any error but no crash."""
    left, right = socket.socketpair()
    with left, right:
        item: list[Any] = []

        class Thief:
            def __index__(self) -> int:
                item.clear()
                return socket.SOL_SOCKET

        for _ in range(100):
            item[:] = [Thief(), 12345, bytearray(100_000)]
            with pytest.raises(OSError):
                await left.sendmsg([b"x"], [item])

        def items() -> Any:
            yield (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", left.fileno()))
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await left.sendmsg([b"x"], items())
        with pytest.raises(LookupError, match="mine"):
            await left.sendmsg([b"x"], [items()])
        with pytest.raises(LookupError, match="mine"):
            await left.sendmsg(items(), [])


# --- addresses --------------------------------------------------------------------------------


@both
async def test_wrong_addresses() -> None:
    with socket.socket() as sock, socket.socket(socket.AF_INET6) as six, await udp() as datagrams:
        for wrong in (
            lambda: sock.connect(("127.0.0.1",)),
            lambda: sock.connect(("127.0.0.1", 1, 2)),
            lambda: sock.connect(["127.0.0.1", 1]),
            lambda: sock.connect((5, 1)),
            lambda: sock.connect(("a\0b", 1)),
            lambda: sock.connect(("127.0.0.1", 1.5)),
            lambda: six.connect(("::1", 1, "0")),
            lambda: six.connect(("::1", 1, 0, 0, 0)),
            lambda: datagrams.sendto(b"x", "127.0.0.1"),
            lambda: datagrams.sendto(b"x", 0, 0, ("127.0.0.1", 1)),
        ):
            with pytest.raises(TypeError):
                await wrong()
        for port in (-1, 65536, 1 << 70):
            with pytest.raises(OverflowError):
                await sock.connect(("127.0.0.1", port))
        with pytest.raises(OverflowError):
            await six.connect(("::1", 1, -1))
        with pytest.raises(OSError):  # an address of the other family
            await sock.connect(("::1", 1))
        with pytest.raises(OSError):
            await six.connect(("<broadcast>", 1))


INTERFACE = "no_such_device"
WRONG_ADDRESSES: list[tuple[str, Any, type[Exception]]] = [
    *[(family, junk, TypeError) for family in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK",
                                               "AF_VSOCK", "AF_PACKET", "AF_CAN", "AF_ALG")
      for junk in (None, 5, 1.5, (), (None,), (1, 2, 3, 4, 5, 6), {}, object())],
    *[(family, "text", TypeError) for family in ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_VSOCK",
                                                 "AF_PACKET", "AF_CAN", "AF_ALG")],
    ("AF_INET", ("127.0.0.1", -1), OverflowError),
    ("AF_INET", ("127.0.0.1", 65536), OverflowError),
    ("AF_INET", ("127.0.0.1", None), TypeError),
    ("AF_INET", ("127.0.0.1", 1, 0, 0), TypeError),  # of AF_INET6
    ("AF_INET", (b"127.0.0.1\0", 1), TypeError),
    ("AF_INET", ("\u00fc" * 100, 1), UnicodeError),
    ("AF_INET6", ("::1", 65536), OverflowError),
    ("AF_INET6", ("::1", 1, 1 << 20), OverflowError),
    ("AF_INET6", ("::1", 1, 0, 1 << 32), OverflowError),
    ("AF_INET6", ("::1", 1, None), TypeError),
    ("AF_UNIX", "x" * 108, OSError),
    ("AF_UNIX", b"\0" + b"x" * 108, OSError),
    ("AF_UNIX", "a\0b", ValueError),
    ("AF_UNIX", "\ud800", UnicodeEncodeError),
    ("AF_UNIX", memoryview(b"abcd")[::2], BufferError),
    ("AF_NETLINK", (1 << 32, 0), OverflowError),
    ("AF_NETLINK", (0, -(1 << 32)), OverflowError),
    ("AF_NETLINK", ("0", 0), TypeError),
    ("AF_VSOCK", (1, 1 << 32), OverflowError),
    ("AF_VSOCK", (1, "1"), TypeError),
    ("AF_PACKET", (INTERFACE, 0), OSError),
    ("AF_PACKET", ("", 0), OSError),
    ("AF_PACKET", ("a\0b", 0), ValueError),
    ("AF_PACKET", (b"lo", 0), TypeError),
    ("AF_PACKET", ("lo", -1), OverflowError),
    ("AF_PACKET", ("lo", 1 << 16), OverflowError),
    ("AF_PACKET", ("lo", 0, 256), OverflowError),
    ("AF_PACKET", ("lo", 0, 0, 1 << 16), OverflowError),
    ("AF_PACKET", ("lo", 0, 0, 0, b"x" * 9), ValueError),
    ("AF_PACKET", ("lo", 0, 0, 0, "text"), TypeError),
    ("AF_CAN", (INTERFACE,), OSError),
    ("AF_CAN", ("x" * 16,), OSError),
    ("AF_ALG", ("hash\0", "sha256"), ValueError),
    ("AF_ALG", ("hash", "sha\0"), ValueError),
    ("AF_ALG", ("x" * 14, "sha256"), ValueError),
    ("AF_ALG", ("hash", "x" * 64), ValueError),
    ("AF_ALG", ("hash", b"sha256"), TypeError),
    ("AF_ALG", ("hash", "\ud800"), UnicodeEncodeError),
    ("AF_ALG", ("hash", "sha256", 1 << 32), OverflowError),
]  # fmt: skip


def claiming(family: int) -> socket.socket:
    """A socket that says it is of the family, whether or not the system has any of that."""
    plain = stdlib_socket.socket(stdlib_socket.AF_INET, stdlib_socket.SOCK_DGRAM)
    return socket.socket(family, socket.SOCK_DGRAM, 0, fileno=plain.detach())


@both(threads=(1,))
@pytest.mark.parametrize(
    "family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_VSOCK", "AF_PACKET", "AF_CAN",
               "AF_ALG"],
)  # fmt: skip
async def test_wrong_addresses_of_every_family(family: str) -> None:
    """They are told before the system is asked, so a socket that only claims the family will do."""
    with claiming(getattr(socket, family)) as sock:
        for of, wrong, error in WRONG_ADDRESSES:
            if of == family:
                for call in (sock.bind, sock.connect, lambda to: sock.sendto(b"x", to)):
                    with pytest.raises(error):
                        call(wrong)
                with pytest.raises(TypeError if wrong is None else error):
                    sock.sendmsg([b"x"], [], 0, wrong if wrong is not None else 5)


RIGHT_ADDRESSES: list[tuple[str, Any]] = [
    ("AF_INET6", ("::1", 1, 2, 3)),
    ("AF_NETLINK", (0, 1)),
    ("AF_VSOCK", (1, 1)),
    ("AF_PACKET", ("lo", 0, 1, 2, b"12345678")),
    ("AF_CAN", ("lo",)),
    ("AF_ALG", ("hash", "sha256")),
    ("AF_ALG", ("skcipher", "cbc(aes)", 1, 2)),
]


@both(threads=(1,))
@pytest.mark.parametrize(("family", "right"), RIGHT_ADDRESSES)
async def test_right_addresses_of_every_family_reach_the_system(family: str, right: Any) -> None:
    """It then says that the socket, which only claims to be of that family, has another one."""
    with claiming(getattr(socket, family)) as sock:
        with pytest.raises(OSError) as caught:
            await sock.bind(right)
        # the latter for an address shorter than any of its own
        assert caught.value.errno in (errno.EAFNOSUPPORT, errno.EINVAL)


@both
async def test_addresses_of_families_that_have_none() -> None:
    with claiming(12345) as sock:
        with pytest.raises(OSError, match="12345"):
            sock.bind(("127.0.0.1", 0))


# --- closed -----------------------------------------------------------------------------------

# What may be asked of a closed socket, too.
HARMLESS = {
    "close", "detach", "fileno", "gettimeout", "settimeout", "getblocking", "setblocking",
}  # fmt: skip


def every_call(file: Any) -> dict[str, Callable[[socket.socket], Any]]:
    """One right call of each public method that needs the descriptor."""
    buffer = bytearray(4)
    level, option = socket.SOL_SOCKET, socket.SO_KEEPALIVE
    address = ("127.0.0.1", 9)
    return {
        "accept": lambda sock: sock.accept(),
        "bind": lambda sock: sock.bind(address),
        "connect": lambda sock: sock.connect(address),
        "connect_ex": lambda sock: sock.connect_ex(address),
        "recv": lambda sock: sock.recv(1),
        "recv_into": lambda sock: sock.recv_into(buffer),
        "recvfrom": lambda sock: sock.recvfrom(1),
        "recvfrom_into": lambda sock: sock.recvfrom_into(buffer),
        "recvmsg": lambda sock: sock.recvmsg(1, 100),
        "recvmsg_into": lambda sock: sock.recvmsg_into([buffer], 100),
        "send": lambda sock: sock.send(b"x"),
        "sendall": lambda sock: sock.sendall(b"x"),
        "sendto": lambda sock: sock.sendto(b"x", address),
        "sendmsg": lambda sock: sock.sendmsg([b"x"]),
        "sendfile": lambda sock: sock.sendfile(file),
        "listen": lambda sock: sock.listen(),
        "shutdown": lambda sock: sock.shutdown(socket.SHUT_RDWR),
        "getsockname": lambda sock: sock.getsockname(),
        "getpeername": lambda sock: sock.getpeername(),
        "getsockopt": lambda sock: sock.getsockopt(level, option),
        "setsockopt": lambda sock: sock.setsockopt(level, option, 1),
        "get_inheritable": lambda sock: sock.get_inheritable(),
        "set_inheritable": lambda sock: sock.set_inheritable(False),
        "dup": lambda sock: sock.dup(),
    }


@both
@pytest.mark.parametrize("detached", [False, True], ids=["closed", "detached"])
async def test_no_method_of_a_closed_socket_works(detached: bool) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"content")
        file.flush()
        calls = every_call(file)
        methods = {name for name in dir(socket.socket) if not name.startswith("_")}
        callables = {name for name in methods if callable(getattr(socket.socket, name))}
        assert callables == calls.keys() | HARMLESS
        sock = socket.socket()
        if detached:
            os.close(sock.detach())
        else:
            sock.close()
        for name, call in calls.items():
            with pytest.raises(ResourceClosed):
                outcome = call(sock)
                assert hasattr(outcome, "__await__"), f"{name} works"
                await outcome
        assert (sock.fileno(), sock.detach()) == (-1, -1)
        sock.settimeout(1)
        assert sock.gettimeout() == 1
        sock.close()


@both
async def test_descriptor_closed_behind_our_back() -> None:
    """What waited for it is told, and the new owner of the number is left in peace."""
    client, server = await tcp_pair()
    with server:
        parked = tonio.spawn(client.recv(10))
        await tonio.sleep(0.001)
        number = client.fileno()
        os.close(number)
        left, right = socket.socketpair()
        with left, right:
            assert number in (left.fileno(), right.fileno())
            same = left if left.fileno() == number else right
            other = right if same is left else left
            waiting = tonio.spawn(same.recv(10))  # registers the number anew
            with pytest.raises(ExceptionGroup) as caught:
                await parked
            assert caught.group_contains(OSError, match="Bad file descriptor")
            with pytest.raises(OSError) as closed:
                client.close()
            assert closed.value.errno == errno.EBADF
            await other.sendall(b"untouched")
            assert await waiting == b"untouched"


@both
async def test_close_tells_that_the_descriptor_is_gone() -> None:
    sock = socket.socket()
    os.close(sock.fileno())
    with pytest.raises(OSError) as caught:
        sock.close()
    assert caught.value.errno == errno.EBADF
    sock.close()


# --- peers that are not there -----------------------------------------------------------------


@both
async def test_connection_that_cannot_be() -> None:
    """Refused, unreachable, to nobody: the socket may try again."""
    with socket.socket() as bound, stdlib_socket.socket() as plain:
        await bound.bind(("127.0.0.1", 0))
        with socket.socket() as sock:
            for _ in range(2):
                with pytest.raises(ConnectionRefusedError):
                    await sock.connect(bound.getsockname())
                assert await sock.connect_ex(bound.getsockname()) == errno.ECONNREFUSED
            # nobody can be connected to a group
            expected = plain.connect_ex(("224.0.0.1", 9))
            assert expected in (errno.ENETUNREACH, errno.EHOSTUNREACH)
            with pytest.raises(OSError) as caught:
                await sock.connect(("224.0.0.1", 9))
            assert caught.value.errno == expected
            assert await sock.connect_ex(("224.0.0.1", 9)) == expected
            with tcp_listener() as listener:
                await sock.connect(listener.getsockname())
                connection, _ = await listener.accept()
                connection.close()
            assert await sock.recv(1) == b""


@both
async def test_unix_connection_that_cannot_be() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sock")
        with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as other:
            with pytest.raises(FileNotFoundError):
                await sock.connect(path)
            await other.bind(path)
            with pytest.raises(ConnectionRefusedError):  # it does not listen
                await sock.connect(path)
            with pytest.raises(FileNotFoundError):
                await sock.connect(os.path.join(folder, "nobody"))
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wrong_kind:
                with pytest.raises(OSError) as caught:
                    await wrong_kind.connect(path)
                assert caught.value.errno == errno.EPROTOTYPE
            other.listen()
            await sock.connect(path)


@both
async def test_attempt_that_took_too_long_can_be_given_up() -> None:
    """The listener's queue is full; whoever comes meanwhile is told by its timeout alone."""
    with tcp_listener(backlog=0) as listener:
        waiting = [socket.socket() for _ in range(6)]
        late = []
        try:
            for sock in waiting:
                try:
                    await sock.connect(listener.getsockname(), timeout=0.02)
                except TimeoutError:
                    late.append(sock)
            assert late
            for sock in late:
                assert await tonio.time.timeout(sock.connect(listener.getsockname()), 0) == (
                    None,
                    False,
                )
                sock.setblocking(False)
                with pytest.raises(BlockingIOError):
                    await sock.connect(listener.getsockname())
        finally:
            for sock in waiting:
                sock.close()


@both
async def test_reset_in_the_middle_of_sending() -> None:
    client, server = await tcp_pair()
    with client:
        await fill(client)
        sending = tonio.spawn(client.sendall(b"x" * 1_000_000))
        await tonio.sleep(0.001)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        with pytest.raises(ExceptionGroup) as caught:
            await sending
        assert caught.group_contains((ConnectionResetError, BrokenPipeError))


@both
@pytest.mark.parametrize("how", ["send", "sendmsg", "sendfile"])
async def test_reset_while_each_kind_of_sender_waits(how: str) -> None:
    client, server = await tcp_pair()
    with client, tempfile.TemporaryFile() as file:
        file.truncate(10_000_000)
        await fill(client)
        calls = {
            "send": lambda: client.send(b"x" * 1_000_000),
            "sendmsg": lambda: client.sendmsg([b"x" * 1_000_000]),
            "sendfile": lambda: client.sendfile(file),
        }
        sending = tonio.spawn(calls[how]())
        await tonio.sleep(0.001)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        with pytest.raises(ExceptionGroup) as caught:
            await sending
        assert caught.group_contains((ConnectionResetError, BrokenPipeError))
        with pytest.raises(BrokenPipeError):
            await calls[how]()


# --- shared -----------------------------------------------------------------------------------


@both
async def test_two_runtimes_use_a_socket_in_turn() -> None:
    """It moves, unless somebody waits for it in the other one."""

    def elsewhere() -> bytes:
        import tonio as plain

        return plain.run(server.recv(10), threads=1)

    client, server = await tcp_pair()
    with client, server:
        await client.sendall(b"one")
        assert await tonio.spawn_blocking(in_thread, elsewhere) == b"one"
        parked = tonio.spawn(server.recv(10))
        await tonio.sleep(0.001)
        with pytest.raises(ResourceBusy):
            await tonio.spawn_blocking(in_thread, elsewhere)
        await client.sendall(b"two")
        assert await parked == b"two"
        elsewhere_too = tonio.spawn_blocking(in_thread, elsewhere)
        await tonio.sleep(0.01)
        await client.sendall(b"three")
        assert await elsewhere_too == b"three"


@both
def test_socket_shared_with_a_forked_child(notation: str, threads: int) -> None:
    """The child's closing takes nothing from the parent, who goes on waiting."""
    status, output, errors = run_program(
        f"""
        import os, warnings
        import tonio.colored as tonio
        from tonio.colored.net import socket

        warnings.simplefilter("ignore")

        async def program():
            left, right = socket.socketpair()
            with left, right:
                parked = tonio.spawn(right.recv(100))
                await tonio.sleep(0.01)
                child = os.fork()
                if child == 0:
                    right.close()
                    left.close()
                    os._exit(7)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
                await left.sendall(b"from the parent")
                print(await parked)

        tonio.run(program(), threads={threads})
        """,
        notation,
    )
    assert (status, output, errors) == (0, "b'from the parent'\n", "")


@both
def test_forked_child_uses_the_socket_in_a_run_of_its_own(notation: str, threads: int) -> None:
    """It was registered with a poller before, which the child has a copy of."""
    status, output, errors = run_program(
        f"""
        import os, warnings
        import tonio.colored as tonio
        from tonio.colored.net import socket

        warnings.simplefilter("ignore")
        left, right = socket.socketpair()

        async def exchange(sock, other):
            for number in range(10):
                receiving = tonio.spawn(sock.recv(100))
                await tonio.yield_now()
                await other.sendall(b"%d" % number)
                assert await receiving == b"%d" % number

        async def receive(sock):
            return await sock.recv(100)

        tonio.run(exchange(left, right), threads={threads})
        child = os.fork()
        if child == 0:
            tonio.run(exchange(right, left), threads={threads})
            tonio.run(left.sendall(b"from the child"), threads={threads})
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        print(tonio.run(receive(right), threads={threads}))
        tonio.run(exchange(left, right), threads={threads})
        left.close()
        print(tonio.run(receive(right), threads={threads}))
        right.close()
        """,
        notation,
    )
    assert (status, output, errors) == (0, "b'from the child'\nb''\n", "")


@both
async def test_descriptor_closed_behind_our_back_before_it_is_waited_for() -> None:
    sock, other = half_connected()
    with other:
        os.close(sock.fileno())
        for call in (lambda: sock.recv(1), lambda: sock.send(b"x"), sock.accept):
            with pytest.raises(OSError) as caught:
                await call()
            assert caught.value.errno == errno.EBADF
        with pytest.raises(OSError) as caught:
            sock.getsockname()
        assert caught.value.errno == errno.EBADF
        with pytest.raises(OSError):
            sock.close()
