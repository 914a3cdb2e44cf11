"""The engine by itself: damaged images, and what it leaves behind.

It is compiled once, from the sources, as a module of its own; everything that could
crash runs in a process of its own."""

import pathlib
import shutil
import subprocess
import sysconfig

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
SOURCES = [
    "tests/python/transfer/engine_module.c",
    "core/memory/block.c",
    "core/base/alloc.c",
    "core/platform/pages.c",
    "core/platform/thread.c",
]


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """The folder with the compiled module."""
    compiler = shutil.which("cc")
    include = pathlib.Path(sysconfig.get_path("include"))
    if compiler is None or not (include / "Python.h").exists():
        pytest.skip("needs a C compiler and the headers of this CPython")
    folder = tmp_path_factory.mktemp("engine")
    sources = [ROOT / name for name in SOURCES]
    sources += sorted((ROOT / "binding" / "transfer").glob("*.c"))
    sources += sorted((ROOT / "binding" / "compat").glob("*.c"))
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    options = [
        "-std=c11",
        "-O1",
        "-g",
        "-D_GNU_SOURCE",
        "-DSI_FAULT_INJECTION",
        "-fPIC",
        "-shared",
    ]
    subprocess.run(
        [
            compiler,
            *options,
            f"-I{ROOT}",
            f"-I{include}",
            *map(str, sources),
            "-o",
            str(folder / f"_transfer_testing{suffix}"),
        ],
        check=True,
        timeout=300,
    )
    return folder


@pytest.fixture
def with_engine(engine, script):
    def run(source, *args, **options):
        folders = [str(engine), str(HERE / "transfer")]
        path = f"import sys; sys.path[:0] = {folders!r}\n"
        head = "import _transfer_testing as engine, samples\n"
        return script.ok(path + head + source, *args, **options)

    return run


FUZZ = """
import random, warnings
warnings.simplefilter("ignore")  # damage may make a deprecated typecode
seed = int(sys.argv[1])
rnd = random.Random(seed)
small = [v for v in samples.VALUES + samples.errors() if not isinstance(v, type(len))]
images = [i for i in map(engine.dump, small) if 2 < len(i) < 3000]
print("seed", seed, "images", len(images))

def damage(image):
    image, way = bytearray(image), rnd.random()
    if way < 0.3:
        return image[: rnd.randrange(len(image))]
    if way < 0.8:
        for _ in range(rnd.choice([1, 1, 1, 2, 5])):
            at = rnd.randrange(1, len(image))
            flipped = image[at] ^ 1 << rnd.randrange(8)
            image[at] = rnd.choice([rnd.randrange(256), flipped, rnd.randrange(64)])
        return image
    if way < 0.9:
        other, at = rnd.choice(images), rnd.randrange(2, len(image))
        image[at:at] = other[2 : 2 + rnd.randrange(len(other))]
        return image
    start = rnd.randrange(2, len(image))
    del image[start : rnd.randrange(start, len(image) + 1)]
    return image

refused = 0
for _ in range(int(sys.argv[2])):
    try:
        repr(engine.load(bytes(damage(rnd.choice(images)))))
    except Exception:
        refused += 1
assert refused > 0
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_damage_is_an_error_and_no_crash(with_engine, seed):
    with_engine(FUZZ, seed, 20_000, timeout=200)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_much_damage(with_engine, seed):
    with_engine(FUZZ, seed, 500_000, timeout=1200)


def test_every_truncation_is_an_error(with_engine):
    with_engine("""
for value in samples.VALUES + samples.errors():
    image = engine.dump(value)
    if len(image) > 3000 or engine.blocks():
        continue
    for size in range(len(image)):
        try:
            engine.load(image[:size])
        except Exception:
            pass
        else:
            raise AssertionError((value, size))
""")


def test_nothing_is_left_behind(with_engine):
    """The interpreter and core have as many blocks after many crossings as before."""
    with_engine(
        """
import gc

def growth(action):
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(200):
        action()
    gc.collect()
    return sys.getallocatedblocks() - before

def measure(action):
    # CPython's caches settle in the meantime; what leaks, leaks every time.
    return next((g for _ in range(4) if (g := growth(action)) < 100), 100)

for value in samples.VALUES + samples.errors():
    grown = measure(lambda: engine.roundtrip(value))
    assert grown < 100, (value, grown)

def refused(value):
    try:
        engine.roundtrip(value)
    except TypeError:
        return
    raise AssertionError(value)

for value in (
    [samples.Locked()],
    {"a": {1, samples.Locked()}},
    (samples.Data(1, [samples.Failing()]), "x" * 70000, bytearray(70000)),
):
    grown = measure(lambda: refused(value))
    assert grown < 100, (value, grown)

def cut(image):
    for size in range(2, len(image), 3):
        try:
            engine.load(image[:size])
        except Exception:
            pass

for value in samples.VALUES + samples.errors():
    image = engine.dump(value)
    if len(image) < 300:
        grown = measure(lambda: cut(image))
        assert grown < 100, (value, grown)
memory = bytearray(10)
for _ in range(100):
    engine.roundtrip(memoryview(memory)).release()
    engine.roundtrip([bytearray(100000), memoryview(memory)])
memory.append(1)
assert engine.blocks() == 0, engine.blocks()
""",
        timeout=200,
    )


def test_fresh_functions_do_not_pile_up(with_engine):
    with_engine("""
import gc
def send(i):
    engine.free(engine.encode_call(lambda: i))
for i in range(3000):
    send(i)
blocks, objects = engine.blocks(), len(gc.get_objects())
for i in range(5000):
    send(i)
assert engine.blocks() <= blocks + 1100, (engine.blocks(), blocks)
assert len(gc.get_objects()) < objects + 5000
""")


def test_fresh_classes_do_not_pile_up(with_engine):
    """Neither where they are made nor where they are received: of 2,000 with two
    methods each, as many descriptions are left as of a few hundred."""
    with_engine("""
import gc, subinterpreters

def make(k):
    class C:
        def __init__(self): super().__init__()
        def m(self): return C, k
    return C()

with subinterpreters.create(extensions="declared") as other:
    other.exec(f"import gc, sys; sys.path[:] = {sys.path!r}")
    other.exec("import _transfer_testing as engine")
    most = 0
    for k in range(2000):
        packet = engine.encode(make(k))
        other.exec(f"engine.decode({packet})")
        engine.free(packet)
        if k % 100 == 99:
            gc.collect()
            other.exec("gc.collect()")
            most = max(most, engine.blocks())
assert 0 < most < 2000, most
""")


MUTUAL = {
    "functions": "def {name}(): return [{every}]",
    "cached": "@functools.cache\ndef {name}(): return [{every}]",
    "classes": "class {name}:\n    def all(self): return [{every}]",
}


@pytest.mark.parametrize("kind", MUTUAL)
def test_what_refers_to_each_other_is_described_once(with_engine, kind):
    """Each of 6 and of 40 has as many blocks: descriptions, and code."""
    with_engine(
        f"source = {MUTUAL[kind]!r}\n"
        """
import functools

def blocks_of(count):
    names = [f"m{count}_{k}" for k in range(count)]
    for name in names:
        exec(source.format(name=name, every=", ".join(names)), globals())
    before = engine.blocks()
    engine.free(engine.encode(globals()[names[0]]))
    first = engine.blocks() - before
    for name in names:
        engine.free(engine.encode(globals()[name]))
    return first, engine.blocks() - before

few, few_all = blocks_of(6)
many, many_all = blocks_of(40)
assert 6 <= few <= 24 and many <= few * 40 // 6 + 6, (few, many)
print(few, many, few_all, many_all)
"""
    )


def test_a_packet_can_be_decoded_again(with_engine):
    with_engine("""
packet = engine.encode([samples.Data(1, [2]), "x" * 100000])
assert engine.decode(packet) == engine.decode(packet)
engine.free(packet)
assert engine.blocks() == 0
""")


def test_every_allocation_may_fail(with_engine):
    """Then the crossing is a MemoryError, or did without; nothing is left behind."""
    with_engine("""
def functions():
    limit = [1, 2]
    def inner(x, y=samples.Plain(1)):
        return limit, x, y
    return inner

deep = []
for _ in range(200):
    deep = [deep, {"a": deep}]
many = [[str(i), [i]] * 2 for i in range(500)]
values = [*samples.VALUES, functions(), deep, many, memoryview(b"x")]

def cross(value, n):
    engine.fail_nth(n)
    try:
        engine.roundtrip(value)
    except (MemoryError, TypeError) as exc:
        assert isinstance(exc, MemoryError) or "to another" in str(exc), exc
        return True
    finally:
        failed = engine.fail_nth(0)
    return failed

failures = 0
for value in values:
    kept = None
    n = 1
    while cross(value, n):
        n += 1
    failures += n - 1
    for n in range(1, 5):
        cross(value, n)
assert failures > 100, failures
""")
