"""Check that the model finds mistakes: break core in one place, and expect a failure.

    mutants.py COMPILER...

Each mutant is one replacement in one source file. The model test of that file is
built from the broken copy and must fail; from the unbroken files it must pass. Writes
one line per mutant in cmocka's form.
"""

import pathlib
import subprocess
import sys
import tempfile

MODEL = pathlib.Path(__file__).resolve().parent
ROOT = MODEL.parents[2]
TIME_LIMIT = 120  # seconds; a mutant may run forever

SOURCES = {
    "channel": [
        "core/channel/channel.c",
        "core/wait/spin.c",
        "core/wait/waiter.c",
        "core/base/alloc.c",
    ],
    "gate": ["core/registry/gate.c", "core/wait/waiter.c"],
    "mutex": ["core/platform/mutex.c"],
}

# name, model, file, what is replaced, by what
MUTANTS = [
    (
        "wake_up_not_passed_on",
        "channel",
        "core/channel/channel.c",
        "        taken = take_news(ch, side);\n    }\n    si_mutex_unlock",
        "    }\n    si_mutex_unlock",
    ),
    (
        "no_second_look_before_listing",
        "channel",
        "core/channel/channel.c",
        "    if (may_succeed(ch, side)) {\n        si_mutex_unlock(&ch->mu);\n",
        "    if (false) {\n        si_mutex_unlock(&ch->mu);\n",
    ),
    (
        "stays_listed_after_timeout",
        "channel",
        "core/channel/channel.c",
        "        si_wait_list_remove(&ch->waiting[side], w);\n    }\n    else {",
        "    }\n    else {",
    ),
    (
        "get_wakes_no_producer",
        "channel",
        "core/channel/channel.c",
        "news taken = take_news(ch, SI_SIDE_PUT);",
        "news taken = {NULL, NULL};",
    ),
    (
        "owner_gone_wakes_nobody",
        "channel",
        "core/channel/channel.c",
        "while (removed-- > 0 && wake_next(ch, SI_SIDE_PUT)) {",
        "while (removed < 0) {",
    ),
    (
        "unget_wakes_nobody",
        "channel",
        "core/channel/channel.c",
        "        ch->tail = item;\n    }\n    add_to_count(ch, 1);\n"
        "    news taken = take_news(ch, SI_SIDE_GET);",
        "        ch->tail = item;\n    }\n    add_to_count(ch, 1);\n"
        "    news taken = {NULL, NULL};",
    ),
    (
        "watches_are_forgotten",
        "channel",
        "core/channel/channel.c",
        "        taken.watches = ch->watches[side];\n",
        "",
    ),
    (
        "watch_takes_the_wake_up",
        "channel",
        "core/channel/channel.c",
        "    news taken = {wake_one(ch, side), NULL};",
        "    news taken = {ch->watches[side] ? NULL : wake_one(ch, side), NULL};",
    ),
    (
        "watch_without_a_second_look",
        "channel",
        "core/channel/channel.c",
        "    bool now = may_succeed(ch, side);",
        "    bool now = false;",
    ),
    (
        "signalled_after_the_lock",
        "channel",
        "core/channel/channel.c",
        "    si_mutex_unlock(&ch->mu);\n    tell(taken);\n"
        "    return SI_OK;\n}\n\nsi_status",
        "    si_mutex_unlock(&ch->mu);\n    if (taken.waiter) {\n"
        "        si_load_relaxed(&taken.waiter->word);\n    }\n"
        "    tell(taken);\n    return SI_OK;\n}\n\nsi_status",
    ),
    (
        "park_overwrites_a_signal",
        "channel",
        "core/wait/waiter.c",
        "if (!si_cas_acq_rel(&w->word, &state, SI_WAITER_PARKED)) {",
        "si_store_release(&w->word, SI_WAITER_PARKED);\n    if (false) {",
    ),
    (
        "parked_needs_no_kick",
        "channel",
        "core/wait/waiter.c",
        "return state == SI_WAITER_PARKED;",
        "return false;",
    ),
    (
        "signal_without_cas",
        "channel",
        "core/wait/waiter.c",
        "while (!si_cas_acq_rel(&w->word, &state, how));",
        "while (si_store_release(&w->word, how), false);",
    ),
    (
        "entry_without_cas",
        "gate",
        "core/registry/gate.c",
        "while (!si_cas_acq_rel(&g->word, &word, word + 1));",
        "while (si_store_release(&g->word, word + 1), false);",
    ),
    (
        "last_entry_wakes_nobody",
        "gate",
        "core/registry/gate.c",
        "(after & ENTRIES) == 0 && (after & (CLOSING | CLOSED)) != 0;",
        "(after & ENTRIES) == ENTRIES;",
    ),
    (
        "who_is_wanted_wakes_nobody",
        "gate",
        "core/registry/gate.c",
        "(before & WANTED) != 0",
        "(before & WANTED) == WANTED + 1",
    ),
    (
        "wanted_is_not_said",
        "gate",
        "core/registry/gate.c",
        "!si_cas_acq_rel(&g->word, &word, word | WANTED)",
        "!si_cas_acq_rel(&g->word, &word, word)",
    ),
    (
        "interrupt_leaves_no_mark",
        "gate",
        "core/wait/waiter.c",
        "word | w->mark",
        "word",
    ),
    (
        "mark_is_taken_away_unseen",
        "gate",
        "core/registry/gate.c",
        "if (si_waiter_is_woken(w)) {",
        "if (slept != SI_OK && si_waiter_is_woken(w)) {",
    ),
    (
        "leaver_looks_again",
        "gate",
        "core/registry/gate.c",
        "uint32_t after = before - entry;",
        "uint32_t after = si_load_acquire(&g->word);",
    ),
    (
        "wakes_one_instead_of_all",
        "gate",
        "core/registry/gate.c",
        "si_futex_wake(&g->word, INT_MAX);\n    }",
        "si_futex_wake(&g->word, 1);\n    }",
    ),
    (
        "end_wakes_nobody",
        "gate",
        "core/registry/gate.c",
        "    }\n    si_futex_wake(&g->word, INT_MAX);\n",
        "    }\n",
    ),
    (
        "two_exclusive_entries",
        "gate",
        "core/registry/gate.c",
        "        if (word & EXCLUSIVE) {\n            return SI_BUSY;\n        }\n",
        "",
    ),
    (
        "two_closers",
        "gate",
        "core/registry/gate.c",
        "        if (word & (CLOSING | CLOSED)) {\n"
        "            return SI_CLOSED;\n        }\n        if (refuse_running",
        "        if (refuse_running",
    ),
    (
        "reopening_a_forced_end",
        "gate",
        "core/registry/gate.c",
        "(word & ~CLOSING) | flags",
        "(word & ~(CLOSING | CLOSED)) | flags",
    ),
    (
        "mutex_forgets_sleepers",
        "mutex",
        "core/platform/mutex.c",
        "while (si_swap_acquire(&mu->word, SI__MUTEX_CONTENDED) != SI__MUTEX_FREE) {",
        "while (si_swap_acquire(&mu->word, SI__MUTEX_LOCKED) != SI__MUTEX_FREE) {",
    ),
    (
        "mutex_wakes_nobody",
        "mutex",
        "core/platform/mutex.c",
        "    si_futex_wake(&mu->word, 1);\n",
        "    (void)mu;\n",
    ),
    (
        "mutex_does_not_exclude",
        "mutex",
        "core/platform/mutex.c",
        "if (si_cpu_count() > 1 && spin_for(mu)) {",
        "if (si_cpu_count() > 0) {",
    ),
]


def passes(compiler, model, folder, broken=None):
    """Whether the model test passes, with one of its sources replaced."""
    shadows = [MODEL / "shadow"]
    if model != "mutex":
        shadows.append(MODEL / "shadow_mutex")
    sources = [MODEL / "explorer.c", MODEL / f"test_model_{model}.c"]
    for name in SOURCES[model]:
        path = ROOT / name
        if broken is not None and broken[0] == name:
            path = folder / "broken.c"
            path.write_text(broken[1])
        sources.append(path)
    program = folder / "program"
    includes = [f"-I{path}" for path in [*shadows, ROOT]]
    subprocess.run(
        [
            *compiler,
            "-std=c11",
            "-D_GNU_SOURCE",
            "-O1",
            "-w",
            *includes,
            "-o",
            program,
            *sources,
            "-lcmocka",
            "-pthread",
        ],
        check=True,
    )
    try:
        done = subprocess.run(
            [program],
            timeout=TIME_LIMIT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def report(name, ok):
    print(f"[{'       OK' if ok else '  FAILED '} ] {name}", flush=True)
    return ok


def check_mutant(compiler, folder, name, model, file, old, new):
    text = (ROOT / file).read_text()
    if text.count(old) != 1:
        print(f"{name}: found {text.count(old)} times in {file}: {old!r}")
        return report(name, False)
    return report(
        name, not passes(compiler, model, folder, (file, text.replace(old, new)))
    )


def main():
    compiler = sys.argv[1:] or ["cc"]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        results = [
            report(f"unbroken_{model}", passes(compiler, model, folder))
            for model in SOURCES
        ]
        results += [check_mutant(compiler, folder, *mutant) for mutant in MUTANTS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
