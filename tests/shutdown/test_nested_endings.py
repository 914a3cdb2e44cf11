"""What an interpreter's end runs in other interpreters, or ends in its turn, is
interrupted as what it runs itself. (The next interrupt may cut a report short.)"""

import pytest

START = """
    import subinterpreters
    interp = subinterpreters.create()
    def ids():
        return [i.id for i in subinterpreters.list_all()]
"""

RUNS_ELSEWHERE = """
    interp.exec('''
    import atexit, subinterpreters
    inner = subinterpreters.create()
    atexit.register(inner.exec, "while True: pass")
    ''')
"""


@pytest.mark.parametrize("closed", ["", "atexit.register(inner.close)"])
def test_timeout_of_what_ends_another(script, closed):
    done = script.run(
        START
        + f"""
    interp.exec('''
    import atexit, subinterpreters
    inner = subinterpreters.create()
    inner.exec("import atexit, time; atexit.register(time.sleep, 9999)")
    {closed}
    ''')
    interp.close(timeout=0.2)
    print('closed', ids())
"""
    )
    assert done.stdout == "closed [0]\n", done.stderr
    assert "KeyboardInterrupt" in done.stderr


def test_timeout_of_what_runs_elsewhere(script):
    done = script.run(
        START
        + RUNS_ELSEWHERE
        + """
    outer = subinterpreters.create()
    outer.prepare_main(number=interp.id)
    outer.exec('''
    import subinterpreters
    subinterpreters.Interpreter(number).close(timeout=0.2)
    print('goes on')
    ''')
    print('closed', ids() == [0, outer.id])
"""
    )
    assert done.stdout == "goes on\nclosed True\n", done.stderr
    assert "KeyboardInterrupt" in done.stderr


def test_exit_while_it_runs_elsewhere(script):
    done = script.run(START + RUNS_ELSEWHERE)
    assert done.returncode == 0, done.stderr
    assert "SystemExit" in done.stderr


def test_exit_while_another_thread_ends_it(script):
    done = script.run(
        START
        + RUNS_ELSEWHERE
        + """
    import threading
    ready = subinterpreters.create_queue()
    interp.prepare_main(ready=ready)
    interp.exec('import atexit; atexit.register(ready.put, 1)')
    threading.Thread(target=interp.close, daemon=True).start()
    ready.get()
"""
    )
    assert done.returncode == 0, done.stderr
