"""Orderly end of a command on ctrl-C, SIGTERM or a closed terminal: finished work is kept, the exit code tells it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EXIT_CODE = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
