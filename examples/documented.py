"""The example of the documentation of ``concurrent.interpreters``: the same statements.

Run it on any version of Python from 3.12 on:

    python -m subinterpreters run examples/documented.py
"""

from concurrent import interpreters

interp = interpreters.create()

# Run in the current OS thread.

interp.exec('print("spam!")')

interp.exec("""if True:
    print('spam!')
    """)

from textwrap import dedent  # noqa: E402

interp.exec(
    dedent("""
    print('spam!')
    """)
)


def run():
    print("spam!")


interp.call(run)

# Run in new OS thread.

t = interp.call_in_thread(run)
t.join()
