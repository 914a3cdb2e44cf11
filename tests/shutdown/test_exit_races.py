"""Exits while threads create, use and close interpreters."""

import signal
import time


class TestClosingRaces:
    def test_exit_while_threads_create_and_close(self, script):
        for _ in range(5):
            done = script.run("""
                import subinterpreters, threading
                def churn():
                    for _ in range(20):
                        try:
                            interp = subinterpreters.create()
                            interp.exec('x = 1')
                            interp.close()
                        except (subinterpreters.InterpreterError, RuntimeError):
                            return
                for _ in range(3):
                    threading.Thread(target=churn).start()
                """)
            assert done.returncode == 0, done.stderr
            assert done.stderr == ""

    def test_exit_at_random_moments(self, script):
        # A signal ends the process at any moment of an interpreter's life.
        process_count = 12
        for number in range(process_count):
            process = script.start("""
                import os, signal, subinterpreters, sys, threading
                signal.signal(signal.SIGTERM, lambda *args: sys.exit(0))
                print('ready', flush=True)
                queue = subinterpreters.create_queue()
                while True:
                    interp = subinterpreters.create()
                    interp.exec('import threading')
                    interp.prepare_main(queue=queue)
                    thread = interp.call_in_thread(exec, 'queue.put(1)')
                    queue.get()
                    thread.join()
                    interp.close()
                """)
            assert process.stdout.readline() == "ready\n"
            # Spread over one round, which takes some 15 ms.
            time.sleep(0.003 * number)
            process.send_signal(signal.SIGTERM)
            done = script.finish(process, timeout=30)
            assert done.returncode == 0, done.stderr
            assert "Fatal" not in done.stderr
