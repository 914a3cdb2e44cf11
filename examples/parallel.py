"""CPU-bound work in several interpreters: as fast as with processes, in one process.

Run it:

    python examples/parallel.py [WORKERS]
"""

import sys
import time

import subinterpreters as interpreters


def count_primes(start, stop):
    """Return how many primes are in range(start, stop), the slow way."""

    def is_prime(number):
        return number > 1 and all(
            number % divisor for divisor in range(2, int(number**0.5) + 1)
        )

    return sum(map(is_prime, range(start, stop)))


def serve(work, results, count_primes):
    """Run in a worker: take ranges from *work* until there is None."""
    while (job := work.get()) is not None:
        results.put(count_primes(*job))


def main(workers):
    jobs = [(start, start + 10_000) for start in range(0, 400_000, 10_000)]
    work = interpreters.create_queue()
    results = interpreters.create_queue()
    started = time.perf_counter()
    interps = [interpreters.create() for _ in range(workers)]
    threads = [
        interp.call_in_thread(serve, work, results, count_primes) for interp in interps
    ]
    for job in jobs + workers * [None]:
        work.put(job)
    primes = sum(results.get() for _ in jobs)
    for thread, interp in zip(threads, interps, strict=True):
        thread.join()
        interp.close()
    took = time.perf_counter() - started
    print(f"{primes:,} primes below 400,000, {workers} interpreters: {took:.2f} s")


if __name__ == "__main__":
    for workers in [int(sys.argv[1])] if len(sys.argv) > 1 else (1, 2):
        main(workers)
