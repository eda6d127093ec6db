"""Odd interpreters: flags, limits, locales, closed descriptors, global lock, sub-interpreters."""

from program import Hostile

WORKS = """
        async def program():
            left, right = socket.socketpair()
            with left, right:
                await left.sendall(b"x")
                await right.recv(1)
            return await works()
        print(run(program()))
"""

LOCALE_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

PROGRAMS = [
    *(
        Hostile(f"interpreter_with_{name}", WORKS, flags=flags, notations=("await",))
        for name, flags in {
            "O": ("-O",),
            "OO": ("-OO",),
            "warnings_as_errors": ("-W", "error"),
            "development_mode": ("-X", "dev"),
            "isolation": ("-I",),
            "no_site_packages_of_the_user": ("-s",),
            "bytes_warnings": ("-bb",),
            "import_times": ("-X", "frozen_modules=off"),
            "few_digits": ("-X", "int_max_str_digits=640"),
            "thread_inherits_no_gil": ("-X", "gil=0"),
        }.items()
    ),
    Hostile("gil_enabled", WORKS, environment={"PYTHON_GIL": "1"}),
    Hostile(
        "gil_enabled_default_threads",
        """
        async def program():
            return len(tonio.runtime_stats()), await works()
        print(repr(tonio.runtime()), tonio.run(program()))
        """,
        prints="<Runtime threads=1 idle> (1, 'works')",
        environment={"PYTHON_GIL": "1"},
    ),
    Hostile("locale_c", WORKS, environment=LOCALE_C),
    Hostile("locale_that_does_not_exist", WORKS, environment={"LC_ALL": "xx_YY.nonsense"}),
    Hostile("no_environment", WORKS, environment={"PATH": "", "HOME": "", "LANG": ""}),
    Hostile(
        "names_that_are_not_ascii",
        """
        async def fails():
            raise ValueError(chr(0x4e2d) + chr(0xd800))
        fails.__qualname__ = "Z" + chr(0xfc) + "rich" + chr(0xd800)
        async def program():
            tonio.spawn.without_tracking(fails())
            await tonio.sleep(0.01)
            await tonio.spawn(tonio.Event().wait())
        program.__qualname__ = "gr" + chr(0xf6) + chr(0xdf) + "e" + chr(0xd800)
        run(program())
        """,
        prints="",
        status=1,
        tells=("DeadlockError", "Exception ignored in a task that nobody waits for"),
        environment=LOCALE_C,
    ),
    Hostile("standard_input_closed", WORKS, closed="<&-"),
    Hostile(
        "all_standard_streams_closed",
        WORKS.replace("print(run(program()))", "sys.exit(0 if run(program()) == 'works' else 1)"),
        prints="",
        closed="<&- >&- 2>&-",
    ),
    Hostile(
        "standard_error_closed_with_reports",
        """
        async def fail():
            raise ValueError
        async def program():
            tonio.spawn.without_tracking(fail())
            await tonio.sleep(0.01)
            return await works()
        print(run(program()))
        """,
        closed="2>&-",
    ),
    Hostile("ten_descriptors", WORKS, limits="ulimit -n 10"),
    Hostile(
        "no_descriptors_left",
        """
        import errno
        opened = []
        try:
            while True:
                opened.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        coroutine = works()
        try:
            run(coroutine)
        except OSError as error:
            print(errno.errorcode[error.errno])
        for fd in opened:
            os.close(fd)
        print(run(works()))
        """,
        prints="EMFILE\nworks",
        limits="ulimit -n 24",
    ),
    Hostile(
        "descriptors_run_out_during_the_run",
        """
        import errno
        async def program():
            pairs = []
            try:
                while True:
                    pairs.append(socket.socketpair())
            except OSError as error:
                print(errno.errorcode[error.errno])
            assert await tonio.spawn_blocking(abs, -1) == 1
            await tonio.sleep(0.001)
            assert await tonio.spawn(give(1), give(2)) == [1, 2]
            try:
                await socket.getaddrinfo("localhost", 80)
            except OSError:
                pass
            for left, right in pairs:
                await left.sendall(b"x")
                assert await right.recv(1) == b"x"
                left.close(); right.close()
            return await works()
        print(run(program()))
        """,
        prints="EMFILE\nworks",
        limits="ulimit -n 24",
    ),
    Hostile(
        "accept_without_descriptors",
        """
        import errno
        async def program():
            listener = socket.socket()
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            client = socket.socket()
            await client.connect(listener.getsockname())
            opened = []
            try:
                while True:
                    opened.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass
            try:
                await listener.accept()
            except OSError as error:
                print(errno.errorcode[error.errno])
            for fd in opened:
                os.close(fd)
            connection, _ = await listener.accept()
            for sock in (connection, client, listener):
                sock.close()
            return await works()
        print(run(program()))
        """,
        prints="EMFILE\nworks",
        limits="ulimit -n 24",
    ),
    Hostile(
        "standard_descriptors_closed_by_the_program",
        """
        async def program():
            os.close(0)
            left, right = socket.socketpair()  # one of them is number 0
            print(0 in (left.fileno(), right.fileno()))
            with left, right:
                await left.sendall(b"x")
                assert await right.recv(1) == b"x"
            return await works()
        print(run(program()))
        """,
        prints="True\nworks",
    ),
    Hostile(
        "all_descriptors_closed_by_the_program",
        """
        async def program():
            os.closerange(3, 100)
            await tonio.yield_now()
            await tonio.sleep(0.001)
            print("goes on")
        run(program())
        """,
        prints="goes on",
    ),
    Hostile(
        "no_thread_can_be_started",
        """
        async def program():
            assert await tonio.spawn(*[give(n) for n in range(100)]) == list(range(100))
            try:
                await tonio.spawn_blocking(int)
            except RuntimeError as error:
                print(error)
            await tonio.sleep(0.001)
            print(await give("goes on"))
        threading.stack_size(1 << 36)  # more than there is
        run(program())
        """,
        prints="can't start new thread\ngoes on",
        limits="ulimit -v 4000000",
        tells=("Exception ignored while starting a worker thread: the run goes on with fewer",),
        notations=("await",),
        sanitizers=False,
    ),
    Hostile(
        "few_threads_allowed",
        """
        import resource
        async def program():
            assert await tonio.spawn(*[give(n) for n in range(1000)]) == list(range(1000))
            try:
                await tonio.map_blocking(time.sleep, [0.001] * 50)
            except* RuntimeError as group:
                assert "can't start new thread" in str(group.exceptions[0])
            return await give("goes on")
        if os.getuid() == 0:  # whom the limit is nothing to
            os.setgroups([])
            os.setuid(54321)
        resource.setrlimit(resource.RLIMIT_NPROC, (3, 3))
        print(run(program()))
        """,
        prints="goes on",
        may_tell=("Exception ignored while starting a worker thread",),
        sanitizers=False,
    ),
    Hostile(
        "memory_runs_out",
        """
        import resource
        async def program():
            limit = 400_000_000
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            kept = []
            try:
                while True:
                    kept.append(tonio.spawn(*[tonio.sleep(1000) for _ in range(1000)]))
            except MemoryError:
                print("MemoryError")
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            kept.clear()
            return await works()
        print(run(program()))
        """,
        prints="MemoryError\nworks",
        may_tell=("Exception ignored in a task whose join was dropped", "MemoryError"),
        sanitizers=False,
    ),
    Hostile(
        "sub_interpreter",
        """
        import _interpreters
        interpreter = _interpreters.create("isolated")
        problem = _interpreters.exec(interpreter, "import tonio")
        print(problem.type.__name__, "does not support loading in subinterpreters" in problem.msg)
        _interpreters.destroy(interpreter)
        legacy = _interpreters.create("legacy")
        problem = _interpreters.exec(legacy, "import tonio")
        print(problem.type.__name__, "does not support loading in subinterpreters" in problem.msg)
        _interpreters.destroy(legacy)
        print(run(works()))
        """,
        prints="ImportError True\nImportError True\nworks",
    ),
    Hostile(
        "imported_by_many_threads_at_once",
        """
        import sys, threading
        outcomes = []
        def use(n):
            import tonio
            def program():
                yield tonio.sleep(0.001)
                return n
            outcomes.append(tonio.run(program(), threads=2))
        threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(sorted(outcomes))
        """,
        prints="[0, 1, 2, 3, 4, 5, 6, 7]",
        prelude=False,
        notations=("await",),
    ),
    Hostile(
        "imported_in_a_thread",
        """
        import threading
        def use():
            import tonio
            def program():
                yield tonio.sleep(0.001)
                print((yield tonio.spawn_blocking(abs, -4)))
            tonio.run(program(), threads=2)
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        """,
        prints="4",
        prelude=False,
        notations=("await",),
    ),
    Hostile(
        "working_directory_removed",
        """
        import tempfile
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        os.rmdir(folder)
        print(run(works()))
        """,
    ),
]
