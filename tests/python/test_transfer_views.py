"""Memory that two interpreters look at: who keeps it, and until when."""

import gc
import os
import sys
import threading
import types

import pytest
import subinterpreters
from subinterpreters import ExecutionFailed, NotShareableError, create_queue


def own_view():
    import __main__

    return memoryview(__main__.own)


def keep(view):
    import __main__

    __main__.kept = view


def test_both_sides_see_what_either_writes(interp):
    interp.exec("own = bytearray(b'abcd')")
    view = interp.call(own_view)
    interp.exec("own[0] = ord('x')")
    view[1] = ord("y")
    interp.exec("assert own == b'xycd', own")
    assert bytes(view) == b"xycd"


def test_nobody_resizes_it_meanwhile(interp):
    interp.exec("own = bytearray(4)")
    view = interp.call(own_view)
    with pytest.raises(ExecutionFailed, match="BufferError"):
        interp.exec("own.append(1)")
    assert view.nbytes == 4


def test_an_idle_owner_gets_it_back(interp):
    interp.exec("own = bytearray(4)")
    view = interp.call(own_view)
    view.release()
    interp.exec("own.append(1)")


def test_the_owner_here_gets_it_back(interp):
    own = bytearray(4)
    interp.call(keep, memoryview(own))
    with pytest.raises(BufferError):
        own.append(1)
    interp.exec("del kept")
    own.append(1)


def test_the_end_of_the_borrower_gives_it_back():
    own = bytearray(4)
    interp = subinterpreters.create()
    interp.call(keep, memoryview(own))
    interp.close()
    own.append(1)


def test_it_outlives_its_owner():
    interp = subinterpreters.create()
    interp.exec("own = bytearray(b'abcd' * 100_000)")
    view = interp.call(own_view)
    interp.close()
    assert bytes(view[:4]) == b"abcd"
    view[0] = ord("x")
    assert bytes(view[:4]) == b"xbcd"
    del view
    gc.collect()


def test_one_in_a_queue_whose_owner_ended():
    queue = create_queue()
    interp = subinterpreters.create()
    interp.prepare_main(queue=queue)
    interp.exec("own = bytearray(b'ab'); queue.put(memoryview(own))")
    taken = queue.get()
    interp.exec("queue.put(memoryview(own))")
    interp.close()
    assert queue.get() is subinterpreters.UNBOUND
    assert bytes(taken) == b"ab"


@pytest.fixture
def only_here():
    """A class of a module that no other interpreter can import."""
    module = types.ModuleType("a_module_of_this_test")
    exec("class Only: pass", module.__dict__)
    sys.modules[module.__name__] = module
    yield module.Only
    del sys.modules[module.__name__]


WHAT_AND_WHY = (
    "cannot find 'Only' of module 'a_module_of_this_test' in interpreter .*"
    "No module named 'a_module_of_this_test'"
)


def test_a_class_that_cannot_be_imported_there(interp, only_here):
    with pytest.raises(NotShareableError, match=WHAT_AND_WHY):
        interp.call(type, only_here())


def test_an_item_that_cannot_be_rebuilt_stays(interp, only_here):
    queue = create_queue()
    queue.put(only_here())
    interp.prepare_main(queue=queue)
    with pytest.raises(ExecutionFailed, match=WHAT_AND_WHY):
        interp.exec("queue.get()")
    interp.close()
    assert type(queue.get()) is only_here


def test_a_target_that_ends_before_it_reads():
    """What was sent to it is let go, and what it borrowed comes back."""
    queue = create_queue()
    own = bytearray(4)
    interp = subinterpreters.create()
    interp.prepare_main(queue=queue)
    queue.put([1, memoryview(own)])
    interp.close()
    with pytest.raises(BufferError):
        own.append(1)
    number, view = queue.get()
    assert (number, bytes(view)) == (1, bytes(4))
    view.release()
    own.append(1)


class Meddler:
    """Changes a container while it is being sent."""

    def __init__(self, change):
        self.change = change

    def __reduce_ex__(self, protocol):
        self.change()
        return int, ()


@pytest.mark.parametrize("kind", [list, dict, set])
def test_a_container_that_changes_meanwhile(interp, kind):
    if kind is list:
        value = [Meddler(lambda: value.append(1)), 2, 3]
    elif kind is dict:
        value = {1: Meddler(lambda: value.update(new=1)), 2: 2}
    else:
        value = {Meddler(lambda: value.add(1)), 2}
    with pytest.raises(NotShareableError, match=f"(?i){kind.__name__} changed"):
        interp.call(len, value)
    assert interp.call(len, "still works") == 11


SLOW_OWNER = """
import os
class Own(bytearray):
    def __del__(self):
        {body}
own = Own(4)
"""


def release_while(interp, view, body):
    """Has a thread release the only view; interp is visited for its owner's end."""
    interp.exec("del own")
    thread = threading.Thread(target=view.release)
    thread.start()
    body()
    thread.join()


def test_who_releases_it_is_in_nobodys_way(interp):
    started, told = os.pipe()
    wait, finish = os.pipe()
    body = f"os.write({told}, b'1'); os.read({wait}, 1)"
    interp.exec(SLOW_OWNER.format(body=body))
    closer = threading.Thread(target=interp.close)

    def meanwhile():
        os.read(started, 1)
        assert not interp.is_running()
        interp.exec("x = 1")
        assert interp.call(eval, "6 * 7") == 42
        closer.start()
        os.write(finish, b"1")

    release_while(interp, interp.call(own_view), meanwhile)
    closer.join()
    assert interp not in subinterpreters.list_all()
    for fd in (started, told, wait, finish):
        os.close(fd)


def test_the_owner_cannot_run_or_end_itself_by_way_of_another(script):
    """Its destructor runs in a visit of the thread that released the last view."""
    out = script.ok("""
        import subinterpreters
        def own_view():
            import __main__
            return memoryview(__main__.own)
        owner, third = subinterpreters.create(), subinterpreters.create()
        owner.exec(f'''
        import os, subinterpreters
        class Own(bytearray):
            def __del__(self):
                subinterpreters.Interpreter({third.id}).exec(\"\"\"
        import subinterpreters
        owner = subinterpreters.Interpreter({owner.id})
        waits = lambda: owner.close(timeout=9)
        for use in (lambda: owner.exec("x = 1"), owner.close, waits):
            try:
                use()
            except subinterpreters.InterpreterError as exc:
                print(exc)
        owner = use = waits = None
        \"\"\")
        own = Own(4)
        ''')
        view = owner.call(own_view)
        owner.exec('del own')
        view.release()
        owner.exec('print("goes on")')
        owner.close()
        third.close()
        """)
    assert out.splitlines() == [
        "interpreter already running",
        "interpreter running",
        "interpreter running",
        "goes on",
    ]
