"""Debuggers, profilers, coverage and faulthandler, active on all threads while tasks migrate."""

from program import Hostile

WORK = """
        def helper(n):
            return n + 1
        async def child(n):
            await tonio.yield_now()
            await tonio.sleep(0.0001)
            await tonio.spawn_blocking(helper, n)
            return helper(n)
        async def program():
            for _ in range(10):
                assert await tonio.map(child, range(20)) == list(range(1, 21))
            return await works()
"""

PROGRAMS = [
    Hostile(
        "settrace_on_all_threads",
        WORK
        + """
        seen = []
        threads = set()
        def trace(frame, event, argument):
            threads.add(threading.get_ident())
            if frame.f_code.co_name == "helper" and event == "return":
                seen.append(1)
            return trace
        threading.settrace(trace)
        sys.settrace(trace)
        outcome = run(program())
        sys.settrace(None)
        print(outcome, len(seen), len(threads) > 1)
        """,
        prints="works 400 True",
    ),
    Hostile(
        "setprofile_on_all_threads",
        WORK
        + """
        seen = []
        def profile(frame, event, argument):
            if frame.f_code.co_name == "helper" and event == "call":
                seen.append(1)
        threading.setprofile_all_threads(profile)
        outcome = run(program())
        threading.setprofile_all_threads(None)
        print(outcome, len(seen))
        """,
        prints="works 400",
    ),
    Hostile(
        "trace_function_that_raises",
        WORK
        + """
        def trace(frame, event, argument):
            if frame.f_code.co_name == "helper":
                raise LookupError("in the trace function")
            return trace
        threading.settrace(trace)
        sys.settrace(trace)
        try:
            run(program())
        except ExceptionGroup as group:
            print(all(str(error) == "in the trace function" for error in group.exceptions))
        sys.settrace(None)
        threading.settrace(None)
        print(run(program()))
        """,
        prints="True\nworks",
    ),
    Hostile(
        "trace_function_set_and_removed_while_running",
        WORK
        + """
        def trace(frame, event, argument):
            return trace
        stop = threading.Event()
        def switch():
            while not stop.is_set():
                threading.settrace_all_threads(trace)
                threading.settrace_all_threads(None)
        thread = threading.Thread(target=switch)
        thread.start()
        print(run(program()))
        stop.set()
        thread.join()
        """,
    ),
    Hostile(
        "monitoring_of_everything",
        WORK
        + """
        from collections import Counter
        from sys import monitoring
        counts = {"PY_START": [], "LINE": [], "PY_YIELD": [], "PY_RESUME": [], "PY_UNWIND": [],
                  "PY_RETURN": []}
        monitoring.use_tool_id(monitoring.COVERAGE_ID, "test")
        for name, seen in counts.items():
            def note(code, *arguments, seen=seen):
                if code.co_name in ("helper", "child"):
                    seen.append(1)
            monitoring.register_callback(
                monitoring.COVERAGE_ID, getattr(monitoring.events, name), note)
        events = 0
        for name in counts:
            events |= getattr(monitoring.events, name)
        monitoring.set_events(monitoring.COVERAGE_ID, events)
        outcome = run(program())
        monitoring.set_events(monitoring.COVERAGE_ID, 0)
        monitoring.free_tool_id(monitoring.COVERAGE_ID)
        print(outcome, len(counts["PY_START"]), len(counts["PY_RETURN"]) == len(counts["PY_START"]),
              len(counts["LINE"]) >= 1000)
        """,
        prints="works 600 True True",
    ),
    Hostile(
        "faulthandler_dumps_while_running",
        WORK
        + """
        import faulthandler, tempfile
        file = tempfile.TemporaryFile()
        def dump():  # other threads' stacks are not safe to read while they run: docs/hazards.md
            faulthandler.dump_traceback(file=file, all_threads=False)
        async def dumps():
            for _ in range(50):
                dump()
                await tonio.spawn_blocking(dump)
                await tonio.sleep(0.0005)
        async def both():
            await tonio.spawn(dumps(), program())
            return await works()
        print(run(both()))
        file.seek(0)
        print(file.read().count(b"in dumps"))
        """,
        prints="works\n50",
    ),
    Hostile(
        "frames_of_running_tasks_looked_at",
        WORK
        + """
        import traceback
        stop = threading.Event()
        def look():
            while not stop.is_set():
                for ident, frame in list(sys._current_frames().items()):
                    if ident != threading.get_ident():
                        traceback.extract_stack(frame, limit=3, )
                sys._current_exceptions()
        thread = threading.Thread(target=look)
        thread.start()
        print(run(program()))
        stop.set()
        thread.join()
        """,
    ),
    Hostile(
        "tracemalloc",
        WORK
        + """
        import tracemalloc
        tracemalloc.start(5)
        outcome = run(program())
        tracemalloc.take_snapshot()
        tracemalloc.stop()
        print(outcome)
        """,
    ),
    # On more threads, also plain ones, the profiler's own tables break: no lock guards them.
    Hostile(
        "profiler_on_one_thread",
        """
        import cProfile
        async def child(n):
            await tonio.sleep(0.0001)
            return await give(n)
        async def program():
            await tonio.map(child, range(100))
            return "works"
        profile = cProfile.Profile()
        profile.enable()
        outcome = tonio.run(program(), threads=1)
        profile.disable()
        print(outcome)
        """,
    ),
]
