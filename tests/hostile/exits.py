"""Exceptions that end programs, raised where nobody expects them."""

from program import Hostile

RAISERS = {
    "task": """
        async def program():
            tonio.spawn.without_tracking(leave())
            await tonio.sleep(10)
    """,
    "nested_call": """
        async def inner():
            await give(await leave())
        async def program():
            await inner()
    """,
    "scope": """
        async def program():
            async with tonio.scope() as scope:
                scope.spawn(tonio.sleep(10))
                scope.spawn(leave())
                await tonio.sleep(10)
    """,
    "scope_block": """
        async def program():
            async with tonio.scope() as scope:
                scope.spawn(tonio.sleep(10))
                await leave()
    """,
    "shielded_scope": """
        async def program():
            async with tonio.scope(shield=True) as scope:
                scope.spawn(leave())
                await tonio.sleep(0.1)
    """,
    "timeout": """
        async def program():
            await tonio.time.timeout(leave(), 10)
    """,
    "select": """
        async def program():
            await tonio.select(tonio.sleep(10), leave())
    """,
    "map": """
        async def program():
            await tonio.map(lambda n: leave(), range(3))
    """,
    "as_completed": """
        async def program():
            async for _ in tonio.as_completed(tonio.sleep(10), leave()):
                await tonio.sleep(10)
    """,
    "job": """
        async def program():
            await tonio.spawn_blocking(leave_now)
    """,
    "clean_up": """
        async def stubborn():
            try:
                await tonio.sleep(10)
            finally:
                leave_now()
        async def program():
            tonio.spawn.without_tracking(stubborn())
            await tonio.sleep(0.01)
    """,
}


def leaving(name: str, raised: str, status: int, told: tuple[str, ...], source: str) -> Hostile:
    head = f"""
        import atexit
        atexit.register(print, "atexit")
        async def leave():
            await tonio.yield_now()
            {raised}
        def leave_now():
            {raised}
    """
    tail = """
        print(run(program()))
    """
    return Hostile(name, head + source + tail, "atexit", status, told)


PROGRAMS = [
    *(leaving(f"exit_in_{w}", "sys.exit(7)", 7, (), s) for w, s in RAISERS.items()),
    *(
        leaving(f"interrupt_in_{w}", "raise KeyboardInterrupt", -2, ("KeyboardInterrupt",), s)
        for w, s in RAISERS.items()
        if w in {"task", "scope", "job"}
    ),
    *(
        Hostile(
            f"underscore_exit_in_{where}",
            f"""
            async def leave():
                await tonio.yield_now()
                os._exit(5)
            async def program():
                tonio.spawn.without_tracking(*[tonio.sleep(10) for _ in range(100)])
                await {call}
            run(program())
            """,
            prints="",
            status=5,
        )
        for where, call in (
            ("task", "tonio.spawn(leave())"),
            ("job", "tonio.spawn_blocking(os._exit, 5)"),
        )
    ),
    Hostile(
        "exit_with_a_message",
        """
        class Farewell(SystemExit):
            pass
        async def child():
            raise Farewell("so long")
        async def program():
            await tonio.spawn(child())
        run(program())
        """,
        prints="",
        status=1,
        tells=("so long",),
    ),
    Hostile(
        "two_exits_at_once",
        """
        async def child(n):
            sys.exit(4)
        async def program():
            await tonio.spawn(*[child(n) for n in range(50)])
        run(program())
        """,
        prints="",
        status=4,
    ),
    Hostile(
        "exit_caught_by_the_waiter",
        """
        async def child():
            sys.exit(4)
        async def program():
            try:
                await tonio.spawn(child())
            except BaseException as error:
                print(type(error).__name__)
                raise
        run(program())
        """,
        prints="CancelledError",
        status=4,
    ),
    Hostile(
        "strange_exceptions_in_tasks",
        """
        class Odd(BaseException):
            pass
        async def fail(error):
            await tonio.yield_now()
            raise error
        async def program():
            for error in (
                GeneratorExit(), StopAsyncIteration(), Odd(), MemoryError(), RecursionError(),
                StopIteration(3), BaseExceptionGroup("both", [Odd(), ValueError()]),
            ):
                try:
                    print(await fail(error))
                except BaseException as caught:
                    print("call", type(caught).__name__)
                try:
                    print(await tonio.spawn(fail(error)))
                except BaseExceptionGroup as caught:
                    print("spawn", type(caught.exceptions[0]).__name__)
                except BaseException as caught:
                    print("spawn", type(caught).__name__)
            return await works()
        print(run(program()))
        """,
        prints="""
        call GeneratorExit
        spawn TaskCancelled
        call StopAsyncIteration
        spawn StopAsyncIteration
        call Odd
        spawn Odd
        call MemoryError
        spawn MemoryError
        call RecursionError
        spawn RecursionError
        call RuntimeError
        spawn RuntimeError
        call BaseExceptionGroup
        spawn BaseExceptionGroup
        works
        """,
    ),
    Hostile(
        "cancelled_error_raised_by_hand",
        """
        async def fail():
            raise CancelledError
        async def program():
            try:
                await tonio.spawn(fail())
            except TaskCancelled:
                print("TaskCancelled")
            tonio.spawn.without_tracking(fail())
            print(await works(), flush=True)
            raise CancelledError("by hand")
        run(program())
        """,
        prints="TaskCancelled\nworks",
        status=1,
        tells=("tonio.exceptions.CancelledError: by hand",),
    ),
    Hostile(
        "hooks_for_reports_that_fail",
        """
        def hook(report):
            raise LookupError("in the hook")
        sys.unraisablehook = hook
        async def fail():
            raise ValueError("nobody waits for this")
        async def program():
            tonio.spawn.without_tracking(fail())
            await tonio.sleep(0.01)
            return await works()
        print(run(program()))
        """,
        tells=("Exception ignored in sys.unraisablehook", "in the hook"),
    ),
    Hostile(
        "exit_from_the_hook_for_reports",
        """
        sys.unraisablehook = lambda report: os._exit(3)
        async def fail():
            raise ValueError("nobody waits for this")
        async def program():
            tonio.spawn.without_tracking(fail())
            await tonio.sleep(10)
        print(run(program()))
        """,
        prints="",
        status=3,
    ),
    Hostile(
        "closed_standard_error_when_there_is_something_to_report",
        """
        async def fail():
            raise ValueError("nobody waits for this")
        async def program():
            tonio.spawn.without_tracking(fail())
            await tonio.sleep(0.01)
            return await works()
        sys.stderr = None
        print(run(program()))
        """,
    ),
]
