"""Exceptions that cross although something is odd about them."""


def test_that_reduces_to_something_else_does_not_arrive(script):
    script.ok("""
        import subinterpreters
        def call(interp):
            class Lying(Exception):
                def __reduce__(self):
                    return int, ("7",)
            raise Lying("boo")
        interp = subinterpreters.create()
        with subinterpreters.InterpreterPoolExecutor(1) as pool:
            failed = pool.submit(call, None).exception()
        assert type(failed) is subinterpreters.ExecutionFailed, failed
        try:
            interp.call(call, None)
        except subinterpreters.ExecutionFailed as exc:
            assert exc.original is None
            assert exc.excinfo.msg == "boo"
        else:
            raise AssertionError
        """)


def test_many_parts_that_cannot_cross(script):
    """In minutes, if the time grew with the square of their number."""
    script.ok("""
        import subinterpreters
        interp = subinterpreters.create()
        interp.exec("class Bad:\\n def __reduce__(self): return eval, ('1/0',)")
        try:
            interp.exec("raise ValueError(*[Bad() for _ in range(200000)])")
        except subinterpreters.ExecutionFailed as exc:
            assert len(exc.original.args) == 200000
        """)
