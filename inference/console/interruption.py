"""End a command in order on ctrl-C, SIGTERM or a closed terminal: keep finished work, tell it by the exit code."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EXIT_CODE = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ENDING = {signal.SIGTERM, signal.SIGHUP}
_masks = threading.local()  # the forking thread's signal mask from before the fork


class Interrupted(BaseException):
    """The user or the system asked the program to end; not an `Exception`, so that no loop over scans catches it."""


@contextmanager
def signals_raise() -> Iterator[None]:
    """Make the signals raise `Interrupted` while the block runs; signals that are ignored (nohup, `&`) stay ignored."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def signals_as_usual() -> None:
    """Restore the signals' usual effect, because a signal is the normal end of a server and not a failure."""
    for number in SIGNALS:
        if signal.getsignal(number) is _interrupt:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


def _interrupt(number: int, frame: Any) -> None:
    raise Interrupted(signal.Signals(number).name)


# A pool ends its processes by SIGTERM. Python forgets a signal that comes before a new process is set up, if the signal
# has a handler, and the pool then waits forever. So the signals wait for a fork, and end the new process as usual.
def _hold_signals() -> None:
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _release_in_child() -> None:
    for number in _ENDING:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_DFL)
    _release_signals()


os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_release_in_child)
