"""`tonio.net.socket`: every method, for every kind of socket, beside the standard library."""

import array
import errno
import io
import os
import socket as stdlib_socket
import struct
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

import pytest
from helpers import open_descriptors, run_program
from notation import both
from sockets import (
    abstract_name,
    fill,
    half_connected,
    receive_exactly,
    tcp_listener,
    tcp_pair,
    udp,
)

import tonio.colored as tonio
from tonio.colored.net import socket
from tonio.exceptions import ResourceBusy, ResourceClosed

# --- datagrams --------------------------------------------------------------------------------


@both
async def test_datagrams_tell_where_they_come_from() -> None:
    with await udp() as left, await udp() as right:
        assert await left.sendto(b"to the right", right.getsockname()) == 12
        assert await right.recvfrom(100) == (b"to the right", left.getsockname())
        assert await right.sendto(b"back", 0, left.getsockname()) == 4
        buffer = bytearray(10)
        assert await left.recvfrom_into(buffer) == (4, right.getsockname())
        assert buffer[:4] == b"back"
        await right.sendto(b"12345678", left.getsockname())
        assert await left.recvfrom_into(buffer, 3) == (3, right.getsockname())
        assert buffer[:4] == b"123k"


@both
async def test_connected_datagram_sockets() -> None:
    with await udp() as left, await udp() as right:
        await left.connect(right.getsockname())
        assert left.getpeername() == right.getsockname()
        await left.send(b"one")
        await left.sendall(b"two")
        assert await right.recv(10) == b"one"
        assert await right.recv(10) == b"two"
        await left.send(b"")
        assert await right.recvfrom(10) == (b"", left.getsockname())


@both
async def test_datagram_receivers_get_their_turn_in_order() -> None:
    got = []

    async def receiver(sock: socket.socket, number: int) -> None:
        got.append((number, await sock.recv(10)))

    with await udp() as left, await udp() as right:
        joins = []
        for number in range(10):
            joins.append(tonio.spawn(receiver(right, number)))
            await tonio.sleep(0.001)  # now it is in the queue, which nobody can tell
        for number in range(10):
            await left.sendto(b"%d" % number, right.getsockname())
        for join in joins:
            await join
    assert sorted(got) == [(number, b"%d" % number) for number in range(10)]


@both
async def test_receiver_of_nothing_takes_a_datagram() -> None:
    with await udp() as left, await udp() as right:
        await left.sendto(b"dropped", right.getsockname())
        await left.sendto(b"kept", right.getsockname())
        assert await right.recv(0) == b""
        assert await right.recv(10) == b"kept"


@both
async def test_truncated_datagram() -> None:
    with await udp() as left, await udp() as right:
        for _ in range(2):
            await left.sendto(b"0123456789", right.getsockname())
        data, ancillary, flags, address = await right.recvmsg(4)
        assert (data, ancillary, address) == (b"0123", [], left.getsockname())
        assert flags & socket.MSG_TRUNC
        assert await right.recv(4, socket.MSG_TRUNC) == b"0123"


@both
async def test_nobody_listens_for_the_datagram() -> None:
    with await udp() as left:
        with await udp() as right:
            nobody = right.getsockname()
        await left.connect(nobody)
        await left.send(b"lost")
        with pytest.raises(ConnectionRefusedError):
            await left.recv(10, timeout=5)


# --- Unix sockets -----------------------------------------------------------------------------


@both
async def test_unix_stream_at_a_path() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sock")
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            await listener.bind(path)
            listener.listen()
            assert listener.getsockname() == path
            await client.connect(os.fsencode(path))
            server, address = await listener.accept()
            with server:
                assert (address, client.getpeername(), client.getsockname()) == ("", path, "")
                await client.sendall(b"hello")
                assert await server.recvfrom(10) == (b"hello", None)
            assert await client.recv(10) == b""
            with pytest.raises(OSError) as caught:
                await client.connect(os.path.join(folder, "nobody"))
            assert caught.value.errno in (errno.ENOENT, errno.EISCONN)


@both
async def test_unix_datagrams_and_abstract_names() -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as right,
    ):
        here, there = abstract_name(), abstract_name()
        await left.bind(here)
        await right.bind(there.encode())
        assert right.getsockname() == there.encode()
        await left.sendto(b"hello", there)
        assert await right.recvfrom(10) == (b"hello", here.encode())


@both
async def test_sender_waits_for_room_in_a_datagram_queue() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        sent = 0
        with pytest.raises(BlockingIOError):
            while True:
                await left.send(b"%d" % sent, socket.MSG_DONTWAIT)
                sent += 1
        join = tonio.spawn(left.send(b"the last"))
        await tonio.sleep(0.002)
        assert not join.done()
        for number in range(sent):
            assert await right.recv(100) == b"%d" % number
        assert await right.recv(100) == b"the last"
        assert await join == 8


@both
async def test_unix_packets_keep_their_bounds() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        assert left.type == socket.SOCK_SEQPACKET
        await left.send(b"one")
        await left.sendall(b"two")
        assert await right.recv(2) == b"on"
        assert await right.recv(100) == b"two"
        left.close()
        assert await right.recv(100) == b""


@both
async def test_wrong_unix_paths() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        with pytest.raises(OSError, match="too long"):
            await sock.bind("x" * 108)
        with pytest.raises(OSError, match="too long"):
            await sock.bind("\0" + "x" * 108)
        with pytest.raises(ValueError, match="null"):
            await sock.bind("a\0b")
        with pytest.raises(TypeError, match="AF_UNIX"):
            await sock.bind(("127.0.0.1", 80))
        with pytest.raises(FileNotFoundError):
            await sock.connect("/nobody/is/here")


# --- other families ---------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/net/netlink").exists(), reason="no netlink here")
@both
async def test_netlink_addresses() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        await sock.bind((0, 0))
        pid, groups = sock.getsockname()
        assert pid > 0
        assert groups == 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        await sock.bind((1 << 30 | pid, -1))  # every group
        assert sock.getsockname() == (1 << 30 | pid, 0xFFFFFFFF)
        with pytest.raises(TypeError):
            await sock.bind(("127.0.0.1", 0))


@both
async def test_packet_addresses() -> None:
    """The numbers in them have no sign: IPv6 is 0x86dd."""
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except OSError as error:
        pytest.skip(f"packets are not for everybody: {error}")
    with sock:
        await sock.bind(("lo", 0x86DD, 0, 0, bytearray(6)))
        name, protocol, _, hardware_type, hardware = sock.getsockname()
        assert (name, protocol, hardware_type, hardware) == ("lo", 0x86DD, 772, bytes(6))


# --- messages and ancillary data --------------------------------------------------------------


@both
async def test_message_of_several_buffers() -> None:
    client, server = await tcp_pair()
    with client, server:
        pieces = [b"one ", bytearray(b"two "), memoryview(b"three")]
        assert await client.sendmsg(pieces) == 13
        assert await receive_exactly(server, 13) == b"one two three"
        await client.sendmsg(iter([b"abc", b"", b"def"]), (), 0, None)
        first, second = bytearray(2), bytearray(10)
        count, ancillary, flags, address = await server.recvmsg_into([first, second])
        assert (count, ancillary, flags & socket.MSG_TRUNC) == (6, [], 0)
        assert address in (None, client.getsockname())
        assert (bytes(first), bytes(second[:4])) == (b"ab", b"cdef")


@both
async def test_message_to_an_address() -> None:
    with await udp() as left, await udp() as right:
        assert await left.sendmsg([b"a", b"b"], [], 0, right.getsockname()) == 2
        data, ancillary, _, address = await right.recvmsg(10, 100)
        assert (data, ancillary, address) == (b"ab", [], left.getsockname())


@both
async def test_descriptors_travel() -> None:
    left, right = socket.socketpair()
    with left, right, tempfile.TemporaryFile() as file:
        file.write(b"what the file holds")
        file.flush()
        before = open_descriptors()
        rights = array.array("i", [file.fileno()])
        await left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        data, ancillary, flags, _ = await right.recvmsg(10, socket.CMSG_SPACE(4))
        assert (data, flags) == (b"x", 0)
        [(level, kind, content)] = ancillary
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        (fd,) = struct.unpack("i", content)
        try:
            assert fd not in before
            assert not os.get_inheritable(fd)
            assert os.pread(fd, 100, 0) == b"what the file holds"
        finally:
            os.close(fd)


@both
async def test_send_fds_and_recv_fds() -> None:
    left, right = socket.socketpair()
    with left, right:
        reader, writer = os.pipe()
        try:
            assert await socket.send_fds(left, [b"two of them"], [reader, writer]) == 11
            data, fds, _, _ = await socket.recv_fds(right, 100, 5)
            assert (data, len(fds)) == (b"two of them", 2)
            os.write(fds[1], b"through")
            assert os.read(fds[0], 10) == b"through"
            for fd in fds:
                os.close(fd)
        finally:
            os.close(reader)
            os.close(writer)


@both
async def test_receiver_of_a_message_waits_and_sender_too() -> None:
    left, right = socket.socketpair()
    with left, right:
        join = tonio.spawn(right.recvmsg(10, 100))
        await tonio.sleep(0.001)
        await left.sendmsg([b"late"])
        assert (await join)[0] == b"late"
        sent = await fill(left)
        sending = tonio.spawn(left.sendmsg([b"after", b"wards"]))
        await tonio.sleep(0.001)
        assert not sending.done()
        assert len(await receive_exactly(right, sent)) == sent
        assert await sending == 10
        assert await receive_exactly(right, 10) == b"afterwards"


@both
async def test_wrong_messages() -> None:
    left, right = socket.socketpair()
    with left, right:
        for wrong in (
            lambda: left.sendmsg(b"bytes are no list of buffers"),
            lambda: left.sendmsg(5),
            lambda: left.sendmsg(["text"]),
            lambda: left.sendmsg([b"x"], [(1, 2)]),
            lambda: left.sendmsg([b"x"], [("a", 1, b"")]),
            lambda: left.sendmsg([b"x"], [(1, 1, "text")]),
            lambda: left.sendmsg([b"x"], 5),
            lambda: left.recvmsg_into([b"read only"]),
            lambda: left.recvmsg_into(bytearray(5)),
            lambda: left.recvmsg(),
            lambda: left.recvmsg(1, 2, 3, 4),
            lambda: left.recvmsg("5"),
        ):
            with pytest.raises(TypeError):
                await wrong()
        with pytest.raises(ValueError):
            await left.recvmsg(-1)
        with pytest.raises(ValueError):
            await left.recvmsg(1, -1)
        await left.sendmsg([b"usable"])
        assert (await right.recvmsg(10))[0] == b"usable"


# --- files ------------------------------------------------------------------------------------


async def receive_all(sock: socket.socket) -> bytes:
    pieces = []
    while piece := await sock.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


@both
@pytest.mark.parametrize("in_memory", [False, True], ids=["file", "memory"])
async def test_file_is_sent(in_memory: bool) -> None:
    content = os.urandom(3_000_001)
    client, server = await tcp_pair()
    with client, server, tempfile.TemporaryFile() as on_disk:
        file = io.BytesIO(content) if in_memory else on_disk
        on_disk.write(content)
        on_disk.seek(0)
        receiving = tonio.spawn(receive_all(server))
        assert await client.sendfile(file) == len(content)
        assert file.tell() == len(content)
        assert await client.sendfile(file, 1_000_000, 500) == 500
        assert file.tell() == 1_000_500
        assert await client.sendfile(file, offset=3_000_000) == 1
        assert await client.sendfile(file, 4_000_000) == 0
        client.shutdown(socket.SHUT_WR)
        assert await receiving == content + content[1_000_000:1_000_500] + content[-1:]


@both
async def test_file_that_the_system_cannot_send() -> None:
    """A pipe has a descriptor, but cannot be mapped: it is read."""
    client, server = await tcp_pair()
    with client, server:
        reader, writer = os.pipe()
        os.write(writer, b"from a pipe")
        os.close(writer)
        with os.fdopen(reader, "rb", buffering=0) as file:
            receiving = tonio.spawn(receive_all(server))
            with pytest.raises(OSError):  # it has no position to be left at
                await client.sendfile(file)
        client.shutdown(socket.SHUT_WR)
        assert await receiving == b"from a pipe"


@both
async def test_sender_of_a_file_has_the_stream_to_itself() -> None:
    client, server = await tcp_pair()
    with client, server, tempfile.TemporaryFile() as file:
        file.truncate(20_000_000)
        sending = tonio.spawn(client.sendfile(file))
        await tonio.sleep(0.002)
        with pytest.raises(ResourceBusy):
            await client.send(b"in between")
        client.close()
        with pytest.raises(ExceptionGroup) as caught:
            await sending
        assert caught.group_contains(ResourceClosed)


@both
async def test_wrong_files() -> None:
    client, server = await tcp_pair()
    with client, server, tempfile.TemporaryFile("w+") as text, tempfile.TemporaryFile() as file:
        for wrong in (
            lambda: client.sendfile(text),
            lambda: client.sendfile(file, -1),
            lambda: client.sendfile(file, 0, 0),
            lambda: client.sendfile(file, 0, -5),
        ):
            with pytest.raises(ValueError):
                await wrong()
        with pytest.raises(TypeError):
            await client.sendfile(file, "0")
        with pytest.raises(TypeError):
            await client.sendfile()
        with await udp() as sock, pytest.raises(ValueError, match="SOCK_STREAM"):
            await sock.sendfile(file)


@both
def test_peer_that_is_gone_is_an_error_not_a_signal(notation: str, threads: int) -> None:
    """Also in a program that has given SIGPIPE its deadly meaning back."""
    status, output, errors = run_program(
        f"""
        import signal, tempfile
        import tonio.colored as tonio
        from tonio.colored.net import socket

        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

        async def program():
            for send in (
                lambda sock, file: sock.send(b"x"),
                lambda sock, file: sock.sendall(b"x"),
                lambda sock, file: sock.sendmsg([b"x"]),
                lambda sock, file: sock.sendfile(file),
            ):
                left, right = socket.socketpair()
                with left, tempfile.TemporaryFile() as file:
                    file.write(b"content")
                    file.flush()
                    right.close()
                    try:
                        await send(left, file)
                    except BrokenPipeError:
                        print("broken")

        tonio.run(program(), threads={threads})
        """,
        notation,
    )
    assert (status, output, errors) == (0, "broken\n" * 4, "")


# --- making sockets ---------------------------------------------------------------------------


@both
async def test_detached_socket_leaves_its_descriptor() -> None:
    client, server = await tcp_pair()
    with server:
        parked = tonio.spawn(client.recv(10))
        await tonio.sleep(0.001)
        fd = client.detach()
        with pytest.raises(ExceptionGroup) as caught:
            await parked
        assert caught.group_contains(ResourceClosed)
        assert client.fileno() == -1
        assert client.detach() == -1
        with pytest.raises(ResourceClosed):
            await client.recv(1)
        with socket.socket(fileno=fd) as again:
            assert (again.family, again.type) == (socket.AF_INET, socket.SOCK_STREAM)
            receiving = tonio.spawn(again.recv(10))
            await tonio.sleep(0.001)
            await server.sendall(b"still here")
            assert await receiving == b"still here"


@both
async def test_duplicates_are_sockets_of_their_own() -> None:
    client, server = await tcp_pair()
    with server:
        copy = client.dup()
        assert copy.fileno() != client.fileno()
        assert not copy.get_inheritable()
        assert (copy.family, copy.type, copy.proto) == (client.family, client.type, client.proto)
        client.close()
        with copy:
            await copy.sendall(b"from the copy")
            assert await server.recv(100) == b"from the copy"
            with socket.fromfd(copy.fileno(), socket.AF_INET, socket.SOCK_STREAM) as third:
                await third.sendall(b"from the third")
                assert await server.recv(100) == b"from the third"


@both
async def test_socket_of_the_standard_library_is_taken_over() -> None:
    mine, other = half_connected()
    with mine, other:
        other.sendall(b"hello")
        assert await mine.recv(10) == b"hello"
    theirs = stdlib_socket.socket(stdlib_socket.AF_INET, stdlib_socket.SOCK_DGRAM)
    theirs.settimeout(2.5)
    with socket.from_stdlib_socket(theirs) as ours:
        assert theirs.fileno() == -1
        assert ours.type is socket.SOCK_DGRAM
        assert ours.gettimeout() == 2.5
        with pytest.raises(ValueError):
            socket.from_stdlib_socket(theirs)
        with pytest.raises(TypeError):
            socket.from_stdlib_socket(ours)


@both
async def test_pairs() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert left.family is socket.AF_UNIX
        assert left.type is socket.SOCK_STREAM
        await left.sendall(b"x")
        assert await right.recv(1) == b"x"
    with pytest.raises(OSError):
        socket.socketpair(socket.AF_INET)


@both
async def test_descriptor_that_is_no_socket() -> None:
    with tempfile.TemporaryFile() as file, pytest.raises(OSError) as caught:
        socket.socket(fileno=file.fileno())
    assert caught.value.errno == errno.ENOTSOCK
    with pytest.raises(ValueError):
        socket.socket(fileno=-1)
    with pytest.raises(TypeError):
        socket.socket(fileno="3")
    with pytest.raises(OSError) as caught:
        socket.socket(fileno=99999)
    assert caught.value.errno == errno.EBADF


# --- properties and options -------------------------------------------------------------------


@both
async def test_kinds_are_those_of_the_standard_library() -> None:
    for family, kind in (
        (socket.AF_INET, socket.SOCK_STREAM),
        (socket.AF_INET, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET),
    ):
        with socket.socket(family, kind) as sock:
            assert type(sock.family) is stdlib_socket.AddressFamily
            assert type(sock.type) is stdlib_socket.SocketKind
            assert (sock.family, sock.type, sock.proto) == (family, kind, 0)
    with socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        assert sock.type == socket.SOCK_DGRAM
    with pytest.raises(OSError) as caught:
        socket.socket(12345)
    assert caught.value.errno == errno.EAFNOSUPPORT


@both
async def test_inheritance() -> None:
    with socket.socket() as sock:
        assert sock.get_inheritable() is False
        sock.set_inheritable(True)
        assert sock.get_inheritable() is True
        assert os.get_inheritable(sock.fileno())
        sock.set_inheritable(False)
        assert not os.get_inheritable(sock.fileno())


@both
async def test_options_as_number_bytes_and_none() -> None:
    with socket.socket() as sock:
        level = socket.SOL_SOCKET
        sock.setsockopt(level, socket.SO_REUSEADDR, 1)
        assert sock.getsockopt(level, socket.SO_REUSEADDR) != 0
        linger = struct.pack("ii", 1, 7)
        sock.setsockopt(level, socket.SO_LINGER, linger)
        assert sock.getsockopt(level, socket.SO_LINGER, 8) == linger
        with pytest.raises(OSError):
            sock.setsockopt(level, socket.SO_LINGER, None, 3)

        class Number:
            def __index__(self) -> int:
                return 1

        sock.setsockopt(level, socket.SO_KEEPALIVE, Number())
        assert sock.getsockopt(level, socket.SO_KEEPALIVE) != 0
        with pytest.raises(OverflowError):
            sock.setsockopt(level, socket.SO_KEEPALIVE, 1 << 31)
        with pytest.raises(TypeError):
            sock.setsockopt(level, socket.SO_LINGER, None)
        with pytest.raises(TypeError):
            sock.setsockopt(level, socket.SO_LINGER, 1, 4)
        with pytest.raises(ValueError):
            sock.getsockopt(level, socket.SO_LINGER, 1025)


@both(threads=(1,))
async def test_option_that_reads_from_the_buffer_finds_nothing_there() -> None:
    zerocopy_receive = 35  # TCP_ZEROCOPY_RECEIVE: where to, and how much
    with socket.socket() as sock:
        for _ in range(5):
            try:
                found = sock.getsockopt(socket.IPPROTO_TCP, zerocopy_receive, 64)
            except OSError as error:
                if error.errno == errno.ENOPROTOOPT:
                    pytest.skip("the system has no such option")
                raise
            assert found[:8] == bytes(8)
            for option in range(1, 60):  # they leave something where the buffer was
                with suppress(OSError):
                    sock.getsockopt(socket.SOL_SOCKET, option, 1000)


def test_socket_can_be_referred_to_weakly() -> None:
    sock = socket.socket()
    reference = weakref.ref(sock)
    assert reference() is sock
    sock.close()
    del sock
    assert reference() is None


# --- time limits ------------------------------------------------------------------------------


@both
async def test_every_operation_has_a_timeout() -> None:
    client, server = await tcp_pair()
    with client, server, tcp_listener() as listener:
        buffer = bytearray(10)
        for late in (
            lambda: client.recv(1, timeout=0.001),
            lambda: client.recv_into(buffer, timeout=0.001),
            lambda: client.recvfrom(1, timeout=0.001),
            lambda: client.recvfrom_into(buffer, timeout=0),
            lambda: client.recvmsg(1, timeout=0.001),
            lambda: client.recvmsg_into([buffer], timeout=0.001),
            lambda: listener.accept(timeout=0.001),
        ):
            with pytest.raises(TimeoutError):
                await late()
        much = 1 << 24  # the system finds some room even when it is full
        with tempfile.TemporaryFile() as file:
            file.truncate(much)
            for late in (
                lambda: client.send(b"x", timeout=0.001),
                lambda: client.sendall(bytes(much), timeout=0),
                lambda: client.sendmsg([b"x"], timeout=0.001),
                lambda: client.sendfile(file, timeout=0.001),
                lambda: client.sendfile(io.BytesIO(bytes(much)), timeout=0.01),
            ):
                await fill(client)
                with pytest.raises(TimeoutError):
                    await late()
        await server.sendall(b"in time")
        assert await client.recv(10, timeout=10) == b"in time"
        for wrong in (-1, float("nan")):
            with pytest.raises(ValueError):
                client.recv(1, timeout=wrong)
        with pytest.raises(TypeError):
            client.recv(1, timeout="1")
        with pytest.raises(TypeError):
            client.recv(1, time=1)


@both
async def test_timeout_of_the_socket() -> None:
    client, server = await tcp_pair()
    with client, server:
        assert client.gettimeout() is None
        assert client.getblocking() is True
        client.settimeout(0.001)
        assert (client.gettimeout(), client.timeout) == (0.001, 0.001)
        with pytest.raises(TimeoutError):
            await client.recv(1)
        receiving = tonio.spawn(client.recv(10, timeout=None))
        await tonio.sleep(0.005)
        await server.sendall(b"no limit")
        assert await receiving == b"no limit"
        client.setblocking(False)
        assert (client.gettimeout(), client.getblocking()) == (0.0, False)
        with pytest.raises(BlockingIOError):
            await client.recv(1)
        client.setblocking(True)
        assert client.gettimeout() is None
        with pytest.raises(ValueError):
            client.settimeout(-1)
        with pytest.raises(TypeError):
            client.settimeout("1")


@both
async def test_calls_that_do_not_wait() -> None:
    client, server = await tcp_pair()
    with client, server, tcp_listener() as listener:
        with pytest.raises(BlockingIOError):
            await client.recv(1, socket.MSG_DONTWAIT)
        with pytest.raises(BlockingIOError):
            await client.recvmsg(1, 0, socket.MSG_DONTWAIT)
        with pytest.raises(BlockingIOError):
            await client.recvmsg(1, 100, socket.MSG_ERRQUEUE)
        with pytest.raises(OSError) as caught:
            await client.recv(1, socket.MSG_OOB)
        assert caught.value.errno == errno.EINVAL
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            await listener.accept()
        await server.sendall(b"there")
        assert await client.recv(5) == b"there"
        with pytest.raises(ValueError, match="MSG_WAITALL"):
            client.recv(5, socket.MSG_WAITALL)


@both
async def test_urgent_data() -> None:
    client, server = await tcp_pair()
    with client, server:
        await client.sendall(b"plain")
        await client.send(b"!", socket.MSG_OOB)
        assert await receive_exactly(server, 5) == b"plain"
        assert await server.recv(1, socket.MSG_OOB) == b"!"


@both
async def test_a_receive_that_stops_at_urgent_data_does_not_hide_what_follows() -> None:
    client, server = await tcp_pair()
    with client, server:
        with pytest.raises(TimeoutError):
            await server.recv(1, timeout=0.001)  # from now on it is watched for events
        for _ in range(3):
            await client.sendall(b"before")
            await client.send(b"!", socket.MSG_OOB)
            await client.sendall(b"after")
            data = b""
            while len(data) < 11:
                data += await server.recv(100, timeout=5)
            assert data == b"beforeafter"


@both
async def test_a_receive_that_stops_at_descriptors_does_not_hide_what_follows() -> None:
    left, right = socket.socketpair()
    with left, right:
        with pytest.raises(TimeoutError):
            await right.recv(1, timeout=0.001)
        await socket.send_fds(left, [b"with"], [left.fileno()])
        await left.sendall(b"without")
        assert await right.recv(100, timeout=5) == b"with"
        assert await right.recv(100, timeout=5) == b"without"


# --- connections ------------------------------------------------------------------------------


@both
async def test_connect_ex_tells_a_number() -> None:
    with tcp_listener() as listener:
        address = listener.getsockname()
        with socket.socket() as sock:
            assert await sock.connect_ex(address) == 0
            assert await sock.connect_ex(address) == errno.EISCONN
    with socket.socket() as sock:
        assert await sock.connect_ex(address) == errno.ECONNREFUSED


@both
async def test_second_attempt_after_a_refusal() -> None:
    """What was reported of the first one must not be believed of the second."""
    with tcp_listener() as listener:
        address = listener.getsockname()
    with socket.socket() as sock:
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await sock.connect(address)
        with tcp_listener() as listener:
            await sock.connect(listener.getsockname())
            server, _ = await listener.accept()
            with server:
                receiving = tonio.spawn(sock.recv(10))
                await tonio.sleep(0.001)
                await server.sendall(b"connected")
                assert await receiving == b"connected"


@both
async def test_connect_that_takes_too_long() -> None:
    """A listener with a full queue answers nobody."""
    with tcp_listener(backlog=0) as listener:
        socks = []
        late = 0
        try:
            for _ in range(8):
                sock = socket.socket()
                socks.append(sock)
                try:
                    await sock.connect(listener.getsockname(), timeout=0.02)
                except TimeoutError:
                    late += 1
        finally:
            for sock in socks:
                sock.close()
        assert late > 0


@both
async def test_acceptors_get_their_turn_in_order() -> None:
    order = []

    async def acceptor(listener: socket.socket, number: int) -> None:
        connection, address = await listener.accept()
        connection.close()
        order.append((number, address))

    with tcp_listener() as listener:
        joins = []
        for number in range(8):
            joins.append(tonio.spawn(acceptor(listener, number)))
            await tonio.sleep(0.001)
        addresses = []
        for _ in range(8):
            with socket.socket() as client:
                await client.connect(listener.getsockname())
                addresses.append(client.getsockname())
        for join in joins:
            await join
    assert sorted(order) == list(enumerate(addresses))


@both
async def test_gone_acceptor_makes_room_for_the_next() -> None:
    """Cancelled ones and late ones in the queue lose no connection."""
    with tcp_listener() as listener:
        late = [tonio.spawn(listener.accept(timeout=0.002)) for _ in range(5)]
        cancelled = [tonio.spawn(listener.accept()) for _ in range(5)]
        patient = tonio.spawn(listener.accept())
        await tonio.sleep(0.004)
        for join in cancelled:
            join.cancel()
        with socket.socket() as client:
            await client.connect(listener.getsockname())
            connection, address = await patient
            connection.close()
            assert address == client.getsockname()
        for join in (*late, *cancelled):
            with pytest.raises((ExceptionGroup, Exception)):
                await join
