"""What the exit of the process leaves behind, because it refuses to stop, does not run
on while CPython takes itself apart (where it crashed)."""

import pytest

REFUSES = """
    import atexit, re, threading
    class Thing: pass
    def work():
        thing = Thing()
        thing.text = [str(i) for i in range(10)]
        re.compile('a+%d' % len(repr(thing)))
        type('T', (), {})
    def refuse(depth=5):
        while True:
            try:
                while True:
                    refuse(depth - 1) if depth else work()
            except BaseException:
                pass
    """

HOW = {
    "run": "queue.put(1); refuse()",
    "own thread": "threading.Thread(target=refuse).start(); queue.put(1)",
}


@pytest.mark.parametrize("how", HOW)
def test_code_that_refuses(script, how):
    done = script.run(
        f"""
    import subinterpreters, textwrap, threading
    source = textwrap.dedent('''{REFUSES}''')
    kept = []
    for _ in range(3):
        queue = subinterpreters.create_queue()
        interp = subinterpreters.create()
        interp.prepare_main(queue=queue)
        kept.append(interp)
        args = (source + {HOW[how]!r},)
        threading.Thread(target=interp.exec, args=args, daemon=True).start()
        queue.get()
    print('exiting', flush=True)
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "exiting\n"
