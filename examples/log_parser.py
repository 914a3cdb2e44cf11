"""A large log, parsed by all CPUs: chunks of lines in, counts out.

    python examples/log_parser.py [LOGFILE]

Without a file it makes up a log. Only two chunks per worker are under way at a time, so
the size of the log does not matter.
"""

import sys
from collections import Counter
from itertools import islice

from subinterpreters import InterpreterPoolExecutor

LINES = 20_000


def count_status(lines):
    """Count the status codes of some lines of an access log."""
    import re

    find = re.compile(r'" (\d{3}) ').search
    counts = {}
    for line in lines:
        match = find(line)
        status = match.group(1) if match else "unreadable"
        counts[status] = counts.get(status, 0) + 1
    return counts


def made_up_log(lines=400_000):
    for n in range(lines):
        status = (200, 200, 200, 304, 404, 500)[n % 6]
        yield f'10.0.0.{n % 256} - - "GET /item/{n} HTTP/1.1" {status} {n}\n'


def chunks(lines):
    lines = iter(lines)
    while chunk := list(islice(lines, LINES)):
        yield chunk


def main():
    log = open(sys.argv[1]) if len(sys.argv) > 1 else made_up_log()
    total = Counter()
    with InterpreterPoolExecutor() as pool:
        for counts in pool.map(count_status, chunks(log), chunksize=1, buffersize=8):
            total.update(counts)
    for status, count in total.most_common():
        print(f"{status:>10} {count}")


if __name__ == "__main__":
    main()
