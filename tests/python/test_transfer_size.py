"""Values that are large: beyond 4 GB, where lengths of 32 bits end, and beyond what the
memory holds."""

import pathlib

import pytest

GB = 1 << 30
# What the system, and the rest of this process, should keep.
RESERVE = 2 * GB

SCARCE = """
    import pathlib, resource, sys, subinterpreters

    MB = 1 << 20
    BEFORE = resource.getrlimit(resource.RLIMIT_AS)
    interp = subinterpreters.create()
    queue = subinterpreters.create_queue()

    def limit(megabytes):
        '''So much may come on top of what there is.'''
        pages = int(pathlib.Path('/proc/self/statm').read_text().split()[0])
        now = pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * MB, BEFORE[1]))

    def unlimited():
        resource.setrlimit(resource.RLIMIT_AS, BEFORE)

    def refused(use, *args):
        try:
            use(*args)
        except MemoryError as exc:
            return
        raise AssertionError(f'{use} had enough memory')

    def echo(value):
        return value

    value = {
        'bytes': lambda: b'x' * (64 * MB),
        'str': lambda: 'x' * (64 * MB),
        'wide str': lambda: '\u20ac' * (32 * MB),
        'bytearray': lambda: bytearray(b'x') * (64 * MB),
        'many bytes': lambda: [b'%05d' % n * 12_000 for n in range(1000)],
        'many ints': lambda: list(range(1 << 40, (1 << 40) + 3_000_000)),
        'nested': lambda: [[[n + 0.5], {'k': n}] for n in range(300_000)],
    }[sys.argv[1]]()
    """
KINDS = ["bytes", "str", "wide str", "bytearray", "many bytes", "many ints", "nested"]


@pytest.mark.unsanitized("it needs terabytes of address space")
@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_a_memory_error(script, kind):
    out = script.ok(
        SCARCE
        + """
    limit(4)
    refused(queue.put, value)
    assert queue.empty()
    refused(interp.call, echo, value)
    assert interp.call(len, 'still works') == 11
    unlimited()
    queue.put(value)
    limit(4)
    for _ in range(2):
        refused(queue.get)
        assert queue.qsize() == 1
    queue.put(1)
    unlimited()
    assert queue.get() == value and queue.get() == 1
    assert interp.call(echo, value) == value
    print('done')
    """,
        kind,
    )
    assert out == "done\n"


def free_memory():
    """What this process may still take, in bytes."""
    limits = []
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            limits.append(int(amount.split()[0]) * 1024)
    group = pathlib.Path("/sys/fs/cgroup")
    most = group / "memory.max"
    if most.is_file() and most.read_text().strip() != "max":
        used = int((group / "memory.current").read_text())
        limits.append(int(most.read_text()) - used)
    return min(limits, default=0)


# Sizes of 64 bits all the way: of one value in a block beside the image, or in place;
# of the image itself, of 75,000 values, each too small for a block of its own.
LARGE = {
    "bytes": "b'0123456789abcde' * (-(-(4 * GB) // 15) + 1)",
    "str": "'0123456789abcde' * (-(-(4 * GB) // 15) + 1)",
    "bytearray": "bytearray(b'0123456789abcde') * (-(-(4 * GB) // 15) + 1)",
    "image": "[b'%06d' % n * 10_000 for n in range(75_000)]",
}


@pytest.mark.slow
@pytest.mark.unsanitized("it takes several times the memory")
@pytest.mark.timeout(290)
@pytest.mark.parametrize("kind", LARGE)
def test_more_than_4_gb(script, kind):
    # The value and its image; then the image and the copy.
    need = 13.5 * GB + RESERVE
    if free_memory() < need:
        pytest.skip(f"needs {need / GB:.1f} GB of free memory")
    out = script.ok(
        """
        import sys, subinterpreters
        GB = 1 << 30
        value = eval(sys.argv[1])
        size = sum(map(len, value)) if isinstance(value, list) else len(value)
        assert size > 4 * GB, size

        def look(value):
            if isinstance(value, list):
                return sum(map(len, value)), value[70_000][:6], value[-1][-6:]
            return len(value), value[:15], value[-15:], value[4 * 1024**3 :][:20]

        queue = subinterpreters.create_queue()
        queue.put(value)
        back = queue.get()
        assert type(back) is type(value) and back == value
        del back, queue
        with subinterpreters.create() as interp:
            assert interp.call(look, value) == look(value)
        print(size)
        """,
        LARGE[kind],
        timeout=280,
    )
    assert int(out) > 4 * GB
