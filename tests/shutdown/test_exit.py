"""The process ends promptly and quietly, whatever its interpreters are doing."""

import signal

import pytest


class TestLiveInterpreters:
    @pytest.mark.parametrize("count", [1, 5])
    def test_idle(self, script, count):
        out = script.ok(f"""
            import subinterpreters
            interps = [subinterpreters.create() for _ in range({count})]
            for interp in interps:
                interp.exec('import json, threading, datetime, decimal; x = 1')
            print('end')
            """)
        assert out == "end\n"

    def test_never_used(self, script):
        script.ok("import subinterpreters; interp = subinterpreters.create()")

    def test_imported_only(self, script):
        script.ok("import subinterpreters")

    def test_dropped_and_closed_ones(self, script):
        script.ok("""
            import subinterpreters
            subinterpreters.create()
            one = subinterpreters.create()
            one.close()
            keep = subinterpreters.create()
            """)

    def test_that_own_each_other(self, script):
        script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            interp.exec('''
            import subinterpreters
            child = subinterpreters.create()
            child.exec('import subinterpreters; child = subinterpreters.create()')
            me = subinterpreters.get_current()
            ''')
            del interp
            """)

    def test_that_ran_in_other_threads(self, script):
        script.ok("""
            import subinterpreters, threading
            interps = [subinterpreters.create() for _ in range(3)]
            def run():
                for interp in interps:
                    try:
                        interp.exec('import threading; x = 1')
                    except subinterpreters.InterpreterError:
                        pass
            threads = [threading.Thread(target=run) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            """)

    def test_created_in_a_thread_that_is_gone(self, script):
        script.ok("""
            import subinterpreters, threading
            made = []
            def make():
                made.append(subinterpreters.create())
                made[-1].exec('import threading; x = 1')
            thread = threading.Thread(target=make)
            thread.start()
            thread.join()
            """)

    @pytest.mark.parametrize("end", ["", "interp.close()", "del interp"])
    @pytest.mark.parametrize("where", ["here", "in a thread", "inside another"])
    def test_after_shared_c_functions(self, script, where, end):
        # What 3.12 remembers of their keyword arguments outlives the interpreter.
        source = (
            "import asyncio, hashlib, json, random, ssl;"
            "hashlib.sha256(b'x', usedforsecurity=True);"
            "asyncio.run(asyncio.sleep(0))"
        )
        use = {
            "here": "interp.exec(source)",
            "in a thread": "interp.call_in_thread(exec, source).join()",
            "inside another": "interp.exec('import subinterpreters;'"
            " f'subinterpreters.create().exec({source!r})')",
        }[where]
        script.ok(f"""
            import subinterpreters
            source = {source!r}
            interp = subinterpreters.create()
            {use}
            {end}
            """)

    def test_with_items_in_queues(self, script):
        script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            queue = subinterpreters.create_queue()
            interp.prepare_main(queue=queue)
            interp.exec('queue.put([1, 2]); queue.put(b"x" * 100000)')
            queue.put({'a': 'mine'})
            """)

    def test_in_a_reference_cycle(self, script):
        script.ok("""
            import gc, subinterpreters
            gc.disable()
            cycle = [subinterpreters.create(), subinterpreters.create_queue()]
            cycle.append(cycle)
            del cycle
            """)

    def test_held_by_a_module_until_the_end(self, script):
        script.ok("""
            import builtins, sys, subinterpreters
            builtins.keep = subinterpreters.create()
            sys.keep = subinterpreters.create()
            class Last:
                def __init__(self): self.interp = subinterpreters.create()
                def __del__(self): del self.interp
            builtins.last = Last()
            """)

    def test_their_atexit_functions_run(self, script):
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            interp.exec('import atexit, os; atexit.register(os.write, 1, b"bye\\\\n")')
            """)
        assert out == "bye\n"

    def test_what_they_printed_is_not_lost(self, script):
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            interp.exec('''
            import atexit
            atexit.register(print, 'bye')
            print('hello')
            ''')
            """)
        assert out == "hello\nbye\n"


class TestWays:
    @pytest.mark.parametrize(
        ("how", "status", "said"),
        [
            ("sys.exit()", 0, ""),
            ("sys.exit(3)", 3, ""),
            ("sys.exit('bye')", 1, "bye"),
            ("raise SystemExit(4)", 4, ""),
            ("1/0", 1, "ZeroDivisionError"),
            ("os._exit(5)", 5, ""),
            ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
            ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
            ("os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT, "KeyboardInterr"),
        ],
    )
    @pytest.mark.parametrize("state", ["idle", "waiting"])
    def test_status(self, script, how, status, said, state):
        done = script.run(f"""
            import os, signal, subinterpreters, sys, time
            interp = subinterpreters.create()
            interp.exec('import threading')
            if {state!r} == 'waiting':
                queue = subinterpreters.create_queue()
                started = subinterpreters.create_queue()
                def wait(started, queue):
                    started.put(1)
                    try:
                        queue.get(timeout=1)
                    except RuntimeError:
                        pass
                interp.call_in_thread(wait, started, queue)
                started.get()
            {how}
            time.sleep(30)
            """)
        assert done.returncode == status, done.stderr
        if said:
            assert said in done.stderr
        elif state == "idle":
            assert done.stderr == ""
        assert "Fatal" not in done.stderr
        assert "remaining subinterpreters" not in done.stderr

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signal_from_outside(self, script, number):
        process = script.start("""
            import subinterpreters, time
            interp = subinterpreters.create()
            interp.exec('print("ready", flush=True)')
            while True: time.sleep(0.01)  # a signal may come just before one
            """)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        done = script.finish(process, timeout=30)
        assert done.returncode == -number, done.stderr

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signal_while_another_interpreter_runs(self, script, number):
        process = script.start("""
            import subinterpreters
            interp = subinterpreters.create()
            interp.exec('print("ready", flush=True)\\nwhile True: pass')
            """)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        done = script.finish(process, timeout=30)
        assert done.returncode == -number, done.stderr

    def test_by_sys_exit_in_a_signal_handler(self, script):
        process = script.start("""
            import signal, subinterpreters, sys, time
            signal.signal(signal.SIGTERM, lambda *args: sys.exit(7))
            interp = subinterpreters.create()
            interp.exec('print("ready", flush=True)')
            subinterpreters.create_queue().get()
            """)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        done = script.finish(process, timeout=30)
        assert (done.returncode, done.stderr) == (7, "")

    @pytest.mark.parametrize("how", ["os._exit(5)", "os.abort()"])
    def test_from_inside_an_interpreter(self, script, how):
        done = script.run(
            f"""
            import subinterpreters
            interp = subinterpreters.create()
            interp.exec('import os; print("out"); os.sys = 1; {how}')
            """,
            options=("-X", "faulthandler=0"),
        )
        assert done.returncode == (5 if "_exit" in how else -signal.SIGABRT)

    def test_exec_of_another_program(self, script):
        out = script.ok("""
            import os, subinterpreters, sys
            interp = subinterpreters.create()
            interp.exec('import threading')
            os.execv(sys.executable, [sys.executable, '-c', 'print("new")'])
            """)
        assert out == "new\n"


class TestAtexit:
    def test_functions_registered_before_the_import(self, script):
        out = script.ok("""
            import atexit
            @atexit.register
            def last():
                print([i.id for i in subinterpreters.list_all()])
                new = None
                try:
                    new = subinterpreters.create()
                    new.exec('x = 1')
                    print('worked')
                except subinterpreters.InterpreterError:
                    print('refused')
            import subinterpreters
            interp = subinterpreters.create()
            """)
        assert out.splitlines()[0].startswith("[0")
        assert out.splitlines()[1] in ("worked", "refused")

    @pytest.mark.parametrize(
        "use",
        [
            "interp.close()",
            "interp.exec('x = 2'); interp.close()",
            "subinterpreters.create()",
            "subinterpreters.create().exec('x = 1')",
            "queue.put(1); queue.get()",
            "globals().pop('interp')",
            "interp.call_in_thread(len, ()).join()",
        ],
    )
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_use_in_one(self, script, use, when):
        # A thread that is started so late may fail, and then says so.
        body = f"""
            import atexit
            {"import subinterpreters" if when == "before" else ""}
            def last():
                try:
                    {use}
                except (subinterpreters.InterpreterError, RuntimeError) as exc:
                    print('refused')
                print('done')
            atexit.register(last)
            import subinterpreters
            interp = subinterpreters.create()
            queue = subinterpreters.create_queue()
            """
        done = script.run(body)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("done\n")
        assert "in_thread" in use or done.stderr == ""

    def test_that_fails(self, script):
        done = script.run("""
            import atexit, subinterpreters
            atexit.register(lambda: 1/0)
            interp = subinterpreters.create()
            interp.exec('import atexit; atexit.register(lambda: 1/0)')
            """)
        assert done.returncode == 0
        assert done.stderr.count("ZeroDivisionError") == 2

    def test_running_interpreter_is_used_by_another(self, script):
        script.ok("""
            import subinterpreters
            one = subinterpreters.create()
            two = subinterpreters.create()
            one.prepare_main(number=two.id)
            one.exec('''
            import atexit, subinterpreters
            other = subinterpreters.Interpreter(number)
            @atexit.register
            def last():
                try:
                    other.exec('x = 1')
                except subinterpreters.InterpreterError:
                    pass
            ''')
            """)


class TestCallInThread:
    def test_is_awaited(self, script):
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            def work():
                import time
                time.sleep(0.3)
                print('finished')
            interp.call_in_thread(work)
            print('main ends', flush=True)
            """)
        assert out == "main ends\nfinished\n"

    def test_is_awaited_after_an_error(self, script):
        done = script.run("""
            import subinterpreters
            interp = subinterpreters.create()
            def work():
                import time
                time.sleep(0.3)
                print('finished')
            interp.call_in_thread(work)
            1/0
            """)
        assert done.returncode == 1
        assert done.stdout == "finished\n"
        assert "ZeroDivisionError" in done.stderr

    def test_many(self, script):
        out = script.ok("""
            import subinterpreters
            def work(number):
                import time
                time.sleep(0.1)
                print(number)
            for number in range(6):
                subinterpreters.create().call_in_thread(work, number)
            """)
        assert sorted(out.split()) == list("012345")

    def test_that_starts_another(self, script):
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            def work():
                import subinterpreters, time
                time.sleep(0.1)
                inner = subinterpreters.create()
                inner.exec('print("inner")')
                inner.close()
                print('outer')
            interp.call_in_thread(work)
            """)
        assert out == "inner\nouter\n"

    def test_feeding_the_main_thread_to_the_end(self, script):
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            queue = subinterpreters.create_queue(1)
            def produce(queue):
                for number in range(100):
                    queue.put(number)
                queue.put(None)
            interp.call_in_thread(produce, queue)
            print(sum(iter(queue.get, None)))
            """)
        assert out == "4950\n"


class TestStillRunning:
    """Threads that nobody waits for are stopped within a bounded time."""

    DAEMON = """
        import os, subinterpreters, sys, threading, time
        source, end = sys.argv[1:]
        interp = subinterpreters.create()
        started_r, started_w = os.pipe()
        def run():
            try:
                interp.exec(f'import os, time; os.write({started_w}, b"1")\\n' + source)
            except BaseException:
                pass
        threading.Thread(target=run, daemon=True).start()
        os.read(started_r, 1)
        exec(end)
        """

    @pytest.mark.parametrize("end", ["", "sys.exit(3)", "1/0", "os._exit(3)"])
    @pytest.mark.parametrize(
        "source",
        [
            "while True: pass",
            "time.sleep(1000)",
            "import subinterpreters; subinterpreters.create_queue().get()",
            "import threading; threading.Event().wait(1000)",
        ],
        ids=["busy", "sleep", "queue", "event"],
    )
    def test_daemon_thread_of_main(self, script, source, end):
        done = script.run(self.DAEMON, source, end, timeout=30)
        assert done.returncode == {"": 0, "1/0": 1}.get(end, 3), done.stderr
        assert "Fatal" not in done.stderr
        assert "remaining subinterpreters" not in done.stderr

    def test_one_that_will_not_stop(self, script):
        source = (
            "while True:\n  try:\n    while True: pass\n  except BaseException: pass"
        )
        done = script.run(self.DAEMON, source, "", timeout=45)
        assert done.returncode == 0, done.stderr

    def test_daemon_thread_creating_and_closing(self, script):
        done = script.run("""
            import os, subinterpreters, threading
            r, w = os.pipe()
            def churn():
                while True:
                    try:
                        interp = subinterpreters.create()
                        interp.exec('x = 1')
                        interp.close()
                    except subinterpreters.InterpreterError:
                        return
                    os.write(w, b'1')
            for _ in range(3):
                threading.Thread(target=churn, daemon=True).start()
            for _ in range(4):
                os.read(r, 1)
            """)
        assert (done.returncode, done.stderr) == (0, "")

    def test_daemon_thread_waiting_in_main(self, script):
        script.ok("""
            import subinterpreters, threading
            interp = subinterpreters.create()
            queue = subinterpreters.create_queue()
            for _ in range(3):
                threading.Thread(target=queue.get, daemon=True).start()
            """)

    def test_thread_of_an_interpreter_is_awaited(self, script):
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            interp.exec('''
            import threading, time
            def work():
                time.sleep(0.3)
                print('finished', flush=True)
            threading.Thread(target=work).start()
            ''')
            """)
        assert out == "finished\n"

    @pytest.mark.parametrize(
        "wait",
        [
            "queue.get()",
            "queue.get(timeout=1000)",
            "full.put(2)",
            "time.sleep(1000)",
            "exec('while True: pass')",
            "[queue.get() for _ in iter(int, 1)]",
        ],
    )
    def test_thread_of_an_interpreter_that_does_not_end(self, script, wait):
        out = script.ok(
            f"""
            import subinterpreters
            interp = subinterpreters.create()
            queue = subinterpreters.create_queue()
            full = subinterpreters.create_queue(1)
            started = subinterpreters.create_queue()
            full.put(1)
            interp.prepare_main(queue=queue, full=full, started=started)
            interp.exec('''
            import threading, time
            def work():
                started.put(1)
                try:
                    {wait}
                finally:
                    print('left', flush=True)
            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads: thread.start()
            ''')
            started.get()
            started.get()
            """,
        )
        assert out == "left\n" * 2

    def test_thread_of_an_interpreter_that_cannot_be_stopped(self, script):
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            other = subinterpreters.create()
            interp.exec('''
            import threading
            threading.Thread(target=threading.Lock().acquire).start()
            held = threading.Lock()
            held.acquire()
            threading.Thread(target=held.acquire).start()
            ''')
            other.exec('import atexit; atexit.register(print, "other")')
            """)
        assert out == "other\n"

    def test_threads_of_an_interpreter_that_feed_each_other(self, script):
        out = script.ok("""
            import subinterpreters
            one, two = subinterpreters.create(), subinterpreters.create()
            queue = subinterpreters.create_queue()
            one.prepare_main(queue=queue)
            two.prepare_main(queue=queue)
            one.exec('''
            import threading
            threading.Thread(target=lambda: print(queue.get(), flush=True)).start()
            ''')
            two.exec('''
            import threading, time
            def feed():
                time.sleep(0.3)
                queue.put('fed')
            threading.Thread(target=feed).start()
            ''')
            """)
        assert out == "fed\n"

    def test_executor_in_an_interpreter(self, script):
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            interp.exec('''
            import concurrent.futures, time
            executor = concurrent.futures.ThreadPoolExecutor(2)
            executor.submit(len, ()).result()
            def last():
                time.sleep(0.1)
                print('last', flush=True)
            executor.submit(last)
            ''')
            """)
        assert out == "last\n"

    def test_bare_thread_of_an_interpreter(self, script):
        done = script.run(
            """
            import os, subinterpreters
            r, w = os.pipe()
            interp = subinterpreters.create()
            interp.exec(f'''
            import _thread, os, time
            def run():
                os.write({w}, b'1')
                while True: time.sleep(0.01)
            _thread.start_new_thread(run, ())
            ''')
            os.read(r, 1)
            """,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        assert "Fatal" not in done.stderr
