"""stress.py SECONDS [ROUNDS]: NumPy, pydantic, lxml, greenlet in two interpreters.

Both work at the same time for that long, and until each has done so many rounds. A
round is all four, in an order that a seed decides; every result is compared with the
main interpreter's. Prints the number of rounds of each.
"""

import random
import sys
import threading
import time

import catalogue
import subinterpreters
import worker

PACKAGES = ("numpy", "pydantic", "lxml", "greenlet")


def main() -> None:
    seconds = float(sys.argv[1])
    at_least = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    expected = {p: worker.run(catalogue.ALL[p], None) for p in PACKAGES}
    interps = [subinterpreters.create() for _ in range(2)]
    rounds = [0] * len(interps)
    errors: list[BaseException] = []
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        order = random.Random(number)
        try:
            while not errors and (time.monotonic() < end or rounds[number] < at_least):
                for package in order.sample(PACKAGES, len(PACKAGES)):
                    source = catalogue.ALL[package]
                    worker.check(source, interps[number], expected[package])
                rounds[number] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(interps))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for interp in interps:
        interp.close()
    if errors:
        raise errors[0]
    print(*rounds)


if __name__ == "__main__":
    main()
