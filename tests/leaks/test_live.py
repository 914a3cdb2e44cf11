"""What use leaves behind in interpreters that stay."""

import pytest

COMMON = """
    import gc, os, sys, threading, subinterpreters
    interp = subinterpreters.create()
    interp.exec('import gc, sys')
    there = 'gc.collect(), sys.getallocatedblocks()'

    def state():
        gc.collect()
        return (sys.getallocatedblocks(), interp.call(eval, there)[1],
                len(os.listdir('/proc/self/fd')), len(os.listdir('/proc/self/task')))

    def growth(function, rounds=6, times=300):
        '''Blocks here, blocks there, files, threads that each round adds.'''
        for _ in range(times): function()
        for _ in range(times): function()
        least = None
        for _ in range(rounds):
            before = state()
            for _ in range(times): function()
            grown = [a - b for a, b in zip(state(), before)]
            least = [min(pair) for pair in zip(least or grown, grown)]
        print(*least)
    """


def grown(script, body):
    out = script.ok(COMMON + body)
    here, there, files, threads = map(int, out.split())
    return here, there, files, threads


@pytest.mark.parametrize(
    "use",
    [
        "interp.exec('x = 1')",
        "interp.exec(b'x = [1, 2]')",
        "interp.exec(compile('x = 1', 'f', 'exec'))",
        "interp.call(len, 'spam')",
        "interp.call(eval, '[1, {2: 3}]')",
        "interp.call(lambda x, y=(1,): [x, y], {'a': [1.5]})",
        "interp.call(dict, a=[1, 2])",
        "interp.prepare_main(x=1, y=('a', b'b'))",
        "interp.is_running()",
        "subinterpreters.list_all()",
        "subinterpreters.Interpreter(interp.id)",
        "subinterpreters.get_current(), subinterpreters.get_main()",
        "subinterpreters.create_queue().put([1])",
    ],
)
def test_calls(script, use):
    here, there, files, threads = grown(script, f"\n    growth(lambda: ({use}))\n")
    # Caches settle over some hundreds of failures; a real leak is one block for each.
    assert here < 200
    assert there < 200
    assert (files, threads) == (0, 0)


@pytest.mark.parametrize(
    "use",
    [
        "interp.exec('1/0')",
        "interp.exec('x = (')",
        "interp.exec(5)",
        "interp.call(eval, 'spam')",
        "interp.call(5)",
        "interp.call(len, [threading.Lock()])",
        "interp.call(eval, '(x for x in ())')",
        "interp.prepare_main(x=[])",
        "interp.prepare_main({'a': 1, 5: 2})",
        "subinterpreters.Interpreter(999999)",
        "subinterpreters.create_queue().get_nowait()",
        "subinterpreters.create_queue().put(threading.Lock())",
    ],
)
def test_failures(script, use):
    here, there, files, threads = grown(
        script,
        f"""
    def use():
        try:
            {use}
        except Exception as exc:
            str(exc), repr(exc)
        else:
            raise SystemExit('it worked')
    growth(use)
    """,
    )
    # Caches settle over some hundreds of failures; a real leak is one block for each.
    assert here < 200
    assert there < 200
    assert (files, threads) == (0, 0)


def test_threads(script):
    here, there, files, threads = grown(
        script,
        """
    def use():
        interp.call_in_thread(len, ()).join()
    growth(use)
    """,
    )
    # Caches settle over some hundreds of failures; a real leak is one block for each.
    assert here < 200
    assert there < 200
    assert (files, threads) == (0, 0)


def test_memory_of_threads(script):
    # Each thread has a state in the interpreter, which must go with the thread.
    out = script.ok("""
        import resource, threading, subinterpreters
        interp = subinterpreters.create()
        def run(count):
            for _ in range(count):
                thread = threading.Thread(target=interp.exec, args=('x = 1',))
                thread.start()
                thread.join()
        run(500)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run(3000)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """)
    assert int(out) < 4000, "KB that 3,000 threads left"


def test_large_values_are_freed(script):
    out = script.ok("""
        import resource, subinterpreters
        interp = subinterpreters.create()
        queue = subinterpreters.create_queue()
        data = b'x' * 4_000_000
        def run(count):
            for _ in range(count):
                interp.call(len, data)
                interp.call(bytes, data)
                interp.call(list, [data])
                queue.put(data)
                queue.get()
                queue.put([data])
                queue.get()
        run(3)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run(30)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """)
    assert int(out) < 12_000
