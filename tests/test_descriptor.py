"""`tonio.io.register`: readiness of any descriptor."""

import errno
import gc
import os
import socket as stdlib_socket
import tempfile
import threading
from typing import Any

import pytest
from helpers import open_descriptors, run_program
from notation import both
from sockets import pipe

import tonio.colored as tonio
from tonio.colored import io
from tonio.exceptions import (
    ResourceBusy,
    ResourceClosed,
    RuntimeNotInitializedError,
    TaskCancelled,
)


@both
async def test_pipe_becomes_readable() -> None:
    with pipe() as (reader, writer), io.register(reader) as descriptor:
        wait = descriptor.arm_r()
        assert wait is not None
        join = tonio.spawn(wait)
        await tonio.sleep(0.001)
        assert not join.done()
        os.write(writer, b"x")
        assert await join is None
        assert descriptor.arm_r() is None
        assert descriptor.consume_r() is True
        assert descriptor.consume_r() is False
        assert descriptor.arm_r() is None  # nobody has read it
        assert os.read(reader, 10) == b"x"
        wait = descriptor.arm_r(timeout=0.001)
        assert wait is not None
        with pytest.raises(TimeoutError):
            await wait


@both
async def test_pipe_becomes_writable() -> None:
    with pipe() as (reader, writer), io.register(writer) as descriptor:
        assert descriptor.arm_w() is None
        assert descriptor.consume_w() is True
        written = 0
        with pytest.raises(BlockingIOError):
            while True:
                written += os.write(writer, bytes(4096))
        assert descriptor.consume_w() is False
        wait = descriptor.arm_w()
        assert wait is not None
        join = tonio.spawn(wait)
        await tonio.sleep(0.001)
        assert not join.done()
        os.read(reader, written)
        assert await join is None


@both
async def test_waiting_coroutines() -> None:
    left, right = stdlib_socket.socketpair()
    with left, right, io.register(left) as descriptor:
        await descriptor.wait_writable()
        for number in range(100):
            join = tonio.spawn(descriptor.wait_readable(timeout=10))
            if number % 2:
                await tonio.yield_now()
            right.send(b"%d" % number)
            assert await join is None
            assert left.recv(10) == b"%d" % number
        with pytest.raises(TimeoutError):
            await descriptor.wait_readable(0.001)
        with pytest.raises(TimeoutError):
            await descriptor.wait_readable(timeout=0)


@both
async def test_readiness_that_was_not_used_up_is_still_there() -> None:
    """It does not matter whether its owner takes all there is, or calls consume."""
    left, right = stdlib_socket.socketpair()
    with left, right, io.register(left) as descriptor:
        right.send(b"12345")
        for expected in (b"1", b"2", b"3", b"4", b"5"):
            await descriptor.wait_readable(timeout=5)
            descriptor.consume_r()
            assert left.recv(1) == expected
        with pytest.raises(TimeoutError):
            await descriptor.wait_readable(0)


@both
async def test_end_and_error_are_readiness() -> None:
    with pipe() as (reader, writer), io.register(reader) as descriptor:
        join = tonio.spawn(descriptor.wait_readable())
        await tonio.sleep(0.001)
        os.close(writer)
        assert await join is None
        for _ in range(3):
            assert descriptor.arm_r() is None
            descriptor.consume_r()
    with pipe() as (reader, writer), io.register(writer) as descriptor:
        os.close(reader)
        await descriptor.wait_writable(timeout=5)
        with pytest.raises(BrokenPipeError):
            os.write(writer, b"x")


@both
async def test_any_number_of_tasks_may_wait() -> None:
    with pipe() as (reader, writer), io.register(reader) as descriptor:
        joins = [tonio.spawn(descriptor.wait_readable()) for _ in range(50)]
        await tonio.sleep(0.002)
        os.write(writer, b"x")
        for join in joins:
            assert await join is None


@both
async def test_readable_and_writable_at_once() -> None:
    left, right = stdlib_socket.socketpair()
    with left, right, io.register(left) as descriptor:
        reading = tonio.spawn(descriptor.wait_readable())
        assert await descriptor.wait_writable(timeout=5) is None
        assert not reading.done()
        right.send(b"x")
        assert await reading is None


@both
async def test_close_wakes_and_leaves_the_descriptor_open() -> None:
    with pipe() as (reader, writer):
        descriptor = io.register(reader)
        joins = [tonio.spawn(descriptor.wait_readable()) for _ in range(5)]
        await tonio.sleep(0.001)
        descriptor.close()
        descriptor.close()
        for join in joins:
            with pytest.raises(ExceptionGroup) as caught:
                await join
            assert caught.group_contains(ResourceClosed)
        for late in (descriptor.arm_r, descriptor.arm_w):
            with pytest.raises(ResourceClosed):
                late()
        with pytest.raises(ResourceClosed):
            await descriptor.wait_writable()
        os.write(writer, b"open")
        assert os.read(reader, 10) == b"open"
        with io.register(reader) as again:
            os.write(writer, b"again")
            await again.wait_readable(timeout=5)


@both
async def test_close_from_a_foreign_thread() -> None:
    with pipe() as (reader, _):
        descriptor = io.register(reader)
        join = tonio.spawn(descriptor.wait_readable())
        await tonio.sleep(0.001)
        threading.Thread(target=descriptor.close).start()
        with pytest.raises(ExceptionGroup) as caught:
            await join
        assert caught.group_contains(ResourceClosed)


@both
async def test_dropped_registration_ends() -> None:
    with pipe() as (reader, writer):
        io.register(reader)
        gc.collect()
        with io.register(reader) as descriptor:  # so the first one is gone
            os.write(writer, b"x")
            await descriptor.wait_readable(timeout=5)


@both
async def test_wait_can_be_cancelled() -> None:
    with pipe() as (reader, writer), io.register(reader) as descriptor:
        assert await tonio.time.timeout(descriptor.wait_readable(), 0.001) == (None, False)
        join = tonio.spawn(descriptor.wait_readable())
        await tonio.sleep(0.001)
        assert join.cancel()
        with pytest.raises(TaskCancelled):
            await join
        os.write(writer, b"x")
        assert await tonio.time.timeout(descriptor.wait_readable(), 5) == (None, True)


@both
async def test_objects_with_a_descriptor() -> None:
    left, right = stdlib_socket.socketpair()
    with left, right, io.register(left) as descriptor:
        assert descriptor.fileno() == left.fileno()
        assert str(left.fileno()) in repr(descriptor)
        with pytest.raises(ResourceBusy):
            io.register(left)
        right.send(b"x")
        await descriptor.wait_readable(timeout=5)
    assert "closed" in repr(descriptor)


@both
async def test_what_cannot_be_waited_for() -> None:
    with tempfile.TemporaryFile() as file:
        with pytest.raises(OSError, match="regular file") as caught:
            io.register(file)
        assert caught.value.errno == errno.EPERM
        number = file.fileno()
    with pytest.raises(OSError) as caught:
        io.register(number)
    assert caught.value.errno == errno.EBADF
    wrong: Any
    for wrong in ("5", None, 1.5):
        with pytest.raises(TypeError):
            io.register(wrong)
    with pytest.raises(ValueError):
        io.register(-1)
    with pipe() as (reader, _), io.register(reader) as descriptor:
        with pytest.raises(ValueError):
            descriptor.arm_r(-1)
        with pytest.raises(TypeError):
            descriptor.arm_r("1")
        with pytest.raises(TypeError):
            descriptor.arm_r(1, 2)


@both
async def test_descriptor_closed_behind_our_back() -> None:
    with pipe() as (reader, _):
        descriptor = io.register(reader)
        os.close(reader)
        with pytest.raises(OSError) as caught:
            descriptor.arm_r()
        assert caught.value.errno == errno.EBADF
        # The number comes back. What the old registration does touches nobody else.
        again, other = stdlib_socket.socketpair()
        with again, other:
            assert again.fileno() == reader
            with io.register(again) as new:
                join = tonio.spawn(new.wait_readable())
                await tonio.sleep(0.001)
                with pytest.raises(OSError):
                    descriptor.arm_r()
                descriptor.close()
                other.send(b"x")
                assert await join is None
            again.detach()  # the end of the block of the pipe closes the number


@both
def test_registration_belongs_to_its_run(threads: int) -> None:
    with pipe() as (reader, writer):

        async def register() -> io.Descriptor:
            return io.register(reader)

        descriptor = tonio.run(register(), threads=threads)
        os.write(writer, b"x")

        async def use() -> None:
            with pytest.raises(ResourceClosed):
                await descriptor.wait_readable()
            with io.register(reader) as again:
                await again.wait_readable(timeout=5)

        tonio.run(use(), threads=threads)
        with pytest.raises(RuntimeNotInitializedError):
            io.register(reader)


@both
async def test_many_registrations_leave_nothing() -> None:
    before = open_descriptors()
    with pipe() as (reader, writer):
        os.write(writer, b"x")
        for _ in range(2000):
            with io.register(reader) as descriptor:
                await descriptor.wait_readable()
    assert open_descriptors() == before


@both
def test_closing_races_with_waiting(threads: int) -> None:
    """Each wait ends once: by readiness or by the close, whatever comes first."""
    ended = {"ready": 0, "closed": 0}

    async def waiter(descriptor: io.Descriptor) -> str:
        try:
            await descriptor.wait_readable()
        except ResourceClosed:
            return "closed"
        return "ready"

    async def program() -> None:
        for number in range(300):
            with pipe() as (reader, writer):
                descriptor = io.register(reader)
                joins = [tonio.spawn(waiter(descriptor)) for _ in range(3)]
                if number % 3 == 0:
                    await tonio.yield_now()
                os.write(writer, b"x")
                if number % 2:
                    await tonio.yield_now()
                descriptor.close()
                for join in joins:
                    ended[await join] += 1

    tonio.run(program(), threads=threads)
    assert sum(ended.values()) == 900


@both
def test_waiting_is_no_deadlock_and_uses_no_cpu(notation: str, threads: int) -> None:
    status, output, errors = run_program(
        f"""
        import os, time
        import tonio.colored as tonio
        from tonio.colored import io

        async def program():
            reader, writer = os.pipe()
            with io.register(reader) as descriptor:
                join = tonio.spawn(descriptor.wait_readable())
                before = time.process_time()
                assert await tonio.time.timeout(join, 0.1) == (None, False)
                print(time.process_time() - before < 0.05)
                os.write(writer, b"x")
                await join

        tonio.run(program(), threads={threads})
        """,
        notation,
    )
    assert (status, output, errors) == (0, "True\n", "")
