"""Ctrl-C, SIGTERM and a closed terminal end a command in order: what is finished is kept, and the exit code says so."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EXIT_CODE = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The user or the system asked the program to end; not an `Exception`, so that no loop over scans swallows it."""


@contextmanager
def signals_raise() -> Iterator[None]:
    """Let the signals raise `Interrupted` while the block runs; those that are ignored (nohup, `&`) stay ignored."""
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
    """Give the signals back their usual effect: a server ends by them, and that is no failure."""
    for number in SIGNALS:
        if signal.getsignal(number) is _interrupt:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


def _interrupt(number: int, frame: Any) -> None:
    raise Interrupted(signal.Signals(number).name)
