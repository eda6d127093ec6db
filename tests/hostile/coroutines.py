"""Coroutines and generators that are misused, and foreign objects in their place."""

from program import Hostile

PROGRAMS = [
    Hostile(
        "recursion_in_a_task",
        """
        def deep(n):
            return deep(n + 1)
        async def child():
            await tonio.yield_now()
            deep(0)
        async def program():
            for _ in range(3):
                try:
                    await tonio.spawn(child(), child())
                except* RecursionError as group:
                    print(len(group.exceptions))
                try:
                    await tonio.spawn_blocking(deep, 0)
                except RecursionError:
                    print("job")
            return await works()
        print(run(program()))
        """,
        prints="2\njob\n2\njob\n2\njob\nworks",
    ),
    Hostile(
        "endless_nesting",
        """
        async def deeper(n):
            return await deeper(n + 1)
        async def program():
            try:
                await deeper(0)
            except RecursionError:
                print("RecursionError")
            try:
                await tonio.spawn(deeper(0))
            except* RecursionError:
                print("RecursionError")
            return await works()
        print(run(program()))
        """,
        prints="RecursionError\nRecursionError\nworks",
    ),
    Hostile(
        "ten_thousand_nested_awaits",
        """
        sys.setrecursionlimit(20_000)
        async def deeper(n):
            if n == 0:
                await tonio.sleep(0.001)
                raise LookupError
            return await deeper(n - 1)
        async def child():
            try:
                await deeper(10_000)
            except LookupError:
                return "found"
        async def program():
            print(await tonio.spawn(child(), child()))
            (parked := tonio.spawn(deeper(10_000))).cancel()
            try:
                await parked
            except TaskCancelled:
                pass
            return await works()
        print(run(program()))
        """,
        prints="['found', 'found']\nworks",
    ),
    Hostile(
        "hosts_nested_a_thousand_deep",
        """
        sys.setrecursionlimit(20_000)
        async def deeper(n):
            if n == 0:
                await tonio.sleep(0.001)
                return "bottom"
            value, ended = await tonio.time.timeout(deeper(n - 1), 100)
            assert ended
            return value
        async def scopes(n):
            async with tonio.scope() as scope:
                if n > 0:
                    await scopes(n - 1)
                else:
                    await tonio.sleep(0.001)
        async def program():
            print(await deeper(1000))
            await scopes(1000)
            return await works()
        print(run(program()))
        """,
        prints="bottom\nworks",
    ),
    Hostile(
        "selects_and_scopes_of_tasks_nested_deep",
        """
        async def deeper(n):
            if n == 0:
                await tonio.sleep(0.001)
                return "bottom"
            return await tonio.select(deeper(n - 1), tonio.sleep(1000))
        async def children(n):
            async with tonio.scope() as scope:
                if n > 0:
                    scope.spawn(children(n - 1))
                await tonio.sleep(1000)
        async def program():
            print(await deeper(300))
            async with tonio.scope() as scope:
                scope.spawn(children(2000))
                await tonio.sleep(0.05)
                scope.cancel()
            return await works()
        print(run(program()))
        """,
        prints="bottom\nworks",
    ),
    Hostile(
        "close_and_throw_on_a_parked_coroutine",
        """
        async def parked(gate):
            try:
                await gate.wait()
            except GeneratorExit:
                print("closed under its task")
                raise
            return "waited"
        async def program():
            for use in (lambda c: c.close(), lambda c: c.throw(ValueError("by hand"))):
                gate = tonio.Event()
                coroutine = parked(gate)
                join = tonio.spawn(coroutine)
                await tonio.sleep(0.005)
                try:
                    use(coroutine)
                except ValueError as error:
                    print("who throws gets", error)
                gate.set()
                try:
                    assert await join is None
                except* RuntimeError as group:  # `await` can tell
                    assert "cannot reuse" in str(group.exceptions[0])
            return await works()
        print(run(program()))
        """,
        prints="closed under its task\nwho throws gets by hand\nworks",
    ),
    Hostile(
        "send_to_a_parked_coroutine",
        """
        gate = tonio.Event()
        async def parked():
            return await gate.wait()
        async def program():
            coroutine = parked()
            join = tonio.spawn(coroutine)
            await tonio.sleep(0.005)
            try:
                coroutine.send(None)
            except StopIteration:
                print("sent")  # a yielded operation knows nothing of it
            except RuntimeError:
                print("sent")  # an awaited one does
            gate.set()
            try:
                assert await join is None
            except* RuntimeError as group:
                assert "cannot reuse" in str(group.exceptions[0])
            return await works()
        print(run(program()))
        """,
        prints="sent\nworks",
    ),
    Hostile(
        "driving_by_hand_inside_a_task",
        """
        async def waits():
            await tonio.sleep(0.001)
            return "waited"
        async def program():
            coroutine = waits()
            operation = coroutine.send(None)  # an operation, but nobody runs it
            print(type(operation).__name__)
            print(await works())
            coroutine.close()
            # an awaitable that passes on what another hands out
            class Passing:
                def __await__(self):
                    return (yield from waits().__await__())
            print(await Passing())
            return await works()
        print(run(program()))
        """,
        prints="Sleep\nworks\nwaited\nworks",
        notations=("await",),
    ),
    Hostile(
        "never_awaited",
        """
        async def program():
            give(1)
            tonio.sleep(1)
            tonio.Event().wait()
            gc.collect()
            return await works()
        print(run(program()))
        """,
        tells=(
            "'give' was never awaited",
            "sleep() was never yielded or awaited",
            "Event.wait() was never",
        ),
        notations=("await",),
    ),
    Hostile(
        "same_coroutine_twice",
        """
        async def program():
            coroutine = give(1)
            join = tonio.spawn(coroutine)
            for call in (
                lambda: tonio.spawn(coroutine),
                lambda: tonio.run(coroutine),
                lambda: tonio.time.timeout(coroutine, 1),
                lambda: tonio.scope().spawn(coroutine),
                lambda: tonio.block_on(coroutine),
                lambda: tonio.select(coroutine),
                lambda: tonio.as_completed(coroutine),
            ):
                try:
                    call()
                except RuntimeError:
                    pass
            assert await join == 1, "it was closed"
            return await works()
        print(run(program()))
        """,
    ),
    Hostile(
        "generator_that_runs_already",
        """
        own = []
        def loop():
            yield
            own[0].send(None)
        async def program():
            own.append(loop())
            try:
                await tonio.spawn(own[0])
            except* ValueError as group:
                print(group.exceptions[0])
            begun = loop()
            next(begun)
            try:
                tonio.spawn(begun)
            except RuntimeError:
                print("told")
            return await works()
        print(run(program()))
        """,
        prints="generator already executing\ntold\nworks",
    ),
    Hostile(
        "foreign_objects_in_place_of_operations",
        """
        import asyncio, concurrent.futures
        loop = asyncio.new_event_loop()
        class Own:
            def __await__(self):
                yield "a message to another library's loop"
        async def of_asyncio():
            await asyncio.sleep(0.01)
        async def program():
            future = loop.create_future()
            things = [1, "text", b"", 1.5, [], {}, int, object(), future, Own(),
                      of_asyncio(), iter([1, 2]), concurrent.futures.Future(), lambda: None, ...]
            for thing in things:
                try:
                    await thing
                except TypeError as error:
                    if thing is future:
                        print("belongs to an event loop of asyncio" in str(error))
                except RuntimeError as error:  # of asyncio.sleep()
                    assert "no running event loop" in str(error), error
                else:
                    print("not refused:", thing)
            loop.close()
            return await works()
        print(run(program()))
        """,
        prints="True\nworks",
    ),
    Hostile(
        "generator_that_yields_nonsense_for_ever",
        """
        def stubborn():
            told = 0
            while told < 1000:
                try:
                    yield 42
                except TypeError:
                    told += 1
            return told
        async def program():
            assert await tonio.spawn(stubborn(), stubborn()) == [1000, 1000]
            return await works()
        print(run(program()))
        """,
    ),
    Hostile(
        "async_generators_left_unfinished",
        """
        log = []
        @__import__("contextlib").asynccontextmanager
        async def manager():
            try:
                yield 1
            finally:
                await tonio.sleep(0.001)
                log.append("manager")
        async def numbers():
            try:
                for n in range(10):
                    yield n
            finally:
                await tonio.sleep(0.001)
                log.append("numbers")
        kept = []
        async def leaves():
            generator = numbers()
            kept.append(generator)
            async for n in generator:
                if n == 3:
                    return n
        async def program():
            await tonio.spawn(*[leaves() for _ in range(20)])
            del kept[:10]
            anext(numbers())
            await manager().__aenter__()
            return await works()
        print(run(program()))
        print(len(log), set(log) == {"numbers", "manager"})
        """,
        prints="works\n21 True",
        notations=("await",),
        flags=("-W", "ignore::RuntimeWarning"),
    ),
    Hostile(
        "async_generator_used_by_two_tasks",
        """
        async def numbers():
            for n in range(10):
                await tonio.sleep(0.001)
                yield n
        async def take(generator):
            return await anext(generator)
        async def program():
            generator = numbers()
            failed = 0
            try:
                await tonio.spawn(*[take(generator) for _ in range(4)])
            except* RuntimeError as group:
                print("already running" in str(group.exceptions[0]))
            await generator.aclose()
            return await works()
        # on several threads the interpreter itself does not guard this
        print(tonio.run(program(), threads=1))
        """,
        prints="True\nworks",
        notations=("await",),
    ),
    Hostile(
        "async_generator_that_refuses_to_close",
        """
        async def stubborn():
            while True:
                try:
                    yield 1
                except GeneratorExit:
                    print("refuses")
        async def program():
            generator = stubborn()
            await anext(generator)
            return await works()
        print(run(program()))
        """,
        prints="refuses\nworks",
        tells=("Exception ignored", "async generator ignored GeneratorExit"),
        notations=("await",),
    ),
    Hostile(
        "generator_that_ignores_its_closing",
        """
        def stubborn():
            while True:
                try:
                    yield tonio.sleep(0)
                except BaseException:
                    pass
        async def program():
            tonio.spawn.without_tracking(stubborn())
            await tonio.sleep(0.01)
            return await works()
        print(run(program()))
        """,
        tells=(
            "caught CancelledError 1000 times in a row",
            "Exception ignored in",
            "generator ignored GeneratorExit",
        ),
    ),
]
