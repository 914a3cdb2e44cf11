"""Pi by throwing darts, with NumPy where it is installed, on all CPUs.

python examples/monte_carlo.py [DARTS]
"""

import math
import sys

from subinterpreters import InterpreterPoolExecutor

TASKS = 64


def throw(seed, darts):
    """Return how many of *darts* hit the quarter circle."""
    try:
        import numpy
    except ImportError:
        import random

        draw = random.Random(seed).random
        return sum(draw() ** 2 + draw() ** 2 <= 1.0 for _ in range(darts))
    darts = numpy.random.default_rng(seed).random((darts, 2))
    return int(((darts**2).sum(axis=1) <= 1.0).sum())


def main():
    each = (int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000) // TASKS
    with InterpreterPoolExecutor() as pool:
        hits = sum(pool.map(throw, range(TASKS), [each] * TASKS, chunksize=1))
    pi = 4 * hits / (each * TASKS)
    print(f"pi is about {pi:.4f}, off by {abs(pi - math.pi):.4f}")


if __name__ == "__main__":
    main()
