"""Interpreter.call with functions and classes of a script's own __main__."""

import subprocess
import sys
import textwrap

import pytest


class TestScripts:
    """Functions and classes of a script's own __main__."""

    COUNTER = """
        import subinterpreters
        count = 0

        def inc(x=1):
            global count
            count += x

        def get_count():
            return count

        if __name__ == '__main__':
            interp = subinterpreters.create()
            counts = [interp.call(get_count)]
            interp.call(inc)
            counts.append(interp.call(get_count))
            interp.call(inc, 3)
            counts.append(interp.call(get_count))
            names = [n for n in ('count', 'inc', 'get_count')
                     if interp.call(eval, f'{n!r} in vars()')]
            print(count, counts, names)
        """

    def test_globals_live_there_from_call_to_call(self, script):
        assert script.ok(self.COUNTER) == "0 [0, 1, 4] []\n"

    def test_rebinding_here_is_noticed_mutation_is_not(self, script):
        out = script.ok("""
            import subinterpreters
            scale = 1
            table = {'a': 1}

            def look():
                return scale, dict(table)

            interp = subinterpreters.create()
            print(interp.call(look))
            scale = 2
            print(interp.call(look))
            table['b'] = 2
            print(interp.call(look))
            table = {'c': 3}
            print(interp.call(look))
            """)
        assert out.splitlines() == [
            "(1, {'a': 1})",
            "(2, {'a': 1})",
            "(2, {'a': 1})",
            "(2, {'c': 3})",
        ]

    def test_functions_call_each_other(self, script):
        out = script.ok("""
            import math
            import subinterpreters

            LIMIT = 5

            def helper(x):
                return math.floor(x) + LIMIT

            def even(n):
                return n == 0 or odd(n - 1)

            def odd(n):
                return n != 0 and even(n - 1)

            def work(x):
                return helper(x), even(10), odd(10)

            interp = subinterpreters.create()
            print(interp.call(work, 2.5))
            """)
        assert out == "(7, True, False)\n"

    def test_the_script_does_not_run_again(self, script):
        out = script.ok("""
            import subinterpreters
            print('started')
            value = 1

            def work():
                return value

            interp = subinterpreters.create()
            print(interp.call(work))
            """)
        assert out == "started\n1\n"

    def test_classes_cross_both_ways(self, script):
        out = script.ok("""
            import subinterpreters

            class Point:
                def __init__(self, x, y):
                    self.x, self.y = x, y
                def moved(self, d):
                    return Point(self.x + d, self.y + d)
                def __repr__(self):
                    return f'Point({self.x}, {self.y})'

            def make(x):
                return [Point(x, x)]

            def shift(point):
                assert isinstance(point, Point)
                return point.moved(1)

            interp = subinterpreters.create()
            made = interp.call(make, 3)
            print(made, type(made[0]) is Point)
            shifted = interp.call(shift, Point(1, 2))
            print(shifted, type(shifted) is Point)
            print(interp.call(Point(5, 5).moved, 1))
            print(interp.call(Point, 7, 8))
            """)
        assert out.splitlines() == [
            "[Point(3, 3)] True",
            "Point(2, 3) True",
            "Point(6, 6)",
            "Point(7, 8)",
        ]

    def test_exceptions_of_the_scripts_classes(self, script):
        out = script.ok("""
            import subinterpreters

            class Oops(Exception):
                pass

            def work(x):
                raise Oops(x)

            interp = subinterpreters.create()
            try:
                interp.call(work, 3)
            except subinterpreters.ExecutionFailed as exc:
                print(exc.excinfo.type.__name__, exc.excinfo.msg)
                print(type(exc.original) is Oops, exc.original.args)
            """)
        assert out == "Oops 3\nTrue (3,)\n"

    def test_without_a_file(self, tmp_path, script):
        source = (
            "import subinterpreters\n"
            "base = 40\n"
            "def work(x): return base + x\n"
            "print(subinterpreters.create().call(work, 2))\n"
        )
        for args, stdin in ((["-c", source], None), (["-"], source)):
            done = subprocess.run(
                [sys.executable, *args],
                input=stdin,
                capture_output=True,
                text=True,
                timeout=60,
                cwd=tmp_path,
            )
            assert (done.stdout, done.stderr) == ("42\n", "")

    REPL = """
        import subinterpreters
        interp = subinterpreters.create()
        base = 10
        class Point:
            def __init__(self, x):
                self.x = x

        def work(x):
            return Point(base + x)

        interp.call(work, 1).x
        def work(x):
            return Point(base - x)

        base = 20
        interp.call(work, 1).x
        interp.call(lambda: base)
        try:
            interp.call(lambda: 1 / 0)
        except subinterpreters.ExecutionFailed as error:
            type(error.original).__name__

        interp.close()
        """

    def test_typed_into_the_interactive_interpreter(self, script):
        """Definitions come one by one, each may replace an earlier one."""
        process = script.start("", options=["-i", "-q"], stdin=subprocess.PIPE)
        process.stdin.write(textwrap.dedent(self.REPL).lstrip())
        done = script.finish(process)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["11", "19", "20", "'ZeroDivisionError'"]
        assert "Error" not in done.stderr, done.stderr

    def test_cells_of_a_notebook(self, script):
        """Each cell is compiled under a name of its own and runs in __main__."""
        cells = [
            "import subinterpreters\ninterp = subinterpreters.create()\nbase = 1",
            "def work(x):\n    return base + x",
            "first = interp.call(work, 1)",
            "base = 5\ndef work(x):\n    return [base, x]",
            "print(first, interp.call(work, 2), interp.call(lambda: work(3)))",
        ]
        out = script.ok(f"""
            for number, cell in enumerate({cells!r}):
                code = compile(cell, f'<ipython-input-{{number}}>', 'exec')
                exec(code, globals())
            """)
        assert out == "2 [5, 2] [5, 3]\n"

    def test_in_several_interpreters_and_threads(self, script):
        out = script.ok("""
            import subinterpreters, threading
            base = 10

            def helper(x):
                return base * x

            def work(x):
                return helper(x) + 1

            results = {}
            def run(n):
                interp = subinterpreters.create()
                results[n] = [interp.call(work, i) for i in range(50)]
                interp.close()

            threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            print(all(results[n] == [10 * i + 1 for i in range(50)] for n in range(4)))
            """)
        assert out == "True\n"


@pytest.mark.unsanitized("it needs more memory than the limit")
def test_what_does_not_fit_is_a_memory_error(script):
    """The limit leaves room for the large bytes once, not twice."""
    done = script.run("""
        import resource
        import subinterpreters

        interp = subinterpreters.create()
        queue = subinterpreters.create_queue()
        interp.call(len, "warm")
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        limit = used + (300 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        def attempt(do):
            try:
                do()
            except MemoryError:
                return
            raise AssertionError("it did fit")

        large = bytes(200 << 20)
        attempt(lambda: interp.call(len, large))
        attempt(lambda: queue.put(large))
        del large
        attempt(lambda: interp.call(bytes, 200 << 20))
        assert interp.call(len, "abc") == 3
        assert queue.qsize() == 0
        print("done")
    """)
    assert done.stdout == "done\n", done
