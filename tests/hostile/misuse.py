"""Tampered builtins and modules, bad input of all kinds, callbacks that misbehave."""

from program import Hostile

PROGRAMS = [
    Hostile(
        "monkeypatched_builtins",
        """
        import builtins
        before = dict(vars(builtins))
        # not len and max: threading counts the threads of a run that is quiet for long with them
        names = ("isinstance", "getattr", "hasattr", "iter", "next", "type", "super", "list",
                 "dict", "map", "min", "id", "repr", "sorted")
        def forbidden(*args, **kwargs):
            raise LookupError("tampered with")
        async def program():
            left, right = socket.socketpair()
            for name in names:
                setattr(builtins, name, forbidden)
            try:
                with left, right:
                    await left.sendall(b"x")
                    assert await right.recv(1) == b"x"
                return await works()
            finally:
                vars(builtins).update(before)
        print(run(program()))
        for name in names:
            setattr(builtins, name, forbidden)
        coroutine = program()
        try:
            run(coroutine)  # it is begun and ended with the help of Python code
        except LookupError as error:
            outcome = error
        vars(builtins).update(before)
        print(outcome)
        print(run(program()))
        """,
        prints="works\ntampered with\nworks",
        may_tell=("Exception ignored in a thread of the runtime",),
    ),
    Hostile(
        "modules_removed_and_tampered_with",
        """
        async def program():
            return await works()
        for name in list(sys.modules):
            if name.startswith("tonio") or name in ("threading", "signal", "inspect", "socket"):
                del sys.modules[name]
        print(run(program()))
        import tonio as again
        def plain():
            yield again.sleep(0.001)
            return "works"
        print(again.run(plain(), threads=2))
        """,
        prints="works\nworks",
    ),
    Hostile(
        "threading_tampered_with",
        """
        async def program():
            return await works()
        def forbidden(*args, **kwargs):
            raise LookupError("tampered with")
        before, threading.current_thread = threading.current_thread, forbidden
        try:
            run(program())
        except LookupError as error:
            print(error)
        threading.current_thread = before
        print(run(program()))
        """,
        prints="tampered with\nworks",
    ),
    Hostile(
        "callables_that_return_the_wrong_thing",
        """
        async def program():
            for use in (
                lambda: tonio.map(lambda n: 42, [1]),
                lambda: tonio.map(lambda n: None, [1]),
                lambda: sync.Once().get_or_init(42),
                lambda: tonio.main(42),
            ):
                try:
                    await use()
                except TypeError:
                    print("TypeError")
            def numbers():
                yield give(1)
                raise LookupError("in the middle")
            for use in (lambda: tonio.map(lambda n: n, numbers()),
                        lambda: tonio.map_blocking(lambda n: n, numbers())):
                try:
                    await use()
                except LookupError as error:
                    print(error)
            return await works()
        print(run(program()))
        """,
        prints="TypeError\nTypeError\nTypeError\nTypeError\nin the middle\nin the middle\nworks",
        tells=("'give' was never awaited",),
        notations=("await",),
    ),
    Hostile(
        "bad_input_to_locks_and_channels",
        """
        from math import inf, nan
        def told(call):
            try:
                call()
            except (TypeError, ValueError) as error:
                return type(error).__name__
            return "accepted"
        for call in (
            lambda: channel.channel(-1), lambda: channel.channel("1"), lambda: channel.channel(1.0),
            lambda: channel.channel(2**70), lambda: channel.channel(),
            lambda: channel.channel(None),
            lambda: channel.unbounded(1), lambda: channel.broadcast(0), lambda: channel.watch(),
            lambda: channel.broadcast(None), lambda: channel.channel(True, 1),
            lambda: sync.Semaphore(-1), lambda: sync.Semaphore("1"), lambda: sync.Semaphore(),
            lambda: sync.Semaphore(2, max_value=1), lambda: sync.Semaphore(2**70),
            lambda: sync.Barrier(0), lambda: sync.Barrier(-1), lambda: sync.Barrier(1.5),
            lambda: sync.Barrier(2**70), lambda: sync.Lock(1), lambda: sync.RwLock(1),
            lambda: sync.Once(1), lambda: sync.Semaphore(1).acquire(0),
            lambda: sync.Semaphore(1).acquire(-1), lambda: sync.Semaphore(1).acquire("1"),
            lambda: sync.Semaphore(1, max_value=5).acquire(6), lambda: sync.Lock().acquire(1, 2),
            lambda: sync.Condition().notify("1"), lambda: sync.Condition().wait(nan),
            lambda: tonio.scope(timeout=-1), lambda: tonio.scope(timeout=nan),
            lambda: tonio.scope(timeout="1"), lambda: tonio.scope(deadline=nan),
            lambda: tonio.scope(timeout=1, deadline=1), lambda: tonio.scope(1),
            lambda: tonio.scope(shield=1), lambda: tonio.scope(nonsense=1),
            lambda: tonio.select(), lambda: tonio.select(1), lambda: tonio.as_completed(1),
            lambda: tonio.time.fail_after(nan), lambda: tonio.time.fail_after(-1),
            lambda: tonio.time.fail_after("1"), lambda: tonio.time.fail_after(),
            lambda: tonio.time.sleep_until(nan), lambda: tonio.time.sleep_until("1"),
            lambda: tonio.time.sleep_forever(1),
        ):
            if told(call) == "accepted":
                print("accepted:", call.__code__.co_firstlineno)
        print(run(works()))
        """,
    ),
    Hostile(
        "bad_input_to_sockets_and_descriptors",
        """
        from tonio.colored import io
        async def told(call):
            try:
                outcome = call()
                if hasattr(outcome, "__await__"):
                    await outcome
            except (TypeError, ValueError, OSError, OverflowError) as error:
                return type(error).__name__
            return "accepted"
        async def program():
            sock, other = socket.socketpair()
            tcp = socket.socket()
            for call in (
                lambda: sock.recv(), lambda: sock.recv(-1), lambda: sock.recv("1"),
                lambda: sock.recv(2**70), lambda: sock.recv(1, "flags"), lambda: sock.recv(1.5),
                lambda: sock.send(), lambda: sock.send("text"), lambda: sock.send(1),
                lambda: sock.sendall(None), lambda: sock.sendall("text"),
                lambda: sock.recv_into(b"read only"), lambda: sock.recv_into(bytearray(1), 2),
                lambda: sock.recv_into(bytearray(1), -1), lambda: sock.recvmsg(-1),
                lambda: sock.recvmsg(1, -1), lambda: sock.sendmsg(1), lambda: sock.sendmsg([1]),
                lambda: sock.sendmsg([b""], [(1, 2)]), lambda: sock.sendmsg([b""], [1]),
                lambda: sock.recvmsg_into(1), lambda: sock.recvmsg_into([b"x"]),
                lambda: sock.recv(1, timeout=-1),
                lambda: sock.recv(1, timeout="1"), lambda: sock.recv(1, timeout=float("nan")),
                lambda: sock.settimeout(-1), lambda: sock.settimeout("1"),
                lambda: sock.setsockopt(1), lambda: sock.setsockopt(1, 2, object()),
                lambda: sock.getsockopt(1, 2, -1), lambda: sock.getsockopt(1, 2, 2**20),
                lambda: sock.shutdown("x"), lambda: sock.shutdown(99), lambda: tcp.listen("x"),
                lambda: tcp.bind(1), lambda: tcp.bind(("x",)), lambda: tcp.bind(("", 70000)),
                lambda: tcp.bind(("127.0.0.1", -1)), lambda: tcp.bind("path"),
                lambda: tcp.connect(None), lambda: tcp.connect(("a" * 300, 1)),
                lambda: tcp.connect(("127.0.0.1", "http")), lambda: tcp.connect(("\\0", 1)),
                lambda: socket.socket(99), lambda: socket.socket("x"), lambda: socket.socket(2, 99),
                lambda: socket.socket(fileno=-1), lambda: socket.socket(fileno=10**6),
                lambda: socket.socket(fileno="x"), lambda: socket.socketpair(2),
                lambda: socket.fromfd(-1, 2, 1), lambda: io.register(-1),
                lambda: io.register(10**6), lambda: io.register("x"), lambda: io.register(2**70),
                lambda: socket.getaddrinfo(1, 2), lambda: socket.getnameinfo(1, 2),
                lambda: socket.getaddrinfo("127.0.0.1", object()),
            ):
                if await told(call) == "accepted":
                    print("accepted:", call.__code__.co_firstlineno, call.__code__.co_positions())
            sock.close(); other.close(); tcp.close()
            return await works()
        print(run(program()))
        """,
        notations=("await",),
    ),
    Hostile(
        "descriptors_closed_behind_the_runtime",
        """
        async def program():
            left, right = socket.socketpair()
            async def reads():
                try:
                    return await left.recv(1, timeout=0.2)
                except (OSError, TimeoutError) as error:
                    return type(error).__name__
            join = tonio.spawn(reads())
            await tonio.sleep(0.01)
            os.close(left.fileno())
            right.close()
            print(await join)
            try:
                left.close()
            except OSError as error:
                print("close:", error.strerror)
            return await works()
        print(run(program()))
        """,
        prints="TimeoutError\nclose: Bad file descriptor\nworks",
    ),
    Hostile(
        "descriptor_number_used_again_behind_the_runtime",
        """
        async def program():
            left, right = socket.socketpair()
            await left.sendall(b"x")
            assert await right.recv(1) == b"x"
            number = right.detach()
            os.close(number)
            third, fourth = socket.socketpair()
            print(number in (third.fileno(), fourth.fileno()))
            join = tonio.spawn(third.recv(10), fourth.recv(10))
            await tonio.sleep(0.01)
            await third.sendall(b"to fourth")
            await fourth.sendall(b"to third")
            print(await join)
            for sock in (left, third, fourth):
                sock.close()
            return await works()
        print(run(program()))
        """,
        prints="True\n[b'to third', b'to fourth']\nworks",
    ),
    Hostile(
        "events_and_jobs_by_threads_without_end",
        """
        stop = threading.Event()
        def hammer():
            while not stop.is_set():
                event.set()
                event.clear()
                try:
                    tonio.spawn(give(1))
                except RuntimeNotInitializedError:
                    pass
        event = tonio.Event()
        threads = [threading.Thread(target=hammer) for _ in range(2)]
        async def program():
            for _ in range(50):
                await event.wait(0.001)
            return await works()
        for thread in threads:
            thread.start()
        for _ in range(5):
            run(program())
        stop.set()
        for thread in threads:
            thread.join()
        print(run(program()))
        """,
    ),
    Hostile(
        "job_that_catches_its_cancellation",
        """
        def stubborn():
            try:
                begun.set()
                while True:
                    time.sleep(0.001)
            except CancelledError:
                for _ in range(20):
                    time.sleep(0.001)
                ended.append("in its own time")
        begun = threading.Event()
        ended = []
        async def program():
            async with tonio.scope() as scope:
                scope.spawn(tonio.spawn_blocking(stubborn))
                await tonio.spawn_blocking(begun.wait)
                scope.cancel()
            print(scope.cancelled, ended)
            return await works()
        print(run(program()))
        """,
        prints="True ['in its own time']\nworks",
    ),
    Hostile(
        "jobs_interrupted_wherever_their_own_run_is",
        """
        async def long():
            try:
                await tonio.spawn(give(1), give(2))
                await tonio.sleep(100)
            finally:
                await give(3)
        async def program():
            for n in range(400):
                async with tonio.scope(timeout=n * 5e-6):
                    await tonio.spawn_blocking(lambda: tonio.run(long(), threads=2))
            return await works()
        print(run(program()))
        """,
        flags=("-W", "ignore::RuntimeWarning"),
    ),
]
