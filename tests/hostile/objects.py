"""Objects of the runtime that are copied, subclassed, compared, mixed up or outlive their run."""

from program import Hostile

EVERYTHING = """
        async def everything():
            "One object of every type there is."
            left, right = socket.socketpair()
            left.close()
            right.close()
            join = tonio.spawn(give(1))
            await join
            bounded, unbounded = channel.channel(1), channel.unbounded()
            broadcast, watch = channel.broadcast(1), channel.watch(1)
            return [tonio.current_task(), join, tonio.Event(), tonio.scope(), tonio.runtime(),
                    sync.Lock(), sync.Semaphore(1), sync.Barrier(1), sync.Condition(),
                    sync.RwLock(), sync.Once(), *bounded, *unbounded, *broadcast, *watch, left,
                    tonio.time.interval(1), tonio.pinned(), tonio.time.fail_after(1),
                    tonio.spawn, tonio.spawn_blocking, sync.Lock().or_raise()]
"""

PROGRAMS = [
    Hostile(
        "pickling_and_copying",
        EVERYTHING
        + """
        import copy, pickle
        async def program():
            for thing in await everything():
                for use in (copy.copy, copy.deepcopy, pickle.dumps):
                    try:
                        use(thing)
                    except TypeError as error:
                        assert "cannot pickle" in str(error), error
                    else:
                        print("may be copied:", type(thing).__name__, use.__name__)
            return await works()
        print(run(program()))
        """,
    ),
    Hostile(
        "subclasses_and_instances_from_nothing",
        EVERYTHING
        + """
        async def program():
            for thing in await everything():
                kind = type(thing)
                try:
                    class Sub(kind):
                        pass
                    print("base:", kind.__name__)
                except TypeError as error:
                    assert "not an acceptable base type" in str(error), error
                for make in (lambda: kind.__new__(kind), lambda: object.__new__(kind),
                             lambda: kind(1, 2, 3, 4, 5, 6), lambda: kind(nonsense=1)):
                    try:
                        made = make()
                        repr(made)
                        print("made:", kind.__name__)
                    except TypeError:
                        pass
            return await works()
        print(run(program()))
        """,
        prints="""
        made: Event
        made: Lock
        made: Condition
        made: RwLock
        made: Once
        made: socket
        works
        """,
    ),
    Hostile(
        "attributes_of_objects_and_types",
        EVERYTHING
        + """
        async def program():
            for thing in await everything():
                for use in (lambda: setattr(thing, "nonsense", 1),
                            lambda: delattr(thing, "close"),
                            lambda: setattr(type(thing), "nonsense", 1),
                            lambda: setattr(thing, "__class__", int),
                            lambda: thing.__setstate__({})):
                    try:
                        use()
                        print("possible:", type(thing).__name__)
                    except (AttributeError, TypeError):
                        pass
                repr(thing), str(thing), hash(thing), thing == thing, dir(thing), bool(thing)
                thing.__sizeof__(), thing.__doc__, thing.__reduce_ex__, gc.get_referents(thing)
                for initialise in (thing.__init__,):
                    try:
                        initialise(1)
                    except TypeError:
                        pass
            return await works()
        print(run(program()))
        """,
        prints="works",
    ),
    Hostile(
        "every_function_called_with_nonsense",
        """
        import math
        from tonio.colored import io, net
        class Evil:
            def __index__(self): raise LookupError("index")
            def __float__(self): raise LookupError("float")
            def __iter__(self): raise LookupError("iter")
            def __await__(self): raise LookupError("await")
            def __bool__(self): raise LookupError("bool")
            def __hash__(self): raise LookupError("hash")
            def __eq__(self, other): raise LookupError("eq")
            def __repr__(self): raise LookupError("repr")
            def __call__(self, *args): raise LookupError("call")
        class Text(str):
            pass
        nonsense = [None, True, -1, 0, 1, 2**31, 2**63, -2**63, 2**200, 1.5, math.nan, math.inf,
                    1e300, "", "text", Text("x"), b"bytes", bytearray(3), memoryview(b"abc"), (),
                    (1, 2), [], {}, set(), int, object(), Evil(), Ellipsis, (None,), [[]],
                    ("127.0.0.1", 70000), ("127.0.0.1", "x"), ("\\0", 1), "\\ud800", b"\\0" * 200]
        skipped = {"main", "run", "block_on", "default_int_handler"}
        allowed = (TypeError, ValueError, OSError, LookupError, RuntimeError, OverflowError,
                   AttributeError, WouldBlock, ResourceClosed, ResourceBroken, ResourceBusy,
                   MemoryError)
        async def use(call, *args):
            try:
                made = call(*args)
            except allowed:
                return
            if isinstance(made, tonio.Join):
                made.cancel()
            if hasattr(made, "close"):
                try:
                    made.close()
                except allowed:
                    pass
            elif hasattr(made, "__await__"):
                try:
                    async with tonio.scope(timeout=0) as scope:
                        await made
                except allowed:
                    pass
                except ExceptionGroup as group:
                    assert all(isinstance(error, allowed) for error in group.exceptions)
        async def program():
            import random
            generator = random.Random(5)
            calls = []
            for module in (tonio, tonio.time, sync, channel, net, io):
                calls += [getattr(module, n) for n in module.__all__ if n not in skipped]
            calls = [call for call in calls if callable(call)]
            calls += [tonio.spawn.without_results, tonio.spawn.without_tracking,
                      tonio.spawn_blocking.abandon, socket.socket, socket.socketpair]
            done = 0
            def objects():
                return [tonio.Event(), sync.Lock(), sync.Semaphore(1), sync.Barrier(3),
                        sync.Condition(), sync.RwLock(), sync.Once(), *channel.channel(1),
                        *channel.unbounded(), *channel.broadcast(2), *channel.watch(1),
                        socket.socket(), tonio.scope(), tonio.spawn(give(1)),
                        tonio.time.interval(1), tonio.runtime()]
            for call in calls:
                for arguments in ((), *((thing,) for thing in nonsense)):
                    await use(call, *arguments)
                for _ in range(20):
                    await use(call, *generator.choices(nonsense, k=generator.randrange(2, 5)))
            for index in range(len(objects())):
                for name in dir(objects()[index]):
                    if name in ("detach", "run_forever", "run_until_complete", "__class__",
                                "__await__", "__iter__") or not name.startswith("__") == False:
                        continue
                    for _ in range(12):
                        thing = objects()[index]
                        method = getattr(thing, name)
                        if callable(method):
                            arguments = generator.choices(nonsense, k=generator.randrange(0, 4))
                            await use(method, *arguments)
                        if hasattr(thing, "close"):
                            thing.close()
            return await works()
        import warnings
        warnings.simplefilter("ignore")
        sys.unraisablehook = lambda report: None
        print(run(program()))
        """,
        notations=("await",),
    ),
    Hostile(
        "comparisons_that_raise_or_use_the_runtime",
        """
        class Odd:
            def __eq__(self, other):
                tonio.spawn.without_tracking(give(1))
                raise LookupError("eq")
            def __hash__(self):
                raise LookupError("hash")
            def __bool__(self):
                raise LookupError("bool")
            def __len__(self):
                raise LookupError("len")
            def __repr__(self):
                raise LookupError("repr")
            __str__ = __repr__
        class Error(Exception):
            __eq__, __hash__, __bool__ = Odd.__eq__, Odd.__hash__, Odd.__bool__
            __str__ = __repr__ = Odd.__repr__
        async def fails():
            raise Error
        async def program():
            odd = Odd()
            assert (await give(odd)) is odd
            assert (await tonio.spawn(give(odd), give(odd)))[1] is odd
            assert (await tonio.spawn_blocking(lambda: odd)) is odd
            assert (await tonio.time.timeout(give(odd), 1))[0] is odd
            assert (await tonio.select(give(odd), tonio.sleep(9))) is odd
            sender, receiver = channel.channel(1)
            await sender.send(odd)
            assert (await receiver.receive()) is odd
            watching, watcher = channel.watch(odd)
            watching.send(odd)
            assert (await watcher.receive()) is odd
            cell = sync.Once()
            assert (await cell.get_or_init(lambda: give(odd))) is odd
            condition = sync.Condition()
            try:
                async with condition():
                    await condition.wait_for(lambda: odd)
            except LookupError as error:
                print("wait_for:", error)
            try:
                await tonio.spawn(fails(), fails())
            except ExceptionGroup as group:
                print(len(group.exceptions))
            try:
                async with tonio.scope() as scope:
                    scope.spawn(fails())
            except ExceptionGroup as group:
                print(len(group.exceptions))
            return await works()
        print(run(program()))
        """,
        prints="wait_for: bool\n2\n1\nworks",
        notations=("await",),
    ),
    Hostile(
        "errors_that_cannot_be_shown",
        """
        class Error(Exception):
            def __str__(self):
                raise LookupError("str")
            __repr__ = __str__
        async def fails():
            raise Error
        async def program():
            tonio.spawn.without_tracking(fails())
            await tonio.sleep(0.01)
            return await works()
        print(run(program()))
        """,
        tells=("Exception ignored in a task that nobody waits for", "<exception str() failed>"),
    ),
    Hostile(
        "context_variables_misused",
        """
        import contextvars
        number = contextvars.ContextVar("number")
        async def child(n, context):
            token = number.set(n)
            await tonio.yield_now()
            assert number.get() == n
            try:
                contextvars.copy_context().run(number.reset, token)
            except ValueError:
                pass
            try:
                context.run(int)
            except RuntimeError:
                pass
            number.reset(token)
            return number.get("unset")
        async def in_context():
            return contextvars.copy_context().run(tonio.spawn, give(5))
        async def steal():
            tokens.append(number.set(1))
        tokens = []
        async def program():
            context = contextvars.copy_context()
            assert set(await tonio.spawn(*[child(n, context) for n in range(50)])) == {"unset"}
            assert await (await in_context()) == 5
            await tonio.spawn(steal())
            try:
                number.reset(tokens[0])
            except ValueError:
                print("another context's token")
            return await works()
        outer = contextvars.copy_context()
        print(outer.run(run, program(), context=True))
        """,
        prints="another context's token\nworks",
    ),
    Hostile(
        "runtime_started_inside_a_task_and_in_its_job",
        """
        async def program():
            for start in (tonio.run, tonio.runtime().run_until_complete):
                coroutine = give(1)
                try:
                    start(coroutine)
                except RuntimeAlreadyInitializedError:
                    print("told")
            try:
                tonio.block_on(give(1))
            except RuntimeError:
                print("told")
            try:
                tonio.runtime().run_forever()
            except RuntimeAlreadyInitializedError:
                print("told")
            assert await tonio.spawn_blocking(run, works()) == "works"
            return await works()
        print(run(program()))
        """,
        prints="told\ntold\ntold\ntold\nworks",
    ),
    Hostile(
        "runtime_closed_or_stopped_from_inside",
        """
        runtime = tonio.runtime(threads=THREADS)
        async def program():
            try:
                runtime.close()
            except RuntimeError as error:
                print(error)
            runtime.stop()
            runtime.stop()
            try:
                await tonio.sleep(10)
            except CancelledError:
                print("cancelled")
                raise
        print(runtime.run_until_complete(program()))
        print(runtime.run_until_complete(works()))
        """,
        prints="""
        the runtime is still running: let its main coroutine end first
        cancelled
        None
        works
        """,
    ),
    Hostile(
        "objects_used_in_another_runtime",
        """
        kept = {}
        async def parked(lock):
            async with lock():
                await kept["event"].wait()
                return "woken"
        async def first(ready, leave):
            kept.update(event=tonio.Event(), lock=sync.Lock(), semaphore=sync.Semaphore(1))
            kept["channel"] = channel.channel(0)
            kept["sockets"] = socket.socketpair()
            kept["join"] = tonio.spawn(parked(kept["lock"]))
            await tonio.sleep(0.01)
            ready.set()
            got = await kept["channel"][1].receive()
            await kept["sockets"][0].sendall(b"from the first")
            assert await kept["join"] == "woken"
            assert await leave.wait()
            return got
        async def second(ready, leave):
            assert await ready.wait()
            assert await kept["semaphore"].acquire() is None or True
            kept["semaphore"].release()
            await kept["channel"][0].send("across")
            kept["event"].set()
            assert await kept["join"] == "woken"
            async with kept["lock"]():
                pass
            received = await kept["sockets"][1].recv(100)
            leave.set()
            return received
        ready, leave = tonio.Event(), tonio.Event()
        got = []
        thread = threading.Thread(target=lambda: got.append(run(first(ready, leave))))
        thread.start()
        print(run(second(ready, leave)))
        thread.join()
        print(got)
        # and after their run has ended
        async def third():
            assert await kept["join"] == "woken"
            assert kept["event"].is_set() and await kept["event"].wait()
            async with kept["lock"]():
                pass
            await kept["sockets"][0].sendall(b"again")
            assert await kept["sockets"][1].recv(5) == b"again"
            for sock in kept["sockets"]:
                sock.close()
            return await works()
        print(run(third()))
        """,
        prints="b'from the first'\n['across']\nworks",
    ),
    Hostile(
        "objects_whose_run_ended_while_tasks_waited_for_them",
        """
        async def owner():
            await lock.acquire()
            await semaphore.acquire()
            tonio.spawn.without_tracking(lock.acquire(), semaphore.acquire(), event.wait(),
                                         barrier.wait(), sender.send(1), receiver.receive())
            await tonio.sleep(0.01)
            return tonio.scope()
        lock, semaphore = sync.Lock(), sync.Semaphore(1)
        event, barrier = tonio.Event(), sync.Barrier(2)
        sender, receiver = channel.channel(1)
        scope = run(owner())
        async def program():
            print(repr(barrier).count("1 waiting"), event.set(), lock.locked(), semaphore.tokens())
            try:
                lock.release()
            except RuntimeError:
                print("not its owner")
            semaphore.release()
            await semaphore.acquire()
            async with tonio.scope(timeout=0.01) as limit:
                await receiver.receive()
            return await works()
        print(run(program()))
        """,
        prints="0 True True 0\nnot its owner\nworks",
    ),
    Hostile(
        "scope_of_one_runtime_used_in_another",
        """
        async def owner():
            global scope
            async with tonio.scope() as scope:
                opened.set()
                await leave.wait()
        async def program():
            assert await opened.wait()
            assert await scope.spawn(give(1)) == 1  # as from any other thread
            try:
                async with scope:
                    pass
            except RuntimeError as error:
                print("enter:", error)
            scope.cancel()
            leave.set()
            return await works()
        opened, leave = tonio.Event(), tonio.Event()
        thread = threading.Thread(target=run, args=(owner(),))
        thread.start()
        print(run(program()))
        thread.join()
        """,
        prints="enter: the scope was entered before: make a new one with scope()\nworks",
        notations=("await",),
    ),
]
