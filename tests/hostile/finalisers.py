"""Finalisers that do too much, collections in the middle, and the end of the interpreter."""

from program import Hostile

PROGRAMS = [
    Hostile(
        "exception_in_a_finaliser_at_the_end",
        """
        class Loud:
            def __del__(self):
                raise ValueError("in __del__")
        async def parked(loud):
            await tonio.sleep(100)
        async def program():
            tonio.spawn.without_tracking(parked(Loud()))
            return await works()
        print(run(program()))
        """,
        tells=("Exception ignored in", "ValueError: in __del__"),
    ),
    Hostile(
        "finaliser_that_exits",
        """
        class Leaving:
            def __del__(self):
                sys.exit(9)
        async def parked(leaving):
            await tonio.sleep(100)
        async def program():
            tonio.spawn.without_tracking(parked(Leaving()))
            return await works()
        print(run(program()))
        """,
        tells=("Exception ignored in", "SystemExit: 9"),
    ),
    Hostile(
        "finalisers_that_use_the_runtime",
        """
        done = []
        async def late(n):
            await tonio.sleep(0.001)
            done.append(n)
        class Spawning:
            def __del__(self):
                tonio.spawn.without_tracking(late(1))
                event.set()
                tonio.current_task().name
                tonio.runtime_stats()
                tonio.spawn_blocking(int)
                sender.send(1)
        async def child():
            ring = [Spawning()]
            ring.append(ring)
            await tonio.yield_now()
            Spawning()
        async def program():
            global event, sender
            event = tonio.Event()
            sender, receiver = channel.unbounded()
            await tonio.spawn(*[child() for _ in range(20)])
            assert await event.wait()
            for _ in range(200):
                gc.collect()
                if len(done) == 40:
                    break
                await tonio.sleep(0.005)
            print(len(done), len(receiver))
            return await works()
        print(run(program()))
        """,
        prints="40 40\nworks",
    ),
    Hostile(
        "finaliser_that_runs_a_runtime",
        """
        class Running:
            def __del__(self):
                coroutine = give(1)
                try:
                    tonio.run(coroutine)
                except RuntimeAlreadyInitializedError:
                    print("told")
                coroutine.close()
        async def program():
            Running()
            await tonio.yield_now()
            return await works()
        print(run(program()))
        """,
        prints="told\nworks",
    ),
    Hostile(
        "finalisers_that_close_sockets_and_channels",
        """
        class Owner:
            def __init__(self, *things):
                self.things = things
            def __del__(self):
                for thing in self.things:
                    thing.close()
        async def read(sock):
            try:
                await sock.recv(1)
            except ResourceClosed:
                return "closed"
        async def receive(receiver):
            try:
                await receiver.receive()
            except EndOfChannel:
                return "end"
        async def program():
            left, right = socket.socketpair()
            sender, receiver = channel.channel(1)
            joins = tonio.spawn(read(left), receive(receiver))
            owner = Owner(left, right, sender)
            await tonio.sleep(0.005)
            owner = None
            gc.collect()
            print(await joins)
            return await works()
        print(run(program()))
        """,
        prints="['closed', 'end']\nworks",
    ),
    Hostile(
        "collections_by_everybody",
        """
        async def collect(n):
            for _ in range(6):
                ring = []
                ring.append(ring)
                [gc.collect, gc.freeze, gc.unfreeze, gc.get_objects][n % 4]()
                await tonio.yield_now()
        async def work():
            for _ in range(300):
                await tonio.spawn(give(1))
        async def program():
            gc.set_threshold(5)
            await tonio.spawn(*[collect(n) for n in range(8)], *[work() for n in range(4)])
            await tonio.spawn_blocking(gc.collect)
            return await works()
        print(run(program()))
        """,
    ),
    Hostile(
        "everything_dropped_while_parked",
        """
        import weakref
        async def program():
            lock, semaphore, barrier = sync.Lock(), sync.Semaphore(1), sync.Barrier(3)
            sender, receiver = channel.channel(1)
            event, condition, rw = tonio.Event(), sync.Condition(), sync.RwLock()
            left, right = socket.socketpair()
            await lock.acquire()
            await semaphore.acquire()
            async def held():
                async with rw.write():
                    await tonio.sleep(1000)
            async def on_condition():
                async with condition():
                    await condition.wait()
            tonio.spawn(lock.acquire(), semaphore.acquire(), barrier.wait(), receiver.receive(),
                        event.wait(), held(), on_condition(), left.recv(1), tonio.sleep(1000),
                        tonio.time.sleep_forever(), tonio.spawn_blocking(time.sleep, 0.01))
            await tonio.sleep(0.01)
            lock.release()
            left.close(); right.close(); sender.close()
            del lock, semaphore, barrier, event, condition, rw, left, right, sender, receiver
            gc.collect()
            return await works()
        print(run(program()))
        gc.collect()
        """,
        flags=("-W", "error::ResourceWarning"),
        tells=(
            "Exception ignored in a task whose join was dropped",
            "EndOfChannel: the channel is empty and no sender is left",
            "ResourceClosed: the socket is closed",
        ),
    ),
    Hostile(
        "weak_references_to_everything",
        """
        import weakref
        async def program():
            join = tonio.spawn(give(1))
            refused = set()
            for thing in (tonio.current_task(), join, tonio.Event(), sync.Lock(), tonio.scope(),
                          channel.channel(1)[0], socket.socket(), tonio.runtime()):
                try:
                    reference = weakref.ref(thing)
                    assert reference() is thing
                except TypeError as error:
                    refused.add(type(thing).__name__)
                if hasattr(thing, "close"):
                    thing.close()
            print(sorted(refused))
            await join
            return await works()
        print(run(program()))
        """,
        prints="""
        ['Event', 'Join', 'Lock', 'Runtime', 'Scope', 'Sender', 'Task']
        works
        """,
    ),
    *(
        Hostile(
            f"interpreter_ends_while_{kind}_thread_runs_a_runtime",
            f"""
            import atexit
            started = threading.Event()
            async def ticking():
                try:
                    while True:
                        await tonio.spawn(give(1), give(2))
                        await tonio.spawn_blocking(int)
                        started.set()
                        await tonio.sleep(0.001)
                finally:
                    print("cleaned up", flush=True)
            runtime = tonio.runtime(threads=THREADS)
            thread = threading.Thread(
                target=runtime.run_until_complete, args=(ticking(),), daemon={kind == "daemon"})
            thread.start()
            started.wait()
            {"" if kind == "daemon" else "threading._register_atexit(runtime.stop)"}
            print("main ends", flush=True)
            """,
            prints="main ends" if kind == "daemon" else "main ends\ncleaned up",
        )
        for kind in ("daemon", "ordinary")
    ),
    Hostile(
        "interpreter_ends_while_a_daemon_thread_is_parked",
        """
        started = threading.Event()
        class Loud:
            def __del__(self):
                event.set()
        async def parked():
            global event
            event, loud = tonio.Event(), Loud()
            tonio.spawn.without_tracking(*[tonio.sleep(100) for _ in range(1000)])
            await tonio.spawn_blocking(started.set)
            await event.wait()
        threading.Thread(target=run, args=(parked(),), daemon=True).start()
        started.wait()
        time.sleep(0.02)
        print("main ends", flush=True)
        """,
        prints="main ends",
    ),
    Hostile(
        "run_at_exit",
        """
        import atexit
        async def program():
            return await works()
        class Late:
            def __del__(self, run=tonio.run, sleep=tonio.sleep, show=print):
                show("finalised:", run(sleep(0.001), threads=THREADS or 2))
        late = Late()
        sys.late, THREADS_BEFORE = late, THREADS
        atexit.register(lambda: print("at exit:", run(works())))
        print(run(program()))
        """,
        prints="works\nat exit: works",
    ),
    Hostile(
        "objects_that_outlive_the_interpreter",
        """
        async def program():
            global kept
            left, right = socket.socketpair()
            left.close(); right.close()
            join = tonio.spawn(give(1))
            await join
            kept = [tonio.Event(), sync.Lock(), channel.channel(2), join, tonio.scope(), left,
                    tonio.current_task(), sync.Semaphore(2), tonio.time.interval(1)]
            kept.append(kept)
            sys.kept = kept
            return await works()
        print(run(program()))
        """,
    ),
    Hostile(
        "lock_held_by_a_task_that_ended",
        """
        async def takes(lock):
            await lock.acquire()
        async def program():
            lock = sync.Lock()
            await tonio.spawn(takes(lock))
            print(lock.locked())
            async with tonio.scope(timeout=0.01):
                await lock.acquire()
            try:
                lock.release()
            except RuntimeError as error:
                print("release:", error)
            await lock.acquire()
        run(program())
        """,
        prints="True\nrelease: the lock is held by another task, 'takes': only that may release it",
        status=1,
        tells=("DeadlockError: all tasks wait", "of <Lock held by 'takes', 1 waiting"),
    ),
    Hostile(
        "condition_whose_lock_is_held_by_a_task_that_ended",
        """
        condition = sync.Condition()
        async def waits():
            async with condition():
                try:
                    await condition.wait()
                finally:
                    print("leaves:", sys.exception().__class__.__name__)
        async def takes():
            condition.try_acquire()
        async def program():
            join = tonio.spawn(waits())
            while "Condition 1 waiting, with <Lock free" not in repr(condition):
                await tonio.yield_now()
            await tonio.spawn(takes())
            print(join.cancel())
            await join
        run(program())
        """,
        prints="True\nleaves: GeneratorExit",
        status=1,
        tells=(
            "DeadlockError: all tasks wait",
            "waits waits for the lock, to leave Condition.wait() of <Condition 0 waiting",
            "with <Lock held by 'takes', 1 waiting",
        ),
    ),
    Hostile(
        "cycle_of_tasks_that_join_each_other",
        """
        joins = {}
        async def waits_for(name):
            while name not in joins:
                await tonio.yield_now()
            return await joins[name]
        async def program():
            for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
                joins[name] = tonio.spawn(waits_for(other))
            await joins["a"]
        run(program())
        """,
        prints="",
        status=1,
        tells=("DeadlockError: all tasks wait", "waits_for waits for", "program waits for"),
    ),
    Hostile(
        "task_that_joins_itself",
        """
        async def program():
            box = []
            async def own():
                while not box:
                    await tonio.yield_now()
                await box[0]
            box.append(tonio.spawn(own()))
            await box[0]
        run(program())
        """,
        prints="",
        status=1,
        tells=("DeadlockError: all tasks wait",),
    ),
]
