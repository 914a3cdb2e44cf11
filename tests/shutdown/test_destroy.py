"""Interpreters that end in unusual ways: by the collector, anywhere, or by others."""

import sys

import pytest

PRIVATE = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"


class TestByTheCollector:
    def test_in_any_thread(self, script):
        out = script.ok("""
            import gc, subinterpreters, threading
            gc.set_threshold(50)
            def garbage():
                for _ in range(10):
                    cycle = [subinterpreters.create(), subinterpreters.create_queue()]
                    cycle[0].exec('x = 1')
                    cycle.append(cycle)
            threads = [threading.Thread(target=garbage) for _ in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            gc.collect()
            print([i.id for i in subinterpreters.list_all()])
            """)
        assert out == "[0]\n"

    def test_in_another_interpreter(self, script):
        out = script.ok("""
            import gc, subinterpreters
            interp = subinterpreters.create()
            interp.exec('''
            import gc, subinterpreters
            gc.disable()
            for _ in range(5):
                cycle = [subinterpreters.create()]
                cycle.append(cycle)
            del cycle
            ''')
            print(len(subinterpreters.list_all()))
            interp.exec('gc.collect()')
            print(len(subinterpreters.list_all()))
            """)
        assert out.split() == ["7", "2"]

    def test_while_the_owner_ends(self, script):
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            interp.exec('''
            import gc, subinterpreters, sys
            gc.disable()
            cycle = [subinterpreters.create(), subinterpreters.create_queue()]
            cycle.append(cycle)
            sys.keep = subinterpreters.create()
            ''')
            interp.close()
            print(len(subinterpreters.list_all()))
            """)
        assert out.split() == ["1"]

    def test_inside_a_call_to_it(self, script):
        # The last reference goes while the interpreter itself is what runs.
        out = script.ok("""
            import gc, subinterpreters
            interp = subinterpreters.create()
            interp.exec('''
            import subinterpreters
            me = subinterpreters.get_current()
            ''')
            number = interp.id
            del interp
            # It holds itself; taking the handle away there is the last reference.
            other = subinterpreters.Interpreter(number)
            other.exec('del me')
            print(number in [i.id for i in subinterpreters.list_all()])
            del other
            print(number in [i.id for i in subinterpreters.list_all()])
            """)
        assert out.split() == ["True", "False"]

    def test_dropped_by_its_own_code(self, script):
        out = script.ok("""
            import subinterpreters, threading, os
            r, w = os.pipe()
            interp = subinterpreters.create()
            number = interp.id
            interp.prepare_main(r=r)
            interp.exec('''
            import subinterpreters, os, threading
            held = [subinterpreters.get_current()]
            def drop():
                os.read(r, 1)
                held.clear()
            threading.Thread(target=drop).start()
            ''')
            del interp
            os.write(w, b'1')
            while number in [i.id for i in subinterpreters.list_all()]:
                pass
            print('gone')
            """)
        assert out == "gone\n"

    def test_with_a_destructor_that_uses_interpreters(self, script):
        out = script.ok("""
            import subinterpreters
            interp = subinterpreters.create()
            interp.exec('''
            import subinterpreters
            class Last:
                def __del__(self):
                    new = subinterpreters.create()
                    new.exec('x = 1')
                    new.close()
                    print('done', flush=True)
            last = Last()
            ''')
            interp.close()
            print(len(subinterpreters.list_all()))
            """)
        assert out.splitlines()[-1] == "1"

    def test_in_a_signal_handler(self, script):
        out = script.ok("""
            import os, signal, subinterpreters
            made = []
            def handler(*args):
                made.clear()
                made.append(subinterpreters.create())
                made[0].exec('x = 1')
            signal.signal(signal.SIGUSR1, handler)
            queue = subinterpreters.create_queue()
            for number in range(10):
                os.kill(os.getpid(), signal.SIGUSR1)
                queue.put(number)
                queue.get()
            print(len(made), len(subinterpreters.list_all()))
            """)
        assert out == "1 2\n"

    def test_a_weak_references_callback_uses_it(self, script):
        out = script.ok("""
            import subinterpreters, weakref
            interp = subinterpreters.create()
            number = interp.id
            def gone(ref):
                try:
                    subinterpreters.Interpreter(number)
                    print('alive')
                except subinterpreters.InterpreterNotFoundError:
                    print('gone')
            ref = weakref.ref(interp, gone)
            del interp
            print(number in [i.id for i in subinterpreters.list_all()])
            """)
        assert out.split()[-1] == "False"


class TestByTheStandardModule:
    """_interpreters.destroy() ends any interpreter, ours included."""

    def test_idle(self, script):
        out = script.ok(f"""
            import {PRIVATE} as _interpreters, subinterpreters
            interp = subinterpreters.create()
            interp.exec('import threading; x = 1')
            _interpreters.destroy(interp.id)
            for use in (interp.is_running, interp.close, lambda: interp.exec('1'),
                        lambda: interp.call(len, ()), lambda: interp.prepare_main(a=1)):
                try:
                    use()
                except subinterpreters.InterpreterNotFoundError as exc:
                    print(exc)
            print([i.id for i in subinterpreters.list_all()], interp.id, interp.whence)
            new = subinterpreters.create()
            new.exec('print("works")')
            """)
        assert out.splitlines() == [
            *["unrecognized interpreter ID 1"] * 5,
            "[0] 1 _interpreters module",
            "works",
        ]

    @pytest.mark.skipif(
        sys.version_info < (3, 13), reason="_xxsubinterpreters has no decref()"
    )
    def test_references_that_were_not_counted(self, script):
        out = script.ok("""
            import _interpreters, subinterpreters
            interp = subinterpreters.create()
            _interpreters.decref(interp.id)
            _interpreters.incref(interp.id)
            _interpreters.decref(interp.id)
            interp.exec('print("works")')
            interp.close()
            print(len(subinterpreters.list_all()))
            """)
        assert out == "works\n1\n"

    def test_after_use_in_several_threads(self, script):
        out = script.ok(f"""
            import {PRIVATE} as _interpreters, subinterpreters, threading
            interp = subinterpreters.create()
            used, leave = threading.Barrier(4), threading.Event()
            def use():
                while True:
                    try:
                        interp.exec('x = 1')
                        break
                    except subinterpreters.InterpreterError:
                        pass
                used.wait()
                leave.wait()
            threads = [threading.Thread(target=use) for _ in range(3)]
            for thread in threads: thread.start()
            used.wait()
            _interpreters.destroy(interp.id)
            leave.set()
            for thread in threads: thread.join()
            print(len(subinterpreters.list_all()))
            """)
        assert out == "1\n"

    def test_while_it_runs(self, script):
        out = script.ok(f"""
            import {PRIVATE} as _interpreters, os, subinterpreters, threading
            interp = subinterpreters.create()
            r, w = os.pipe()
            started_r, started_w = os.pipe()
            thread = threading.Thread(target=interp.exec, args=(
                f'import os; os.write({{started_w}}, b"1"); os.read({{r}}, 1)',))
            thread.start()
            os.read(started_r, 1)
            try:
                _interpreters.destroy(interp.id)
            except (subinterpreters.InterpreterError, RuntimeError) as exc:
                print(exc)
            os.write(w, b'1')
            thread.join()
            interp.exec('x = 1')
            print(interp.call(eval, 'x'))
            """)
        assert out == "interpreter running\n1\n"

    def test_that_runs_atexit_functions_itself(self, script):
        out = script.ok(f"""
            import {PRIVATE} as _interpreters, subinterpreters
            interp = subinterpreters.create()
            interp.exec('import atexit; atexit._run_exitfuncs(); x = 1')
            print(interp.call(eval, 'x'))
            interp.close()
            interp = subinterpreters.create()
            interp.exec('import atexit; atexit.register(print, "bye")')
            _interpreters.destroy(interp.id)
            """)
        assert out == "1\nbye\n"

    def test_with_a_thread_of_its_own(self, script):
        out = script.ok(f"""
            import {PRIVATE} as _interpreters, subinterpreters
            interp = subinterpreters.create()
            queue = subinterpreters.create_queue()
            interp.prepare_main(queue=queue)
            interp.exec('''
            import threading
            def work():
                queue.put('started')
                threading.Event().wait(0.2)
                print('finished', flush=True)
            threading.Thread(target=work).start()
            ''')
            print(queue.get(), flush=True)
            _interpreters.destroy(interp.id)
            print(len(subinterpreters.list_all()))
            """)
        assert out.split() == ["started", "finished", "1"]

    def test_many_at_once(self, script):
        out = script.ok(f"""
            import {PRIVATE} as _interpreters, subinterpreters, threading
            def churn():
                for _ in range(5):
                    interp = subinterpreters.create()
                    interp.exec('x = 1')
                    _interpreters.destroy(interp.id)
                    try:
                        interp.exec('x = 1')
                    except subinterpreters.InterpreterNotFoundError:
                        pass
            threads = [threading.Thread(target=churn) for _ in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            print(len(subinterpreters.list_all()))
            """)
        assert out == "1\n"

    def test_with_items_in_a_queue(self, script):
        out = script.ok(f"""
            import {PRIVATE} as _interpreters, subinterpreters
            interp = subinterpreters.create()
            queue = subinterpreters.create_queue()
            interp.prepare_main(queue=queue)
            interp.exec('queue.put([1]); queue.put(b"x" * 100)')
            _interpreters.destroy(interp.id)
            print(queue.get() is subinterpreters.UNBOUND, queue.qsize())
            """)
        assert out == "True 1\n"

    def test_run_by_it(self, script):
        # It refuses what it did not create; unrestricted, it runs code in ours.
        out = script.ok(f"""
            import {PRIVATE} as _interpreters, subinterpreters
            interp = subinterpreters.create()
            _interpreters.run_string(interp.id, 'x = 1')
            print(interp.call(eval, 'x'))
            _interpreters.run_string(
                interp.id,
                'import subinterpreters; y = subinterpreters.get_current().id')
            print(interp.call(eval, 'y') == interp.id)
            """)
        assert out == "1\nTrue\n"

    @pytest.mark.skipif(sys.version_info < (3, 14), reason="3.13 has no such module")
    def test_side_by_side(self, script):
        out = script.ok("""
            import subinterpreters
            from concurrent import interpreters
            ours, theirs = subinterpreters.create(), interpreters.create()
            ours.exec('x = 1')
            theirs.exec('x = 2')
            print(ours.call(eval, 'x'), theirs.call(eval, 'x'), flush=True)
            theirs.exec('''if True:
                import subinterpreters
                inner = subinterpreters.create()
                inner.exec('print("inner", flush=True)')
                inner.close()
                ''')
            ours.exec('''
                from concurrent import interpreters
                inner = interpreters.create()
                inner.exec('print("inner", flush=True)')
                inner.close()
                ''')
            theirs.close()
            ours.close()
            """)
        assert out == "1 2\ninner\ninner\n"
