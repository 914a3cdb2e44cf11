"""Forks and execs in the middle of what pools, event loops and spares are doing."""

import pytest

# Every interpreter that is created while BLOCK is set stops in the middle of that.
SITE = """
import os
if "BLOCK" in os.environ:
    said, go = map(int, os.environ["BLOCK"].split())
    os.write(said, b"1")
    os.read(go, 1)
"""

START = """
    import os, sys, time, warnings
    import subinterpreters
    from subinterpreters.executor import BrokenInterpreterPool, InterpreterPoolExecutor
    warnings.simplefilter("ignore")
    is_said, said = os.pipe()
    wait, go = os.pipe()

    def block():
        os.environ["BLOCK"] = f"{said} {wait}"

    def until_it_blocks():
        os.read(is_said, 1)
        del os.environ["BLOCK"]

    def let_go():
        os.write(go, b"1")

    def fork(child):
        '''The exit status of a child that ends the usual way; "late" if its exit has
        waited, 5 seconds at most, for what only threads of the parent can end.'''
        sys.stdout.flush()
        begun = time.monotonic()
        pid = os.fork()
        if pid == 0:
            child()
            sys.exit(7)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status if time.monotonic() - begun < 4 else "late"

    def work(pool):
        return sum(pool.submit(abs, -i).result() for i in range(5))

    def fresh():
        subinterpreters.create().exec("print('created', flush=True)")
        with InterpreterPoolExecutor(1, max_tasks_per_child=2) as pool:
            print("pool", work(pool))
"""


@pytest.fixture
def blocking(script, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SITE)

    def run(source):
        return script.ok(START + source, env={"PYTHONPATH": str(tmp_path)})

    return run


def test_fork_while_a_spare_is_made(blocking):
    out = blocking(
        """
    block()
    subinterpreters.keep_ready(1)
    until_it_blocks()
    print(fork(fresh))
    let_go()
    fresh()
"""
    )
    assert out.splitlines() == ["created", "pool 10", "7", "created", "pool 10"]


def test_fork_between_two_workers(blocking):
    out = blocking("""
    pool = InterpreterPoolExecutor(1, max_tasks_per_child=1)
    print(pool.submit(abs, -1).result())
    block()
    future = pool.submit(abs, -2)
    until_it_blocks()

    def child():
        for ask in (future.result, lambda: pool.submit(abs, -3)):
            try:
                ask()
            except BrokenInterpreterPool as error:
                print(error)
        pool.shutdown()
        fresh()

    print(fork(child))
    let_go()
    print(future.result(), work(pool))
""")
    assert out.splitlines() == [
        "1",
        "the task runs in the process that this one was forked from",
        "the pool belongs to the process that this one was forked from",
        *("created", "pool 10", "7", "2 10"),
    ]


def test_fork_with_calls_in_flight(blocking):
    out = blocking("""
    import asyncio

    def hold(started, release):
        started.put(1)
        return release.get()

    async def afresh():
        with InterpreterPoolExecutor(2) as pool:
            print(sum(await asyncio.gather(*[pool.run(abs, -i) for i in range(5)])))

    async def main():
        started, release = [subinterpreters.create_queue() for _ in range(2)]
        pool = InterpreterPoolExecutor(1)
        calls = [pool.run(hold, started, release), pool.run(abs, -2)]
        tasks = [asyncio.ensure_future(calls[0]), asyncio.create_task(wait(calls[1]))]
        await asyncio.sleep(0)
        started.get()

        def child():
            asyncio.events._set_running_loop(None)
            print([call.done() for call in calls])
            asyncio.run(afresh())
            print(calls[1].cancel(), calls[1].cancelled())
            fresh()
            sys.stdout.flush()
            os._exit(7)  # the parent's loop must not go on here: it shares its epoll

        print(fork(child))
        release.put(1)
        print(await asyncio.gather(*tasks))
        pool.shutdown()
        await afresh()

    async def wait(call):
        return await call

    asyncio.run(main())
""")
    assert out.splitlines() == [
        "[False, False]",
        "10",
        "True True",
        "created",
        "pool 10",
        "7",
        "[1, 2]",
        "10",
    ]


def test_exec_while_a_spare_is_made(blocking):
    out = blocking("""
    if len(sys.argv) == 1:
        block()
        subinterpreters.keep_ready(1)
        until_it_blocks()
        os.execv(sys.executable, [sys.executable, __file__, "again"])
    fresh()
""")
    assert out.splitlines() == ["created", "pool 10"]


def test_exec_between_two_workers(blocking):
    out = blocking("""
    if len(sys.argv) == 1:
        pool = InterpreterPoolExecutor(1, max_tasks_per_child=1)
        print(pool.submit(abs, -1).result(), flush=True)
        block()
        pool.submit(abs, -2)
        until_it_blocks()
        os.execv(sys.executable, [sys.executable, __file__, "again"])
    fresh()
""")
    assert out.splitlines() == ["1", "created", "pool 10"]
