"""CPython lets go of codecs, hooks and cycles after it has told everybody that an
interpreter ends. What destructors do then can be interrupted as what runs before."""

import signal

import pytest

HOLDERS = {
    "codec": "import codecs; codecs.register(late)",
    "error handler": "import codecs; codecs.register_error('late', late)",
    "fork handler": "import os; os.register_at_fork(before=late)",
    "audit hook": "sys.addaudithook(lambda *args, late=late: None)",
    "monitoring": "sys.monitoring.use_tool_id(3, 'late'); "
    "sys.monitoring.register_callback(3, sys.monitoring.events.CALL, late)",
    "cycle": "import codecs; codecs.register(lambda name, late=late: None)",
    "builtins": "import builtins; builtins.__dict__[5] = late",
}

STUCK = """
    import os, subinterpreters, sys
    interp = subinterpreters.create()
    interp.exec('''
    import os, sys
    class Late:
        def __call__(self, *args):
            pass
        def __del__(self, write=os.write):
            write(1, b'late')
            while True:
                pass
    late = Late()
    {}
    ''')
"""


@pytest.mark.parametrize("holder", HOLDERS)
def test_timeout(script, holder):
    done = script.run(
        STUCK.format(HOLDERS[holder])
        + """
    interp.close(timeout=0.1)
    print('closed', [i.id for i in subinterpreters.list_all()])
"""
    )
    assert done.stdout == "lateclosed [0]\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("holder", ["codec", "cycle"])
def test_ctrl_c(script, holder):
    process = script.start(
        STUCK.format(HOLDERS[holder])
        + """
    try:
        interp.close()
    except KeyboardInterrupt:
        print('interrupted', [i.id for i in subinterpreters.list_all()])
"""
    )
    assert process.stdout.read(4) == "late"
    process.send_signal(signal.SIGINT)
    done = script.finish(process, timeout=30)
    assert done.stdout == "interrupted [0]\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("thread", [False, True])
def test_exit(script, thread):
    source = STUCK.format(HOLDERS["codec"])
    if thread:  # which ends it already when the exit begins
        source += """
    import threading
    r, w = os.pipe()
    interp.exec(f"import atexit; atexit.register(os.write, {w}, b'1')")
    threading.Thread(target=interp.close, daemon=True).start()
    os.read(r, 1)
"""
    done = script.run(source, timeout=30)
    assert done.returncode == 0, done.stderr


def test_what_stands_for_the_end_is_kept(script):
    out = script.ok(
        """
    import subinterpreters
    interp = subinterpreters.create()
    interp.exec('''
    import builtins, codecs, ctypes, os
    class Keeper:
        def __call__(self, *args):
            pass
        def __del__(self, names=builtins.__dict__, keep=ctypes.pythonapi.Py_IncRef,
                    ref=ctypes.py_object, write=os.write):
            keep(ref(names['subinterpreters.last']))
            write(1, b'kept ')
    keeper = Keeper()
    codecs.register(keeper)
    ''')
    interp.close(timeout=60)
    for _ in range(3):
        subinterpreters.create().close(timeout=60)
    print('closed', [i.id for i in subinterpreters.list_all()])
"""
    )
    assert out == "kept closed [0]\n"
