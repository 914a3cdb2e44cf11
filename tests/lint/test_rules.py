"""What must not be written, and where it may be for a reason."""

import re
from dataclasses import dataclass

import pytest

from gate import ctext, tree

C = (".c", ".h")


@dataclass
class Rule:
    """A pattern that no file may contain, save the allowed ones.

    It looks at code without comments and literals, or with `text` at all of it. `bad`
    and `good` prove that the pattern finds what it should and no more.
    """

    name: str
    why: str
    pattern: str
    bad: str
    good: str
    allowed: tuple[str, ...] = ()
    folders: tuple[str, ...] = tree.PRODUCT_C
    suffixes: tuple[str, ...] = C
    text: bool = False

    def hits(self, text):
        if not self.text:
            text = ctext.code(text)
        return [
            text.count("\n", 0, match.start()) + 1
            for match in re.finditer(self.pattern, text, re.MULTILINE)
        ]


CONCURRENCY = [
    Rule(
        "atomics",
        "atomics are written through core/base/atomic.h, with the order in the name",
        r"\b_Atomic\b|\batomic_\w+|\bmemory_order\w*|\b__atomic_\w+|\b__sync_\w+"
        r"|\b_Py_atomic_\w+|\bstdatomic\.h",
        bad="atomic_fetch_add(&n, 1);",
        good="si_add_relaxed(&n, 1); /* not atomic_fetch_add */",
        # There it is CPython's own word, which our types do not fit.
        allowed=("core/base/atomic.h", "binding/compat/"),
        folders=tree.ALL_C,
    ),
    Rule(
        "fences",
        "ThreadSanitizer does not see a stand-alone fence",
        r"\batomic_(thread|signal)_fence|\b__atomic_(thread|signal)_fence"
        r"|\b__sync_synchronize|\b_mm_[lms]fence|\b__builtin_ia32_[lms]fence",
        bad="atomic_thread_fence(memory_order_release);",
        good="si_store_release(&flag, 1);",
        folders=tree.ALL_C,
    ),
    Rule(
        "volatile",
        "volatile orders nothing between threads",
        r"\bvolatile\b",
        bad="static volatile int ready;",
        good='__asm__ __volatile__("isb" ::: "memory");',
    ),
    Rule(
        "locks",
        "locks of the system and of CPython stay behind core/platform",
        r"\bpthread_\w+|\b(thrd|mtx|cnd|tss|sem)_\w+|\bPyMutex\w*|\bPyThread_\w*lock\w*"
        r"|\bPy_BEGIN_CRITICAL_SECTION",
        bad="pthread_mutex_lock(&mu);",
        good="si_mutex_lock(&mu);",
        allowed=(
            "core/platform/",
            "binding/compat/runtime.c",  # CPython's own lock, of its thread states
            "binding/attach.c",  # the key whose destructor tells that a thread ends
            "binding/fork.c",  # pthread_atfork: what a forked child must put right
            "binding/loader/",  # the dynamic linker's callbacks come with its own locks
        ),
    ),
    Rule(
        "polling",
        "whoever waits parks on a waiter",
        r"\b(sleep|usleep|nanosleep|clock_nanosleep|sched_yield|thrd_yield)\s*\(",
        bad="usleep(1000);",
        good="si_waiter_park(&w, deadline);",
    ),
    Rule(
        "one GIL",
        "there are many GILs: none of them guards what interpreters share",
        r"(?i)\bthe GIL (protects|guards)\b|\b(protected|guarded) by the GIL\b",
        bad="/* Protected by the GIL. */",
        good="/* Guarded by mu. A GIL guards nothing that two interpreters share. */",
        text=True,
    ),
]

MEMORY = [
    Rule(
        "allocation",
        "memory of no interpreter comes from si_alloc, so that tests can fail it",
        r"(?<![.>])\b(malloc|calloc|realloc|reallocarray|free|aligned_alloc|posix_memalign|strdup"
        r"|strndup|asprintf|vasprintf|PyMem_Raw\w+)\s*\(",
        bad="char *p = PyMem_RawMalloc(n);",
        good="char *p = si_alloc(n); q->free(p);",
        allowed=("core/base/alloc.c",),
    ),
    Rule(
        "ending the process",
        "a run-time condition is a status or an exception; a crash is the worst bug",
        r"\b(abort|exit|_exit|_Exit|quick_exit|Py_FatalError|Py_Exit)\s*\(",
        bad='Py_FatalError("no memory");',
        good="return PyErr_NoMemory();",
        # As CPython's own functions do, in whose place these stand.
        allowed=("binding/loader/redirect.c",),
    ),
    Rule(
        "unbounded writes",
        "nothing that writes without knowing how much room there is",
        r"\b(sprintf|vsprintf|strcpy|strcat|gets|alloca|strtok)\s*\(",
        bad="strcpy(name, from);",
        good="snprintf(name, sizeof(name), from);",
        folders=tree.ALL_C,
    ),
    Rule(
        "dangling reference",
        "Py_CLEAR and Py_SETREF drop the pointer before the object goes",
        r"\bPy_X?DECREF\(([^()]*(?:->|\.|\[)[^()]*)\);\s*\1 = ",
        bad="Py_XDECREF(self->next);\n    self->next = NULL;",
        good="Py_CLEAR(self->next);\n    Py_DECREF(local);\n    local = NULL;",
        folders=("binding",),
    ),
]

CPYTHON = [
    Rule(
        "version",
        "differences between versions of CPython stay in binding/compat",
        r"\bPY_(VERSION|MAJOR_VERSION|MINOR_VERSION|MICRO_VERSION|RELEASE)\w*"
        r"|\bPy_GIL_DISABLED\b|\bPYTHON_API_VERSION\b",
        bad="#if PY_VERSION_HEX < 0x030D0000",
        good="/* PY_VERSION_HEX is for compat */",
        allowed=("binding/compat/",),
        folders=tree.ALL_C,
    ),
    Rule(
        "PyGILState",
        "it knows the main interpreter only",
        r"\bPyGILState_\w+",
        bad="PyGILState_Ensure();",
        good="sipy_slot_enter(slot); /* PyGILState_Ensure knows only main */",
        allowed=("binding/loader/redirect.c",),  # replaces it in libraries that use it
    ),
    Rule(
        "attaching",
        "thread states are made, swapped and ended where their rules are kept",
        r"\bPyThreadState_(Swap|New|Clear|Delete\w*)\b|\bPy_(New|End)Interpreter\w*"
        r"|\bPyEval_(Save|Restore|Acquire|Release)Thread\b|\bPyInterpreterState_Delete\b",
        bad="PyThreadState_Swap(ts);",
        good="PyThreadState_Get();\nPy_BEGIN_ALLOW_THREADS",
        allowed=(
            "binding/attach.c",
            "binding/lifecycle.c",
            "binding/loader/",  # libraries attach by functions that it puts in place
        ),
    ),
    Rule(
        "process-wide types",
        "a type, a module and its state belong to one interpreter",
        r"\bPyTypeObject\s+\w+\s*=|\bPyType_Ready\b|\bPyModule_Create2?\b"
        r"|\bPyState_\w+|\.m_size\s*=\s*-1",
        bad="static PyTypeObject Queue_Type = {",
        good="PyTypeObject *type = Py_TYPE(self);",
        # It loads the modules of others, single-phase ones among them.
        allowed=("binding/loader/",),
    ),
    Rule(
        "swallowed errors",
        "these hide an exception or leave open who owns the result",
        r"\bPyDict_GetItem(String)?\b|\bPyObject_HasAttr(String)?\b"
        r"|\bPyMapping_HasKey(String)?\b|\bPyModule_AddObject\b"
        r"|\bPyErr_(Fetch|Restore|NormalizeException)\b|\bPyWeakref_(GetObject|GET_OBJECT)\b",
        bad='PyDict_GetItemString(dict, "x");',
        good="PyDict_GetItemWithError(dict, key);\nPyModule_AddObjectRef(m, n, o);",
        allowed=("binding/compat/",),
        folders=("binding",),
    ),
    Rule(
        "operating system",
        "which system it is, is asked in core/platform only",
        r"\b(__linux__|__APPLE__|__FreeBSD__|__unix__|_WIN32|_MSC_VER|__ANDROID__)\b",
        bad="#ifdef __linux__",
        good="#ifdef SI_FUTEX_PORTABLE",
        allowed=("core/platform/",),
    ),
    Rule(
        "processor",
        "which processor it is, is asked in core/platform and the build only",
        r"\b(__x86_64__|__i386__|__amd64__|__aarch64__|__arm__|__riscv)\b",
        bad="#if defined(__x86_64__)",
        good="si_cpu_relax();",
        allowed=("core/platform/",),
    ),
    Rule(
        "included source",
        "a .c file is compiled by itself",
        r'#\s*include\s*"[^"]*\.c"',
        bad='#include "core/base/alloc.c"',
        good='#include "core/base/alloc.h"',
        folders=tree.ALL_C,
    ),
]

NOTES = [
    Rule(
        "notes",
        "an open end is `TODO: ` and a reason, or gets done",
        r"\b(FIXME|XXX|HACK)\b|\bTODO\b(?!: \w+ \w+ \w+)",
        bad="x = 1  # TODO",
        good="x = 1  # TODO: wait for the release of CPython 3.16\nfoo_XXX_bar",
        folders=(*tree.ALL_C, *tree.ALL_PYTHON),
        suffixes=(*C, ".py", ".pyi"),
        allowed=("tests/lint/",),
        text=True,
    ),
    Rule(
        "polling in Python",
        "whoever waits blocks until it is woken",
        r"\btime\.sleep\(|\bfrom time import .*\bsleep\b",
        bad="time.sleep(0.01)",
        good="event.wait(timeout)",
        folders=("python",),
        suffixes=(".py",),
        text=True,
    ),
]

RULES = [*CONCURRENCY, *MEMORY, *CPYTHON, *NOTES]
rules = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


@rules
def test_rule(rule):
    problems, used = [], set()
    for file in tree.files(rule.folders, *rule.suffixes):
        lines = rule.hits(tree.read(file))
        place = next((p for p in rule.allowed if file.startswith(p)), None)
        if place is None:
            problems += [f"{file}:{line}: {rule.why}" for line in lines]
        elif lines:
            used.add(place)
    problems += [f"allowed for nothing: {p}" for p in rule.allowed if p not in used]
    tree.report(problems)


@rules
def test_rule_bites(rule):
    assert rule.hits(rule.bad), "does not find what it is for"
    assert not rule.hits(rule.good), "finds what is right"


def test_released_threads_come_back():
    """Py_BEGIN_ALLOW_THREADS and _END_ are in one block, without a return between."""
    problems, checked = [], 0
    for file in tree.files(["binding"], *C):
        begun = None
        for number, line in enumerate(ctext.code(tree.read(file)).split("\n"), 1):
            word = line.strip()
            if word == "Py_BEGIN_ALLOW_THREADS":
                if begun is not None:
                    problems.append(f"{file}:{number}: begun twice")
                begun = number
                checked += 1
            elif word == "Py_END_ALLOW_THREADS":
                if begun is None:
                    problems.append(f"{file}:{number}: ended, not begun")
                begun = None
            elif begun is not None and re.search(r"\breturn\b|^}", line):
                problems.append(f"{file}:{number}: left detached (line {begun})")
                begun = None
    assert checked > 0, "found no Py_BEGIN_ALLOW_THREADS"
    tree.report(problems)


PRIVATE = re.compile(
    r"\b(?:_Py(?!CFunction_CAST\b)[A-Za-z]\w*|pycore_\w+|Py_BUILD_CORE\w*)"
)


def private_names(text):
    return [
        (text.count("\n", 0, match.start()) + 1, match.group())
        for match in PRIVATE.finditer(text)
    ]


def test_private_functions_are_known_to_compat():
    """A function that CPython does not document is declared in one place, where each
    new version is compared with it; only its own code uses others."""
    headers = tree.files(["binding/compat"], ".h")
    code = "\n".join(ctext.code(tree.read(file)) for file in headers)
    known = {name for _, name in tree.some(private_names(code), "private functions")}
    tree.report(
        f"{file}:{line}: {name} is declared in no header of binding/compat"
        for file in tree.files(tree.PRODUCT_C, *C)
        if not file.startswith("binding/compat/")
        for line, name in private_names(ctext.code(tree.read(file)))
        if name not in known
    )


def test_private_names_are_found():
    found = private_names("_PyType_Lookup(t);\n_PyCFunction_CAST(f)\npycore_frame")
    assert found == [(1, "_PyType_Lookup"), (3, "pycore_frame")]


def test_types_do_their_part():
    """An object of a heap type holds its type; with the collector there is more. What a
    type has its base do is the base's part."""
    problems, checked = [], 0
    for file in tree.files(["binding"], ".c"):
        code = ctext.code(tree.read(file))
        for flags in re.findall(r"PyType_Spec \w+ = {[^}]*?\.flags = ([^;}]*)", code):
            checked += 1
            needed = []
            if "Py_tp_dealloc" in code:
                needed += ["Py_DECREF(type)"]
            if "Py_TPFLAGS_HAVE_GC" in flags:
                needed += [
                    "PyObject_GC_UnTrack(",
                    "Py_VISIT(Py_TYPE(",
                    "Py_tp_traverse",
                ]
            code = code.replace("tp_base->tp_dealloc(", "Py_DECREF(type)")
            code = code.replace("tp_base->tp_traverse(", "Py_VISIT(Py_TYPE(")
            problems += [f"{file}: a type without {n}" for n in needed if n not in code]
    assert checked > 0, "found no PyType_Spec"
    tree.report(problems)


def test_buffers_are_given_back():
    problems, checked = [], 0
    for file in tree.files(["binding"], *C):
        code = ctext.code(tree.read(file))
        if "PyObject_GetBuffer(" in code:
            checked += 1
            if "PyBuffer_Release(" not in code:
                problems.append(f"{file}: PyObject_GetBuffer without PyBuffer_Release")
    assert checked > 0, "found no PyObject_GetBuffer"
    tree.report(problems)
