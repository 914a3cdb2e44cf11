"""Create, use and close interpreters many times, and say what that left behind.

    python cycles.py [--count N] [--implementation ours|stdlib] [--use WHAT]

Prints one JSON object: growth of the resident memory in KB, of this interpreter's
memory blocks, of open files and of threads, from after the warm-up to the end.
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


def main():
    global module
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
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
    before = measure()
    cycle(options.count, use)
    after = measure()
    print(json.dumps({name: after[name] - before[name] for name in before}))


if __name__ == "__main__":
    main()
