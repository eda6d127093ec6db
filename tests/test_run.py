"""`run`, `main`, `runtime`: how a run begins, what it hands on, and how it ends."""

import os
import signal
import sys
import sysconfig
import threading
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter, sleep, thread_time
from typing import Any

import pytest
from helpers import (
    Program,
    Unraisables,
    functions_in,
    in_thread,
    run_program,
    threads_of_process,
)
from notation import NOTATIONS, both

import tonio.colored as tonio
from tonio.colored.net import socket
from tonio.exceptions import CancelledError, TaskCancelled

# --- what comes of a run ----------------------------------------------------------------------


async def give(value: Any) -> Any:
    await tonio.yield_now()
    return value


@both
def test_run_returns_the_value(threads: int) -> None:
    async def main() -> list[int]:
        return [await give(1), await give(2)]

    assert tonio.run(main(), threads=threads) == [1, 2]


@both
def test_run_returns_the_value_of_a_coroutine_that_never_waits(threads: int) -> None:
    async def main() -> str:
        return "done"

    assert tonio.run(main(), threads=threads) == "done"


@both
def test_run_raises_what_the_main_coroutine_raised(threads: int) -> None:
    error = ValueError("mine")

    async def inner() -> None:
        await tonio.yield_now()
        raise error

    async def main() -> None:
        await inner()

    with pytest.raises(ValueError, match="mine") as caught:
        tonio.run(main(), threads=threads)
    assert caught.value is error
    assert functions_in(caught.value)[-2:] == ["main", "inner"]
    assert caught.value.__context__ is None


class Awaitable:
    def __await__(self) -> Any:
        yield from tonio.sleep(0)
        return "awaited"


@both
def test_run_takes_all_that_can_be_awaited(threads: int) -> None:
    event = tonio.Event()
    event.set()
    assert tonio.run(event.wait(), threads=threads) is True
    assert tonio.run(tonio.sleep(0), threads=threads) is None
    assert tonio.run(tonio.time.timeout(give(1), 10), threads=threads) == (1, True)
    assert tonio.run(Awaitable(), threads=threads) == "awaited"


@both
def test_many_runs_in_one_program(threads: int) -> None:
    async def main(number: int) -> int:
        assert await tonio.spawn(give(number), give(-number)) == [number, -number]
        return number

    for number in range(50):
        assert tonio.run(main(number), threads=threads) == number


@both
def test_runs_in_several_threads_at_the_same_time(threads: int) -> None:
    meeting = threading.Barrier(3)
    results: list[Any] = []

    async def main(number: int) -> list[int]:
        meeting.wait(10)  # all of them run now
        return await tonio.map(give, range(number, number + 100))

    def call(number: int) -> None:
        results.append(tonio.run(main(number), threads=threads))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(results) == [list(range(number, number + 100)) for number in range(3)]


@both
def test_run_after_a_failed_run(threads: int) -> None:
    async def fail() -> None:
        raise KeyError("first")

    with pytest.raises(KeyError):
        tonio.run(fail(), threads=threads)
    assert tonio.run(give(2), threads=threads) == 2


# --- main and runtime -------------------------------------------------------------------------


@both
def test_main_passes_arguments_through(threads: int) -> None:
    @tonio.main(threads=threads)
    async def program(*args: int, **kwargs: int) -> Any:
        """What it does."""
        return await give((args, kwargs))

    assert program(1, 2, three=3) == ((1, 2), {"three": 3})
    assert program() == ((), {})
    assert program.__name__ == "program"
    assert program.__doc__ == "What it does."


@both(threads=(2,))
def test_main_without_options() -> None:
    @tonio.main
    async def program(value: int) -> int:
        return await give(value)

    assert program(7) == 7


@both
def test_runtime_runs_one_coroutine_after_another(threads: int) -> None:
    async def fail() -> None:
        raise KeyError("second")

    with tonio.runtime(threads=threads) as runtime:
        assert isinstance(runtime, tonio.Runtime)
        assert runtime.run_until_complete(give(1)) == 1
        with pytest.raises(KeyError):
            runtime.run_until_complete(fail())
        assert runtime.run_until_complete(give(3)) == 3
        # and from another thread
        assert in_thread(lambda: runtime.run_until_complete(give(4))) == 4


@both(threads=(2,))
def test_idle_runtime_object_holds_nothing(threads: int) -> None:
    before = threads_of_process()
    runtimes = [tonio.runtime(threads=threads) for _ in range(100)]
    assert threads_of_process() == before
    assert all(runtime.run_until_complete(give(1)) == 1 for runtime in runtimes)
    assert threads_of_process() == before


def test_objects_tell_what_they_are() -> None:
    runtime = tonio.runtime(threads=3)
    assert "Runtime" in repr(runtime)
    assert "3" in repr(runtime)
    runtime.close()
    assert "closed" in repr(runtime)


# --- names ------------------------------------------------------------------------------------


def test_both_modules_export_the_same_objects() -> None:
    import tonio as plain

    assert sorted(tonio.__all__) == sorted([*plain.__all__, "yield_now"])
    for name in set(plain.__all__) - {"io", "net", "sync", "time"}:
        assert getattr(plain, name) is getattr(tonio, name)
    for name in plain.time.__all__:
        assert getattr(plain.time, name) is getattr(tonio.time, name)
    assert plain.sync.__all__ == tonio.sync.__all__
    for name in set(plain.sync.__all__) - {"channel"}:
        assert getattr(plain.sync, name) is getattr(tonio.sync, name)
    assert plain.sync.channel.__all__ == tonio.sync.channel.__all__
    for name in plain.sync.channel.__all__:
        assert getattr(plain.sync.channel, name) is getattr(tonio.sync.channel, name)
    assert plain.io.register is tonio.io.register
    assert plain.net.socket.socket is tonio.net.socket.socket
    assert plain.net.socket.__all__ == tonio.net.socket.__all__


def test_public_names_are_documented() -> None:
    for module in (tonio, tonio.time, tonio.sync, tonio.sync.channel, tonio.exceptions):
        assert module.__doc__
        for name in module.__all__:
            assert getattr(module, name).__doc__, f"{module.__name__}.{name}"


def test_exceptions_are_what_they_are_said_to_be() -> None:
    from tonio import exceptions

    assert set(exceptions.__all__) == {
        name for name, thing in vars(exceptions).items() if isinstance(thing, type)
    }
    assert not issubclass(exceptions.CancelledError, Exception)
    assert issubclass(exceptions.EndOfChannel, exceptions.ResourceBroken)
    assert issubclass(exceptions.RuntimeNotInitializedError, RuntimeError)
    assert issubclass(exceptions.RuntimeAlreadyInitializedError, RuntimeError)
    for name in set(exceptions.__all__) - {"CancelledError"}:
        assert issubclass(getattr(exceptions, name), Exception)


# --- threads ----------------------------------------------------------------------------------


def burn(seconds: float) -> int:
    """Keeps a thread busy for so much of its own CPU time; which thread it was."""
    end = thread_time() + seconds
    while thread_time() < end:
        pass
    return threading.get_ident()


async def burn_often(times: int) -> set[int]:
    idents = set()
    for _ in range(times):
        idents.add(burn(0.001))
        await tonio.yield_now()
    return idents


@both(threads=(1,))
async def test_one_thread_is_the_calling_thread_and_no_other() -> None:
    own = threading.get_ident()
    threads = threads_of_process()
    for idents in await tonio.map(burn_often, [3] * 10):
        assert idents == {own}
        assert threads_of_process() <= threads


@both(threads=(1,))
async def test_on_one_thread_tasks_start_in_the_order_of_spawning() -> None:
    started: list[int] = []

    async def start(number: int) -> None:
        started.append(number)
        await tonio.yield_now()
        started.append(number)

    await tonio.map(start, range(1000))
    assert started == [*range(1000), *range(1000)]


@both(threads=(2, 4))
async def test_no_more_threads_than_asked_for(threads: int) -> None:
    before = threads_of_process()
    idents = set().union(*await tonio.map(burn_often, [5] * 20))
    assert 1 <= len(idents) <= threads
    assert threads_of_process() <= before + threads


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
@pytest.mark.parametrize("notation", NOTATIONS)
def test_default_threads_are_what_the_process_may_use(notation: str) -> None:
    source = """
        import os, threading
        import tonio.colored as tonio

        async def work():
            for _ in range(20):
                sum(range(20_000))
                await tonio.yield_now()
            return threading.get_ident()

        async def main():
            return set(await tonio.map(lambda _: work(), range(50)))

        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(len(tonio.run(main())))
    """
    assert run_program(source, notation) == (0, "1\n", "")


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="is about the GIL")
def test_importing_leaves_the_gil_off() -> None:
    assert run_program(
        "import sys, tonio, tonio.colored; print(sys._is_gil_enabled())", "await"
    ) == (0, "False\n", "")


# --- what a run shields its tasks from --------------------------------------------------------


@both
def test_run_inside_an_except_block_hides_the_exception(threads: int) -> None:
    seen: list[BaseException | None] = []

    async def child() -> None:
        seen.append(sys.exception())
        await tonio.yield_now()
        seen.append(sys.exception())
        raise KeyError("child")

    async def main() -> None:
        seen.append(sys.exception())
        with pytest.raises(ExceptionGroup) as caught:
            await tonio.spawn(child())
        seen.append(caught.value.__context__)
        seen.append(caught.value.exceptions[0].__context__)
        seen.append(sys.exception())
        raise ValueError("main")

    try:
        raise OSError("outside")
    except OSError as outside:
        with pytest.raises(ValueError, match="main") as caught:
            tonio.run(main(), threads=threads)
        still_handled = sys.exception() is outside
    assert still_handled
    assert seen == [None] * 6
    assert caught.value.__context__ is None


@both
async def test_handled_exception_of_one_task_is_unknown_to_another() -> None:
    event = tonio.Event()
    checked = tonio.Event()

    async def handling() -> bool:
        try:
            raise KeyError("handled")
        except KeyError as error:
            event.set()
            await checked.wait()
            await tonio.yield_now()
            return sys.exception() is error

    join = tonio.spawn(handling())
    await event.wait()
    assert sys.exception() is None
    checked.set()
    await tonio.yield_now()
    assert sys.exception() is None
    assert await join is True


# --- the end of a run -------------------------------------------------------------------------


@both
def test_leftover_tasks_are_cancelled_and_clean_up(threads: int) -> None:
    log: list[str] = []
    waiting = tonio.Event()
    never = tonio.Event()

    async def inner(name: str, wait: Callable[[], Any]) -> None:
        try:
            await wait()
        except CancelledError:
            log.append(f"{name} cancelled")
            raise
        finally:
            log.append(f"{name} inner")

    async def outer(name: str, wait: Callable[[], Any]) -> None:
        try:
            await inner(name, wait)
        finally:
            log.append(f"{name} outer")

    async def spin() -> None:
        try:
            while True:
                await tonio.yield_now()
        finally:
            log.append("spin")

    async def main() -> str:
        tonio.spawn(outer("event", never.wait))
        tonio.spawn(outer("sleep", lambda: tonio.sleep(1000)))
        tonio.spawn.without_tracking(outer("endless", lambda: tonio.sleep(float("inf"))))
        tonio.spawn(outer("join", lambda: tonio.spawn(spin())))
        tonio.spawn(outer("timeout", lambda: tonio.time.timeout(never.wait(), 1000)))
        waiting.set()
        for _ in range(10):
            await tonio.sleep(0.001)
        return "value"

    assert tonio.run(main(), threads=threads) == "value"
    assert log.count("spin") == 1
    for name in ("event", "sleep", "endless", "join", "timeout"):
        own = [line for line in log if line.startswith(name)]
        assert own == [f"{name} cancelled", f"{name} inner", f"{name} outer"]


@both
def test_leftover_tasks_are_cancelled_when_main_fails(threads: int) -> None:
    log = []

    async def child() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            log.append("child")

    async def main() -> None:
        tonio.spawn(child())
        await tonio.sleep(0.001)
        raise ValueError("main")

    with pytest.raises(ValueError, match="main"):
        tonio.run(main(), threads=threads)
    assert log == ["child"]


@both
def test_task_that_was_spawned_at_the_very_end(threads: int) -> None:
    """It may or may not have begun; if it has, it gets to its first wait and is cancelled there."""
    log = []

    async def late(number: int) -> None:
        log.append("begun")
        try:
            await tonio.sleep(1000)
        finally:
            log.append("ended")

    async def main() -> None:
        tonio.spawn(*[late(number) for number in range(100)])

    tonio.run(main(), threads=threads)
    assert log.count("begun") == log.count("ended")


@both
def test_waiting_in_clean_up_at_the_end_is_cancelled_again(threads: int) -> None:
    log = []

    async def child() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            for _ in range(3):
                try:
                    await tonio.sleep(1000)
                except CancelledError:
                    log.append("again")

    async def main() -> None:
        tonio.spawn(child())
        await tonio.sleep(0.001)

    tonio.run(main(), threads=threads)
    assert log == ["again"] * 3


@both
def test_what_can_finish_at_once_finishes_in_clean_up(threads: int) -> None:
    log = []

    async def child() -> None:
        event = tonio.Event()
        event.set()
        try:
            await tonio.sleep(1000)
        finally:
            log.append(await event.wait())

    async def main() -> None:
        tonio.spawn(child())
        await tonio.sleep(0.001)

    tonio.run(main(), threads=threads)
    assert log == [True]


@both
def test_spawning_in_clean_up_at_the_end(threads: int) -> None:
    log = []

    async def grandchild() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            log.append("grandchild")

    async def child() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            tonio.spawn(grandchild())
            log.append("child")

    async def main() -> None:
        tonio.spawn(child())
        await tonio.sleep(0.001)

    tonio.run(main(), threads=threads)
    assert log == ["child", "grandchild"]


@both
def test_error_in_clean_up_at_the_end_is_reported(threads: int, unraisables: Unraisables) -> None:
    async def child() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            raise OSError("in clean-up")

    async def main() -> None:
        tonio.spawn.without_tracking(child())
        tonio.spawn(child())
        await tonio.sleep(0.001)

    tonio.run(main(), threads=threads)
    reports = unraisables.take()
    assert [(report.type, report.message) for report in reports] == [(OSError, "in clean-up")] * 2
    assert all(report.functions[-1] == "child" for report in reports)


@both
def test_waiter_of_a_task_that_was_cancelled_at_the_end(threads: int) -> None:
    """It is cancelled itself: nothing else that it could see goes before that."""
    log: list[object] = []

    async def child() -> None:
        await tonio.sleep(1000)

    async def waiter(join: Any) -> None:
        try:
            await join
        except BaseException as error:
            log.append(type(error))
            raise

    async def main() -> None:
        tonio.spawn.without_tracking(waiter(tonio.spawn(child())))
        await tonio.sleep(0.001)

    tonio.run(main(), threads=threads)
    assert log in ([CancelledError], [TaskCancelled])


@both
@pytest.mark.parametrize("wait", ["sleep", "yield"])
def test_task_that_swallows_cancellation_is_closed_and_named(threads: int, wait: str) -> None:
    counts = {"caught": 0, "finally": 0}

    async def stubborn() -> None:
        try:
            while True:
                try:
                    if wait == "sleep":
                        await tonio.sleep(1000)
                    else:
                        await tonio.yield_now()
                except CancelledError:
                    counts["caught"] += 1
        finally:
            counts["finally"] += 1

    async def main() -> int:
        tonio.spawn(stubborn())
        await tonio.sleep(0.001)
        return 5

    with pytest.warns(RuntimeWarning, match="stubborn"):
        assert tonio.run(main(), threads=threads) == 5
    assert counts == {"caught": 1000, "finally": 1}


@both
def test_task_that_swallows_everything_does_not_hold_up_the_end(
    threads: int, unraisables: Unraisables
) -> None:
    async def immortal() -> None:
        while True:
            with suppress(BaseException):
                await tonio.sleep(1000)

    async def main() -> int:
        tonio.spawn(immortal())
        await tonio.sleep(0.001)
        return 5

    with pytest.warns(RuntimeWarning, match="immortal"):
        assert tonio.run(main(), threads=threads) == 5
    reports = unraisables.take()
    assert reports
    assert all(report.type is RuntimeError for report in reports)


@both
def test_swallowing_is_limited_at_the_end_of_a_run_only(threads: int) -> None:
    async def swallow() -> int:
        caught = 0
        while caught < 150:
            try:
                await tonio.sleep(1000)
            except CancelledError:
                caught += 1
        return caught

    async def main() -> int:
        counts = []

        async def child() -> None:
            counts.append(await swallow())

        await tonio.time.timeout(child(), 0)
        return counts[0]

    assert tonio.run(main(), threads=threads) == 150


# --- exceptions that end a run ----------------------------------------------------------------


@both
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["main", "nested", "task", "detached"])
def test_exit_from_any_task_ends_the_run(
    threads: int, kind: type[BaseException], where: str
) -> None:
    log = []
    error = kind("mine")

    async def leave() -> None:
        await tonio.yield_now()
        raise error

    async def child() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            log.append("child")

    async def main() -> None:
        tonio.spawn(child())
        await tonio.sleep(0.001)
        try:
            if where == "main":
                raise error
            if where == "nested":
                await leave()
            elif where == "task":
                tonio.spawn(leave())
            else:
                tonio.spawn.without_tracking(leave())
            await tonio.sleep(1000)
        finally:
            log.append("main")

    with pytest.raises(kind) as caught:
        tonio.run(main(), threads=threads)
    assert caught.value is error
    assert sorted(log) == ["child", "main"]


@both
def test_exit_from_a_task_whose_join_is_awaited(threads: int) -> None:
    async def leave() -> None:
        await tonio.yield_now()
        sys.exit("bye")

    async def main() -> None:
        await tonio.spawn(leave(), tonio.sleep(1000))

    with pytest.raises(SystemExit, match="bye"):
        tonio.run(main(), threads=threads)


@both
def test_error_in_clean_up_does_not_hide_the_exit(threads: int) -> None:
    async def leave() -> None:
        sys.exit(4)

    async def main() -> None:
        try:
            tonio.spawn(leave())
            await tonio.sleep(1000)
        finally:
            raise OSError("in clean-up")

    with pytest.raises(SystemExit) as caught:
        tonio.run(main(), threads=threads)
    assert isinstance(caught.value.__context__, OSError)


# --- fork -------------------------------------------------------------------------------------

FORKING = """
    import os, sys, warnings
    import tonio.colored as tonio
    from tonio.colored.net import socket

    warnings.simplefilter("ignore")  # os.fork() with several threads

    async def give(value):
        await tonio.sleep(0.001)
        return value

    async def exchange(client, server):
        reading = tonio.spawn(server.recv(10))
        await tonio.sleep(0.001)
        await client.send(b"hello")
        assert await reading == b"hello"

    async def main(codes):
        with socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            client = socket.socket()
            await client.connect(listener.getsockname())
            server, _ = await listener.accept()
        with client, server:
            for kind in ("goes on", "starts anew"):
                await exchange(client, server)
                process = os.fork()
                if process == 0:
                    client.close()
                    server.close()
                    if kind == "starts anew":
                        os._exit(tonio.run(give(8), threads=1))
                    await tonio.sleep(1000)
                _, status = await tonio.spawn_blocking(os.waitpid, process, 0)
                codes.append(os.waitstatus_to_exitcode(status))
            await exchange(client, server)

    codes = []
    try:
        tonio.run(main(codes), threads=int(sys.argv[1]))
    except RuntimeError as error:
        os._exit(7 if "fork" in str(error) else 9)
    print(codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("threads", [1, 4])
def test_forked_child_cannot_go_on_but_begin_anew_and_the_parent_is_left_in_peace(
    notation: str, threads: int
) -> None:
    status, output, errors = run_program(FORKING, notation, threads)
    # The task that forks may have moved to a thread that the child has no `run` on.
    if threads > 1 and output == "[1, 8]\n":
        assert "the process was forked while the runtime ran" in errors
    else:
        assert (output, errors) == ("[7, 8]\n", "")
    assert status == 0


# --- signals ----------------------------------------------------------------------------------

INTERRUPTED = """
    import os, sys
    import tonio.colored as tonio

    state, threads = sys.argv[1], int(sys.argv[2])

    def say(what):
        os.write(1, f"{what}\\n".encode())  # in one piece, whatever other threads say

    async def wait(name):
        try:
            if state == "spinning":
                while True:
                    await tonio.yield_now()
            elif state == "blocking":
                import time
                await tonio.spawn_blocking(lambda: [time.sleep(0.01) for _ in range(100_000)])
            elif state == "event":
                await tonio.Event().wait()
            else:
                await tonio.sleep(1000)
        finally:
            say(name)

    async def main():
        try:
            tonio.spawn(wait("task"), wait("task"))
            tonio.spawn.without_tracking(tonio.time.sleep_forever())  # or "event" is a deadlock
            await tonio.sleep(0.01)
            say("ready")
            await wait("nested")
        finally:
            say("main")

    try:
        tonio.run(main(), threads=threads)
    except KeyboardInterrupt:
        say("interrupted")
        import signal
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.set_wakeup_fd(-1) == -1
"""


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("state", ["sleeping", "event", "spinning", "blocking"])
def test_interrupt_cleans_up_and_leaves_run(notation: str, threads: int, state: str) -> None:
    with Program(INTERRUPTED, notation, state, threads) as program:
        program.wait_for_line("ready")
        program.process.send_signal(signal.SIGINT)
        status, output, errors = program.finish()
    assert (status, errors) == (0, "")
    lines = output.split()
    assert sorted(lines) == ["interrupted", "main", "nested", "task", "task"]
    assert lines[-1] == "interrupted"
    assert lines.index("nested") < lines.index("main")


def test_interrupt_that_nobody_catches_ends_the_process_as_usual() -> None:
    source = """
        import tonio.colored as tonio

        async def main():
            print("ready", flush=True)
            await tonio.sleep(1000)

        tonio.run(main(), threads=2)
    """
    with Program(source, "await") as program:
        program.wait_for_line("ready")
        program.process.send_signal(signal.SIGINT)
        status, _, errors = program.finish()
    assert status == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "Exception ignored" not in errors


def test_interrupt_goes_to_the_main_thread_when_a_run_is_elsewhere() -> None:
    source = """
        import threading
        import tonio.colored as tonio

        stop = tonio.Event()

        async def main():
            print("ready", flush=True)
            await stop.wait()
            return "stopped"

        thread = threading.Thread(target=lambda: print(tonio.run(main(), threads=2)))
        try:
            thread.start()
            while True:  # the interpreter misses a signal that comes just before it waits
                threading.Event().wait(0.05)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            stop.set()
        thread.join()
    """
    with Program(source, "await") as program:
        program.wait_for_line("ready")
        program.process.send_signal(signal.SIGINT)
        assert program.finish() == (0, "interrupted\nstopped\n", "")


@both
def test_own_handler_of_a_signal_runs_while_all_is_parked(threads: int) -> None:
    event = tonio.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: event.set())

    async def main() -> bool:
        tonio.spawn_blocking(os.kill, os.getpid(), signal.SIGUSR1)
        return await event.wait(10)

    try:
        assert tonio.run(main(), threads=threads)
    finally:
        signal.signal(signal.SIGUSR1, before)


@both
def test_own_handler_of_interrupts_stays(threads: int) -> None:
    event = tonio.Event()
    before = signal.signal(signal.SIGINT, lambda *_: event.set())

    async def main() -> bool:
        tonio.spawn_blocking(os.kill, os.getpid(), signal.SIGINT)
        return await event.wait(10)

    try:
        assert tonio.run(main(), threads=threads)
    finally:
        signal.signal(signal.SIGINT, before)


class Alarm(Exception):
    pass


def raise_alarm(*_: object) -> None:
    raise Alarm


def kill_self(delay: float) -> None:
    if delay:
        sleep(delay)
    os.kill(os.getpid(), signal.SIGUSR1)


@both
@pytest.mark.parametrize("delay", [0.02, 0], ids=["parked", "starting a thread"])
def test_error_of_a_signal_handler_leaves_run(threads: int, delay: float) -> None:
    log = []

    async def main() -> None:
        try:
            tonio.spawn_blocking(kill_self, delay)
            await tonio.sleep(10)
        finally:
            log.append("main")

    before = signal.signal(signal.SIGUSR1, raise_alarm)
    try:
        with pytest.raises(Alarm):
            tonio.run(main(), threads=threads)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert log == ["main"]


@both(threads=(1, 2))
def test_signal_settings_are_as_before_after_a_run(threads: int) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)
    try:
        tonio.run(give(1), threads=threads)
        assert signal.set_wakeup_fd(before) == writing
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def test_input_is_not_kept_waiting_by_tasks_that_compute() -> None:
    """On one thread: the poller is asked after each of their turns, if those are long."""
    turns = [0]
    delays: list[int] = []

    def hog() -> Any:
        while len(delays) < 5:
            end = perf_counter() + 0.001
            while perf_counter() < end:
                pass
            turns[0] += 1
            yield

    def program() -> Any:
        left, right = socket.socketpair()
        with left, right:
            tonio.spawn.without_tracking(hog())
            while len(delays) < 5:
                sent = tonio.spawn_blocking(lambda: (os.write(right.fileno(), b"x"), turns[0])[1])
                yield left.recv(1)
                after = turns[0]
                delays.append(after - (yield sent))

    tonio.run(program(), threads=1)
    assert max(delays) <= 10, "it was 61 once"
