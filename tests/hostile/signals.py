"""Signals by the thousand, and handlers that misbehave."""

from program import Hostile

PROGRAMS = [
    Hostile(
        "signals_by_the_thousand",
        """
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
        def kill():
            for _ in range(3000):
                os.kill(os.getpid(), signal.SIGUSR1)
        async def program():
            before = None
            work = tonio.spawn(*[give(n) for n in range(1000)])
            await tonio.spawn_blocking(kill)
            await work
            for _ in range(100):
                if seen:
                    break
                await tonio.sleep(0.01)
            return len(seen) > 0, await works()
        print(*run(program()))
        """,
        prints="True works",
    ),
    Hostile(
        "alarm_every_millisecond",
        """
        seen = []
        signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        async def talk():
            left, right = socket.socketpair()
            with left, right:
                for _ in range(200):
                    await left.sendall(b"x" * 100)
                    assert len(await right.recv(100)) == 100
        async def program():
            await tonio.spawn(*[talk() for _ in range(4)], tonio.sleep(0.1))
            return len(seen) > 20, await works()
        print(*run(program()))
        signal.setitimer(signal.ITIMER_REAL, 0)
        """,
        prints="True works",
    ),
    Hostile(
        "system_calls_interrupted_in_all_threads",
        """
        signal.signal(signal.SIGUSR1, lambda *_: None)
        stop = threading.Event()
        def pester():
            while not stop.is_set():
                for thread in threading.enumerate():
                    if thread.ident != threading.get_ident():
                        try:
                            signal.pthread_kill(thread.ident, signal.SIGUSR1)
                        except ProcessLookupError:
                            pass
                time.sleep(0.0005)
        thread = threading.Thread(target=pester)
        thread.start()
        async def program():
            listener = socket.socket()
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            async def serve():
                for _ in range(100):
                    connection, _ = await listener.accept()
                    with connection:
                        await connection.sendall(await connection.recv(10))
            serving = tonio.spawn(serve())
            for n in range(100):
                with socket.socket() as sock:
                    await sock.connect(listener.getsockname())
                    await sock.sendall(b"%d" % n)
                    assert await sock.recv(10) == b"%d" % n
            await serving
            listener.close()
            await tonio.map_blocking(time.sleep, [0.02] * 3)
            return await works()
        print(run(program()))
        stop.set()
        thread.join()
        """,
    ),
    Hostile(
        "children_that_end_by_the_dozen",
        """
        import subprocess
        seen = []
        signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))
        async def program():
            codes = await tonio.map_blocking(subprocess.call, [["true"]] * 20)
            assert codes == [0] * 20
            await tonio.sleep(0.01)
            return len(seen) > 0, await works()
        print(*run(program()))
        """,
        prints="True works",
        flags=("-W", "ignore::DeprecationWarning"),
    ),
    Hostile(
        "handler_that_raises",
        """
        class Mine(Exception):
            pass
        def handler(*_):
            raise Mine("from the handler")
        signal.signal(signal.SIGUSR1, handler)
        async def program():
            sleeping = tonio.spawn(tonio.sleep(5))  # the signal may come before it is waited for
            tonio.spawn_blocking(os.kill, os.getpid(), signal.SIGUSR1)
            await sleeping
        try:
            run(program())
        except Mine as error:
            print("run raises", error)
        print(run(works()))
        """,
        prints="run raises from the handler\nworks",
    ),
    Hostile(
        "handler_that_uses_the_runtime",
        """
        def handler(*_):
            tonio.spawn.without_tracking(give(1))
            event.set()
            sender.send("from the handler")
            try:
                run(give(1))
            except RuntimeAlreadyInitializedError:
                print("told")
        signal.signal(signal.SIGUSR1, handler)
        async def program():
            global event, sender
            event = tonio.Event()
            sender, receiver = channel.unbounded()
            tonio.spawn_blocking(os.kill, os.getpid(), signal.SIGUSR1)
            assert await event.wait(5)
            print(await receiver.receive())
            return await works()
        print(run(program()))
        """,
        prints="told\nfrom the handler\nworks",
    ),
    Hostile(
        "handlers_changed_during_the_run",
        """
        def mine(*_):
            print("mine", flush=True)
            event.set()
        async def program():
            global event
            event = tonio.Event()
            signal.signal(signal.SIGINT, mine)
            tonio.spawn_blocking(os.kill, os.getpid(), signal.SIGINT)
            assert await event.wait(5)
            return await works()
        print(tonio.run(program(), threads=1))
        print(signal.getsignal(signal.SIGINT) is mine)
        """,
        prints="mine\nworks\nTrue",
    ),
    Hostile(
        "wake_up_descriptor_changed_during_the_run",
        """
        left, right = __import__("socket").socketpair()
        left.setblocking(False)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        async def program():
            signal.set_wakeup_fd(left.fileno())
            tonio.spawn_blocking(os.kill, os.getpid(), signal.SIGUSR1)
            await tonio.sleep(0.05)
            return await works()
        print(tonio.run(program(), threads=1))
        signal.set_wakeup_fd(-1)
        print(right.recv(10) == bytes([signal.SIGUSR1]))
        """,
        prints="works\nTrue",
    ),
    Hostile(
        "blocked_signals",
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        async def program():
            os.kill(os.getpid(), signal.SIGTERM)
            return await works()
        print(run(program()))
        """,
    ),
    Hostile(
        "handler_that_exits_while_a_job_holds_up_the_end",
        """
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(6))
        async def program():
            tonio.spawn_blocking(time.sleep, 0.3)
            await tonio.sleep(0.02)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
        run(program())
        """,
        prints="",
        status=6,
    ),
    Hostile(
        "handler_that_exits_while_a_run_begins_or_ends",
        """
        def handler(*_):
            if armed:
                sys.exit(6)
        signal.signal(signal.SIGALRM, handler)
        async def program():
            await tonio.spawn(*[give(n) for n in range(20)])
            await tonio.spawn_blocking(int)
        exits = 0
        hooks = sys.get_asyncgen_hooks()
        for n in range(200):
            coroutine = program()
            try:
                try:
                    armed = True
                    signal.setitimer(signal.ITIMER_REAL, 1e-6 + n * 6e-6)
                    run(coroutine)
                finally:
                    armed = False
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except SystemExit:
                exits += 1
            coroutine.close()
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert sys.get_asyncgen_hooks() == hooks
            assert signal.set_wakeup_fd(-1) == -1
        print(exits > 50)
        """,
        flags=("-W", "ignore::RuntimeWarning"),
        prints="True",
    ),
]
