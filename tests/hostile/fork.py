"""Forks and other processes, started where they should not be."""

from program import Hostile

# the interpreter's own warning about forks of a process with several threads
QUIET = ("-W", "ignore::DeprecationWarning")
FORKED = "RuntimeError: the process was forked while the runtime ran"
REPORTED = "Exception ignored in a forked child"  # on another thread than that of `run`

PROGRAMS = [
    Hostile(
        "fork_child_leaves_at_once",
        """
        async def program():
            pid = os.fork()
            if pid == 0:
                os._exit(3)
            _, status = await tonio.spawn_blocking(os.waitpid, pid, 0)
            print("child", os.waitstatus_to_exitcode(status))
            return await works()
        print(run(program()))
        """,
        prints="child 3\nworks",
        flags=QUIET,
    ),
    Hostile(
        "fork_child_goes_on",
        """
        async def program():
            await tonio.spawn(*[give(n) for n in range(100)])
            pid = os.fork()
            if pid == 0:
                await tonio.sleep(0.01)  # there is no runtime to wait in
                print("the child goes on", flush=True)
                os._exit(0)
            _, status = await tonio.spawn_blocking(os.waitpid, pid, 0)
            print("child", os.waitstatus_to_exitcode(status))
            return await works()
        print(run(program()))
        """,
        prints="child 1\nworks",
        tells=(FORKED,),
        may_tell=(REPORTED,),
        flags=QUIET,
    ),
    Hostile(
        "fork_child_returns",
        """
        async def program():
            pid = os.fork()
            if pid == 0:
                return "child"
            _, status = await tonio.spawn_blocking(os.waitpid, pid, 0)
            print("child", os.waitstatus_to_exitcode(status))
            return await works()
        print(run(program()))
        """,
        prints="child 1\nworks",
        tells=(FORKED,),
        may_tell=(REPORTED,),
        flags=QUIET,
    ),
    Hostile(
        "fork_child_uses_everything",
        """
        async def program():
            event, lock = tonio.Event(), sync.Lock()
            left, right = socket.socketpair()
            sender, receiver = channel.unbounded()
            pid = os.fork()
            if pid == 0:
                event.set()
                sender.send(1)
                told = []
                for call in (
                    lambda: tonio.spawn(give(1)),
                    lambda: tonio.spawn_blocking(int),
                    lambda: tonio.current_task(),
                    lambda: tonio.runtime_stats(),
                    lambda: tonio.block_on(give(1)),
                ):
                    try:
                        call()
                    except RuntimeNotInitializedError:
                        told.append(1)
                left.close()
                os._exit(len(told))
            _, status = await tonio.spawn_blocking(os.waitpid, pid, 0)
            print("child", os.waitstatus_to_exitcode(status), event.is_set(), len(receiver))
            await left.sendall(b"still ours")
            assert await right.recv(100) == b"still ours"
            left.close(); right.close()
            return await works()
        print(run(program()))
        """,
        prints="child 5 False 0\nworks",
        flags=QUIET,
    ),
    Hostile(
        "fork_child_runs_a_runtime_of_its_own",
        """
        async def program():
            pid = os.fork()
            if pid == 0:
                os._exit(run(give(42)))
            _, status = await tonio.spawn_blocking(os.waitpid, pid, 0)
            print("child", os.waitstatus_to_exitcode(status))
            return await works()
        print(run(program()))
        """,
        prints="child 42\nworks",
        flags=QUIET,
    ),
    Hostile(
        "fork_in_a_blocking_job_that_returns",
        """
        def job():
            return os.fork()
        async def program():
            pid = await tonio.spawn_blocking(job)
            _, status = await tonio.spawn_blocking(os.waitpid, pid, 0)
            print("child", os.waitstatus_to_exitcode(status))
            return await works()
        print(run(program()))
        """,
        prints="child 1\nworks",
        tells=(FORKED,),
        may_tell=(REPORTED,),
        flags=QUIET,
    ),
    Hostile(
        "fork_in_a_blocking_job_that_raises",
        """
        def job():
            pid = os.fork()
            if pid == 0:
                sys.exit(7)
            return pid
        async def program():
            pid = await tonio.spawn_blocking(job)
            _, status = await tonio.spawn_blocking(os.waitpid, pid, 0)
            print("child", os.waitstatus_to_exitcode(status))
            return await works()
        print(run(program()))
        """,
        prints="child 1\nworks",
        tells=(FORKED,),
        may_tell=(REPORTED,),
        flags=QUIET,
    ),
    Hostile(
        "fork_in_a_foreign_thread",
        """
        pids = []
        def target():
            pid = os.fork()
            if pid == 0:
                try:
                    tonio.spawn(give(1))
                except RuntimeNotInitializedError:
                    os._exit(run(give(9)))
            pids.append(pid)
        async def program():
            thread = threading.Thread(target=target)
            thread.start()
            await tonio.spawn_blocking(thread.join)
            _, status = await tonio.spawn_blocking(os.waitpid, pids[0], 0)
            print("child", os.waitstatus_to_exitcode(status))
            return await works()
        print(run(program()))
        """,
        prints="child 9\nworks",
        flags=QUIET,
    ),
    Hostile(
        "forks_by_the_dozen_while_all_threads_work",
        """
        async def busy(stop):
            while not stop.is_set():
                await tonio.spawn(give(1), give(2))
        async def child_of(number):
            pid = os.fork()
            if pid == 0:
                os._exit(number)
            _, status = await tonio.spawn_blocking(os.waitpid, pid, 0)
            return os.waitstatus_to_exitcode(status)
        async def program():
            stop = tonio.Event()
            working = tonio.spawn(*[busy(stop) for _ in range(4)])
            assert await tonio.map(child_of, range(24)) == list(range(24))
            stop.set()
            await working
            return await works()
        print(run(program()))
        """,
        flags=QUIET,
    ),
    Hostile(
        "multiprocessing_from_jobs",
        """
        import multiprocessing
        def job(method):
            with multiprocessing.get_context(method).Pool(1) as pool:
                return pool.map(abs, [-1, -2])
        async def program():
            for method in ("fork", "spawn"):
                assert await tonio.spawn_blocking(job, method) == [1, 2], method
            return await works()
        print(run(program()))
        """,
        flags=QUIET,
    ),
    Hostile(
        "subprocess_from_tasks",
        """
        import subprocess
        async def child():
            return subprocess.run(
                [sys.executable, "-S", "-c", "print('child')"], stdout=subprocess.PIPE,
                preexec_fn=lambda: None,
            ).stdout
        async def program():
            assert await tonio.spawn(child(), child()) == [b"child\\n"] * 2
            pid = os.posix_spawn("/bin/true", ["true"], {})
            assert (await tonio.spawn_blocking(os.waitpid, pid, 0)) == (pid, 0)
            return await works()
        print(run(program()))
        """,
        flags=QUIET,
    ),
]
