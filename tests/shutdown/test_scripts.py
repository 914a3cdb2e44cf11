"""The scripts of the tests outlive neither their test nor the process that runs it."""

import os
from pathlib import Path

import pytest
from tests.conftest import HANG_LIMIT, HANG_MARGIN, Script, hang_limit

FORKS = """
    import os, signal, sys
    os.fork()
    os.write(int(sys.argv[1]), b"1")
    signal.pause()
    """


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    os.close(ends[0])


def await_all(r, count):
    told = b""
    while len(told) < count:
        told += os.read(r, count)


def test_killed_with_who_started_them(script, pipe):
    r, w = pipe
    process = script.start(
        f"""
    import os, pathlib, signal, sys
    sys.path.insert(0, sys.argv[1])
    from tests.conftest import Script
    Script(pathlib.Path(sys.argv[2])).start({FORKS!r}, sys.argv[3],
                                            pass_fds=[int(sys.argv[3])])
    os.write(int(sys.argv[3]), b"1")
    signal.pause()
""",
        Path(__file__).parents[2],
        script.directory,
        w,
        pass_fds=[w],
    )
    os.close(w)
    await_all(r, 3)
    process.kill()
    assert os.read(r, 1) == b""  # nobody has the other end any more


def test_killed_at_the_end_of_the_test(tmp_path, pipe):
    r, w = pipe
    script = Script(tmp_path)
    script.start(FORKS, w, pass_fds=[w])
    os.close(w)
    await_all(r, 2)
    script.close()
    assert os.read(r, 1) == b""


def test_hang_limit(request):
    assert hang_limit(request.node) == HANG_LIMIT


@pytest.mark.timeout(9000)
def test_longer_hang_limit(request):
    assert hang_limit(request.node) == 9000 + HANG_MARGIN
