"""Libraries damaged in one field: ImportError or a module that works, no crash.

What is changed is what the loader can know. It cannot tell a symbol, an address in code
or one of data from another of the same kind: the low bytes of such fields stay as they
are, and so do code, data and names.
"""

import sysconfig

import pytest

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

# Where it is, and the fields that are changed: (offset, bytes).
FIELDS = """
import struct

data = open(source, "rb").read()

def read(layout, at):
    return struct.unpack_from("<" + layout, data, at)

def table(at, size, entry):
    return range(at, at + size, entry)

segments, sections = read("QQ", 32)
segment_count, _, section_count = read("HHH", 56)
segment_table = table(segments, segment_count * 56, 56)
section_table = table(sections, section_count * 64, 64)
loads = [read("IIQQQQQQ", at) for at in segment_table if read("I", at) == (1,)]
# Every address and every index below these is one that could be meant.
assert max(s[3] + s[6] for s in loads) <= 1 << 16

def find(kind):
    for at in section_table:
        name, type, flags, address, offset, size = read("IIQQQQ", at)
        if type == kind:
            yield offset, size

def entries(kind, size):
    for offset, length in find(kind):
        yield from table(offset, length, size)

def all_bytes(offset, size):
    return [(offset + i, 1) for i in range(size)]

def headers():
    yield from all_bytes(0, 64)
    yield from all_bytes(segments, segment_count * 56)
    yield from ((at + i, 8) for at in segment_table for i in range(8, 56, 8))

def section_headers():
    yield from all_bytes(sections, section_count * 64)

def dynamic():
    for at in entries(6, 16):
        tag, = read("Q", at)
        yield from all_bytes(at, 8)
        is_function = tag in (12, 13)
        low = 3 if is_function else 0
        yield from all_bytes(at + 8 + low, 8 - low)
        if not is_function:
            yield from [(at, 8), (at + 8, 8)]

def relocations():
    for at in entries(4, 24):
        place, type, symbol, addend = read("QIIq", at)
        yield from all_bytes(at + 2, 6)
        yield from all_bytes(at + 9, 3)
        yield from all_bytes(at + 14, 2)
        named = symbol != 0
        yield from all_bytes(at + 20 if named else at + 18, 4 if named else 6)
        yield from [(at, 8), (at + 8, 8)]

def symbols():
    for at in list(entries(11, 24))[1:]:
        name, info, other, section, value, size = read("IBBHQQ", at)
        yield from [(at + 2, 1), (at + 3, 1), (at + 5, 1), (at + 6, 2)]
        if section != 0:
            yield from all_bytes(at + 10, 6)

def lookup():
    for kind in 5, 0x6ffffff6, 0x6fffffff, 0x6ffffffe:
        for offset, size in find(kind):
            yield from all_bytes(offset, size)
            yield from ((at, 4) for at in table(offset, size - 3, 4))
"""

TRY = """
import os, random, signal, sys, tempfile
source, good, name, region, count = sys.argv[1:]
exec(FIELDS)
folder = tempfile.mkdtemp(dir=".")
target = os.path.join(folder, name + SUFFIX)
CODE = f'''
import sys
sys.path.insert(0, {folder!r})
try:
    import {name} as module
except ImportError as error:
    module = None
    assert (error.name, error.path) == ({name!r}, {target!r}), error
    print("refused")
else:
    print("works")
sys.path[0] = {good!r}
from samples import {name} as sound
for m in module, sound:
    assert m is None or (m.count(), m.count()) == (1, 2)
'''

def attempt():
    import subinterpreters
    try:
        interp = subinterpreters.create()
        interp.exec(CODE)
        interp.close()
    except BaseException as error:
        print(error)
        return 1
    return 0

seen = set()
random = random.Random(region)
fields = list(globals()[region]())
for _ in range(int(count)):
    at, size = random.choice(fields)
    old = int.from_bytes(data[at : at + size], "little")
    top = (1 << 8 * size) - 1
    new = random.choice([0, top, old ^ 1 << 8 * size - 1, random.randint(0, top)])
    with open(target, "wb") as file:
        file.write(data)
        file.seek(at)
        file.write(new.to_bytes(size, "little"))
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(write_end, 1)
        signal.alarm(20)
        status = attempt()
        sys.stdout.flush()
        os._exit(status)
    os.close(write_end)
    with open(read_end) as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.unlink(target)
    if status != 0:
        sys.exit(f"{at:#x} ({size}): {old:#x} -> {new:#x}: status {status}: {said}")
    seen.add(said)
print(*sorted(seen), sep="", end="")
"""

REGIONS = ("headers", "section_headers", "dynamic", "relocations", "symbols", "lookup")


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("name", ["multi", "declared"])
def test_one_damaged_field(script, modules, name, region):
    source = f"FIELDS = {FIELDS!r}\nSUFFIX = {SUFFIX!r}\n{TRY}"
    path = modules / "samples" / (name + SUFFIX)
    out = script.ok(source, path, modules, name, region, 40)
    # Relocations are changed into none that could be meant.
    assert out in ("refused\nworks\n", "refused\n")
