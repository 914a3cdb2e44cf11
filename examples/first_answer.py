"""A search that stops as soon as one worker has found an answer.

Each task looks for a number whose digest begins with enough zeros, in a range of its
own. The first hit cancels what waits and interrupts what runs.

    python examples/first_answer.py [ZEROS]
"""

import sys
from concurrent.futures import FIRST_COMPLETED, wait

from subinterpreters import InterpreterPoolExecutor

STEP = 50_000


def search(start, zeros):
    """Return a number in the range whose digest begins with *zeros*, or None."""
    import hashlib

    for number in range(start, start + STEP):
        if hashlib.sha256(str(number).encode()).hexdigest().startswith("0" * zeros):
            return number
    return None


def main():
    zeros = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    with InterpreterPoolExecutor() as pool:
        running = {pool.submit(search, n * STEP, zeros) for n in range(64)}
        answer = None
        while running and answer is None:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            answer = next((f.result() for f in done if f.result() is not None), None)
        stopped = sum(future.interrupt() for future in running)
    print(f"{answer} begins with {zeros} zeros; {stopped} tasks were stopped")


if __name__ == "__main__":
    main()
