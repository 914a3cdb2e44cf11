"""sys._current_frames and _current_exceptions while other interpreters run.

CPython's own crash the process then, so ours look at one interpreter only.
"""

import pytest

SCRIPT = """
    import subinterpreters, sys, threading

    SOURCE = '''
    import sys, threading
    def wait(started, end):
        try:
            raise ValueError('handled')
        except ValueError:
            started.set()
            end.wait()
    def look():
        started, end = threading.Event(), threading.Event()
        thread = threading.Thread(target=wait, args=(started, end))
        thread.start()
        started.wait()
        for _ in range(200):
            for frame in sys._current_frames().values():
                while frame:
                    frame.f_lineno
                    frame = frame.f_back
        frames = sys._current_frames()
        names = set()
        frame = frames[thread.ident]
        while frame:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        errors = sys._current_exceptions()
        end.set()
        thread.join()
        assert 'wait' in names, names
        assert repr(errors[thread.ident]) == "ValueError('handled')", errors
        assert errors[threading.get_ident()] is None, errors
        return len(frames)
    '''

    def busy(queue, here):
        here.put(1)
        while queue.empty():
            sum(range(100))

    queue, here = subinterpreters.create_queue(), subinterpreters.create_queue()
    others = [subinterpreters.create() for _ in range(2)]
    threads = [other.call_in_thread(busy, queue, here) for other in others]
    for _ in others:
        here.get()
    """


@pytest.mark.parametrize("where", ["main", "another"])
def test_other_interpreters_are_busy(script, where):
    done = script.run(
        SCRIPT
        + f"""
    if {where!r} == "main":
        exec(SOURCE)
        count = look()
    else:
        interp = subinterpreters.create()
        interp.exec(SOURCE)
        count = interp.call(eval, "look()")
    queue.put(None)
    for thread in threads:
        thread.join()
    print(count)
    """
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Main: this thread, the two that wait for the others, and that of the test.
    assert int(done.stdout) == (4 if where == "main" else 2)
