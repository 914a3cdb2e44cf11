"""Loaded by `site` in every process and interpreter of a conformance run.

It puts the implementation in place before anything else is imported, and notes
whether the code that is run reaches ours.
"""

import os
import sys

TOOL = 4
NAMES = ("concurrent.interpreters", "concurrent.futures.interpreter")


class Watch:
    """Notices calls of functions and methods of ours in this interpreter."""

    def __init__(self, note):
        self.note = note
        self._ours = None

    def _is_ours(self, function):
        if self._ours is None:
            namespace = vars(sys.modules["subinterpreters"])
            values = [*namespace.values(), *vars(namespace["_core"]).values()]
            self._ours = {id(value) for value in values}
        owner = getattr(function, "__objclass__", None)
        if owner is None:
            owner = type(getattr(function, "__self__", None))
        return id(function) in self._ours or id(owner) in self._ours

    def _called(self, code, offset, function, argument):
        try:
            if not self._is_ours(function):
                return sys.monitoring.DISABLE
        except MemoryError:  # A test makes every allocation fail.
            return None
        self.note()
        return None

    def start(self):
        sys.monitoring.use_tool_id(TOOL, "conformance")
        sys.monitoring.register_callback(TOOL, sys.monitoring.events.CALL, self._called)
        self.on()

    def on(self):
        sys.monitoring.restart_events()
        sys.monitoring.set_events(TOOL, sys.monitoring.events.CALL)

    def off(self):
        sys.monitoring.set_events(TOOL, 0)


def note_in_file():
    """Tells the worker, from another process or interpreter, by one byte."""
    fd = os.open(os.environ["CONFORMANCE_REACHED"], os.O_WRONLY | os.O_APPEND)
    os.write(fd, b".")
    os.close(fd)
    watch.off()


class Finder:
    """Installs ours when the module is first asked for.

    Not before: most interpreters of the tests never ask, and each would take longer
    to make.
    """

    def find_spec(self, name, path=None, target=None):
        if name.startswith(NAMES):
            sys.meta_path.remove(self)
            import subinterpreters

            subinterpreters.install()
            watch.start()
            return sys.meta_path[0].find_spec(name, path, target)
        return None


watch = Watch(note_in_file)

if os.environ["CONFORMANCE_IMPLEMENTATION"] == "ours":
    sys.meta_path.insert(0, Finder())
