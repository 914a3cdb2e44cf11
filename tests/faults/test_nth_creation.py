"""CPython cannot make an interpreter: create() says so, leaves nothing, works again.

CPython itself does not survive every lack of memory in Py_NewInterpreterFromConfig. On
3.14 and 3.15 its cleanup crashes before the built-in types are in place (the first
quarter of the allocations); elsewhere single ones crash, on 3.12 also in the imports
that follow. Such a crash, which the status of the process tells, is its own; whatever
it returns from has to be right.
"""

import pytest
from tests.faults.conftest import OUTCOME

AFTERWARDS = """
    def afterwards():
        with subinterpreters.create() as interp:
            assert interp.call(eval, '1 + 1') == 2
        assert len(subinterpreters.list_all()) == 1
    """


def test_an_audit_hook_refuses(script):
    out = script.ok(
        f"""
    import subinterpreters, sys
    {AFTERWARDS}
    refusing = True

    def hook(event, args):
        if refusing and event == 'cpython.PyInterpreterState_New':
            raise PermissionError('no interpreters here')

    sys.addaudithook(hook)
    for _ in range(2):
        try:
            subinterpreters.create()
        except subinterpreters.InterpreterError as error:
            print(error, repr(error.__cause__))
    assert len(subinterpreters.list_all()) == 1
    refusing = False
    afterwards()
    """
    )
    cause = "PermissionError PermissionError('no interpreters here')"
    assert out == f"interpreter creation failed: {cause}\n" * 2


SAMPLE = """
    import ctypes, os, subinterpreters, sys
    faults = ctypes.CDLL(None)
    GRANTED, SURVIVED, FAILED, BROKEN, CPYTHONS = 0, 1, 2, 3, 77
    subinterpreters.create().close()
    if sys.version_info < (3, 14):
        # What we import runs into these: see test_nth_failure.py.
        faults.spare(b"PyFunction_NewWithQualName")
        faults.spare(b"Py_CompileStringObject")
    %s

    def disarm():
        while True:
            try:
                return faults.fail_nth_object(0, 0)
            except MemoryError:
                pass  # it was ours

    def perform(n):
        # 3.12 takes attributes that it had no memory for for a dict.
        faults.tell_crashes(sys.version_info < (3, 13))
        error = interp = None
        before = os.listdir('/proc/self/fd')
        faults.fail_nth_object(n, 0)
        try:
            interp = subinterpreters.create()
        except (subinterpreters.InterpreterError, MemoryError) as e:
            error = e
        failed = disarm()
        if isinstance(error, subinterpreters.InterpreterError):
            assert str(error).startswith('interpreter creation failed: '), error
        if interp is not None:
            interp.close()
        afterwards()
        assert os.listdir('/proc/self/fd') == before
        return FAILED if error is not None else SURVIVED if failed else GRANTED

    outcomes = []
    n = 1
    while not outcomes or outcomes[-1] != GRANTED:
        outcomes.append(outcome(n))
        assert outcomes[-1] in (GRANTED, SURVIVED, FAILED, CPYTHONS), (n, outcomes[-1])
        n += 211
    print(n, outcomes.count(FAILED), outcomes.count(CPYTHONS))
    """


@pytest.mark.unsanitized("its library has to be preloaded first")
def test_no_memory_for_cpython(script, failing):
    """Every 211th of its allocations, until none fails."""
    done = script.run(OUTCOME + SAMPLE % AFTERWARDS, env=failing, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    last, failed, crashed = map(int, done.stdout.split())
    print(f"{failed} of {last // 211} failed, {crashed} crashed CPython itself")
    assert failed > crashed
