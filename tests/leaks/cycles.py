"""Create, use and close interpreters many times, and say what that left behind.

    python cycles.py [--count N] [--rounds N] [--use WHAT]
                     [--implementation ours|stdlib]

Prints one JSON object: growth of the resident memory in KB, of this interpreter's
memory blocks, of open files and of threads, in a round of N cycles after the warm-up.
With several rounds it is the least growth: what leaks does so in every round, while
caches and tables that grow do it in one.
"""

import argparse
import gc
import json
import os
import sys

USES = {
    "nothing": lambda interp: None,
    "exec": lambda interp: interp.exec("x = 1"),
    "call": lambda interp: interp.call(eval, "[1, 'two']"),
    "error": lambda interp: fail(interp),
    "prepare_main": lambda interp: interp.prepare_main(x=1, y="two", z=(3, b"4")),
    "imports": lambda interp: interp.exec("import json, threading, datetime, decimal"),
    "thread": lambda interp: interp.call_in_thread(len, ()).join(),
    "queue": lambda interp: use_queue(interp),
}


def fail(interp):
    try:
        interp.exec("1/0")
    except module.ExecutionFailed:
        pass


def use_queue(interp):
    queue = module.create_queue()
    interp.prepare_main(queue=queue)
    interp.exec("queue.put([1, 'two']); queue.put(b'x' * 1000)")
    queue.get()


def resident():
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def measure():
    gc.collect()
    return {
        "blocks": sys.getallocatedblocks(),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "rss": resident(),
    }


def cycle(count, use):
    for _ in range(count):
        interp = module.create()
        use(interp)
        interp.close()


def grow(count, use):
    before = measure()
    cycle(count, use)
    after = measure()
    return {name: after[name] - before[name] for name in before}


def main():
    global module
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--implementation", choices=["ours", "stdlib"], default="ours")
    parser.add_argument("--use", choices=USES, default="exec")
    options = parser.parse_args()
    if options.implementation == "ours":
        import subinterpreters as module
    else:
        from concurrent import interpreters as module

    use = USES[options.use]
    cycle(options.warm_up, use)
    measure()  # what the first measuring itself leaves behind does not count
    growth = [grow(options.count, use) for _ in range(options.rounds)]
    print(json.dumps({name: min(g[name] for g in growth) for name in growth[0]}))


if __name__ == "__main__":
    main()
