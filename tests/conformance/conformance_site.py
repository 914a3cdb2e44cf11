"""Loaded by `site` in every process and interpreter of a conformance run.

It puts the implementation in place before anything else is imported, and notes
whether the code that is run reaches ours.
"""

import os
import sys

IMPLEMENTATION = os.environ.get("CONFORMANCE_IMPLEMENTATION")
TOOL = 4


class Watch:
    """Notices the first call of a function or method of ours in this interpreter."""

    def __init__(self, note):
        self._note = note
        self._ours = None

    def _is_ours(self, function):
        if self._ours is None:
            namespace = vars(sys.modules["subinterpreters"])
            self._ours = {id(value) for value in namespace.values()}
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
        self._note()
        return None

    def start(self):
        monitoring = sys.monitoring
        monitoring.use_tool_id(TOOL, "conformance")
        monitoring.register_callback(TOOL, monitoring.events.CALL, self._called)
        self.on()

    def on(self):
        sys.monitoring.restart_events()
        sys.monitoring.set_events(TOOL, sys.monitoring.events.CALL)

    def off(self):
        sys.monitoring.set_events(TOOL, 0)


def note_in_file():
    """Another process or interpreter tells the worker by one byte."""
    fd = os.open(os.environ["CONFORMANCE_REACHED"], os.O_WRONLY | os.O_APPEND)
    os.write(fd, b".")
    os.close(fd)
    watch.off()


watch = Watch(note_in_file)

if IMPLEMENTATION == "ours":
    import subinterpreters

    subinterpreters.install()
    # The worker's main interpreter watches test by test.
    current = subinterpreters.get_current()
    if current.id != 0 or os.environ.get("CONFORMANCE_WORKER") != str(os.getppid()):
        watch.start()
    del current
