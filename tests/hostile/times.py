"""Times out of all bounds, and more of everything than anybody needs."""

from kinds import FACTOR
from program import Hostile

PROGRAMS = [
    Hostile(
        "times_out_of_all_bounds",
        """
        from math import inf, nan
        async def program():
            event = tonio.Event()
            await tonio.sleep(-1e300)
            await tonio.sleep(-inf)
            await tonio.time.sleep_until(-1e300)
            for long in (1e300, 9.3e18, 9.2e12, 1e10, inf):
                joins = [tonio.spawn(operation) for operation in (
                    tonio.sleep(long), tonio.time.sleep_until(long), event.wait(long),
                    tonio.time.timeout(event.wait(), long))]
                async with tonio.scope(timeout=long) as scope:
                    scope.spawn(tonio.sleep(0))
                    scope.deadline = long
                    scope.deadline = inf
                async with tonio.scope(deadline=long):
                    pass
                await tonio.sleep(0.002)
                assert not any(join.done() for join in joins), long
            for tiny in (5e-324, 1e-300, 0.0, -0.0):
                await tonio.sleep(tiny)
                assert not await event.wait(tiny)
                async with tonio.scope(timeout=tiny) as scope:
                    await tonio.sleep(1)
                assert scope.cancelled
            await tonio.time.interval(1e-6).tick()
            for wrong in (nan,):
                for call in (tonio.sleep, tonio.time.sleep_until, event.wait,
                             tonio.time.fail_after):
                    try:
                        call(wrong)
                        print("accepted", call)
                    except ValueError:
                        pass
            async with tonio.scope() as scope:
                for wrong in (nan, "1", [], 1j):
                    try:
                        scope.deadline = wrong
                        print("accepted", wrong)
                    except (TypeError, ValueError):
                        pass
            for wrong in (1e-9, 5e-324, 0, 1e300, inf, nan, -1):
                try:
                    tonio.time.interval(wrong)
                    print("accepted", wrong)
                except ValueError:
                    pass
            every = tonio.time.interval(1e9)
            await every.tick()
            async with tonio.scope(timeout=0.01):
                await every.tick()
                print("ticks again")
            return await works()
        print(run(program(), shutdown_warning=1e300, blocking_threadpool_idle_ttl=1e300))
        """,
        prints="works",
    ),
    Hostile(
        "sleep_of_nothing_by_the_million",
        """
        async def sleeper():
            for _ in range(125_000):
                await tonio.sleep(0)
        async def program():
            await tonio.spawn(*[sleeper() for _ in range(8)])
            return await works()
        print(run(program()))
        """,
    ),
    Hostile(
        "hundred_thousand_parked_tasks_at_the_end",
        """
        ended = []
        async def parked(event):
            try:
                await event.wait()
            finally:
                ended.append(None)
        async def program():
            event = tonio.Event()
            for _ in range(100_000):
                tonio.spawn.without_tracking(parked(event))
            await tonio.sleep(0.01)
            return await works()
        print(run(program()))
        print(len(ended))
        """,
        prints="works\n100000",
        may_tell=("the run was to end",) if FACTOR > 1 else (),
    ),
    Hostile(
        "timers_that_all_end_at_once",
        """
        async def program():
            moment = tonio.time.time() + 0.2
            await tonio.spawn(*[tonio.time.sleep_until(moment) for _ in range(20_000)])
            assert tonio.time.time() >= moment
            return await works()
        print(run(program()))
        """,
    ),
    Hostile(
        "jobs_by_the_thousand",
        """
        async def program():
            values = await tonio.map_blocking(abs, range(-5000, 0))
            assert values == list(range(5000, 0, -1))
            join = tonio.spawn(*[tonio.spawn_blocking(time.sleep, 1000) for _ in range(300)])
            await tonio.sleep(0.05)
            return await works()
        async def short():
            jobs = [tonio.spawn_blocking(time.sleep, 0.001) for _ in range(500)]
            await tonio.sleep(0.01)
            return "works"
        print(run(short()))
        """,
    ),
    Hostile(
        "messages_without_end",
        """
        async def program():
            sender, receiver = channel.unbounded()
            for n in range(200_000):
                sender.send(n)
            sender.close()
            total = 0
            while True:
                try:
                    total += await receiver.receive()
                except EndOfChannel:
                    break
            print(total)
            return await works()
        print(run(program()))
        """,
        prints="19999900000\nworks",
    ),
]
