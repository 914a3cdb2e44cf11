"""What an ended interpreter leaves behind: living objects, and nothing else."""

import pytest


@pytest.mark.parametrize("size", [16, 100, 500, 5000, 1 << 20])
def test_exported_memory_outlives_its_interpreter(interp, size):
    interp.exec(f"data = bytearray(range(16)) * {size // 16}\nview = memoryview(data)")
    view = interp.call(eval, "view")
    interp.close()
    assert bytes(view) == bytes(range(16)) * (size // 16)
    view[0] = 7
    assert view[0] == 7


@pytest.mark.unsanitized("CPython's own allocator is not used")
def test_memory_without_living_objects_is_returned(script, modules):
    """A C variable keeps a few objects in every arena alive; 8 MB around them go."""
    out = script.ok(
        f"""
        import subinterpreters

        def memory():
            with open('/proc/self/smaps_rollup') as file:
                return next(int(l.split()[1]) for l in file if l.startswith('Pss:'))

        seen = []
        for _ in range(8):
            interp = subinterpreters.create()
            interp.exec('''
            import sys; sys.path.insert(0, {str(modules)!r})
            from samples import multi
            many = [(str(n),) for n in range(80_000)]
            multi.keep(many[::4000])
            del many
            ''')
            interp.close()
            seen.append(memory())
        print((seen[-1] - seen[2]) // 5)
        """
    )
    assert int(out) < 4000
