"""The forms that a setting out of somebody else's file may have: each a test, and words for who is told."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LETTERS_SHOWN, _NAME_SHOWN = 60, 100


@dataclass(frozen=True)
class Form:
    """What a setting may be.

    Attributes:
        expected: in words, after "must be".
        accepts: whether a value out of JSON or YAML is so.
    """

    expected: str
    accepts: Callable[[Any], bool]

    def or_none(self) -> "Form":
        """Take null too, which says that nothing is set."""
        return Form(self.expected, lambda value: value is None or self.accepts(value))


def number(low: float, high: float) -> Form:
    """Take numbers from `low` to `high`, whole or not."""
    return Form(f"a number from {low:,} to {high:,}", lambda value: _is_number(value) and low <= value <= high)


def whole(low: int, high: int) -> Form:
    """Take whole numbers from `low` to `high`."""
    return Form(
        f"a whole number from {low:,} to {high:,}",
        lambda value: _is_number(value) and isinstance(value, int) and low <= value <= high,
    )


def word(*known: str) -> Form:
    """Take one of a few words."""
    return Form(f"one of {', '.join(known)}", lambda value: isinstance(value, str) and value in known)


def text(most: int) -> Form:
    """Take a text of 1 to `most` letters."""
    return Form(f"a text of at most {most:,} letters", lambda value: isinstance(value, str) and 0 < len(value) <= most)


def list_of(form: Form, least: int, most: int) -> Form:
    """Take a list of `least` to `most` values of a form."""
    count = f"{least}" if least == most else f"{least} to {most:,}"
    return Form(
        f"a list of {count}, each {form.expected}",
        lambda value: isinstance(value, list) and least <= len(value) <= most and all(map(form.accepts, value)),
    )


def tuple_of(*forms: Form) -> Form:
    """Take a list of as many values as there are forms, each of its own."""
    return Form(
        f"a list of {len(forms)}: {' and '.join(form.expected for form in forms)}",
        lambda value: (
            isinstance(value, list)
            and len(value) == len(forms)
            and all(form.accepts(part) for form, part in zip(forms, value, strict=True))
        ),
    )


def rising(low: float, high: float, step: float) -> Form:
    """Take a pair of numbers from `low` to `high`, the second above the first by `step` at least."""
    pair = list_of(number(low, high), 2, 2)
    return Form(
        f"two numbers from {low:,} to {high:,}, the second at least {step:g} above the first",
        lambda value: pair.accepts(value) and value[1] - value[0] >= step,
    )


def either(*forms: Form) -> Form:
    """Take what one of several forms takes."""
    return Form(" or ".join(form.expected for form in forms), lambda value: any(form.accepts(value) for form in forms))


FLAG = Form("true or false", lambda value: isinstance(value, bool))
MAPPING = Form("a mapping of settings", lambda value: isinstance(value, dict))
LEFT_OUT = Form("left out", lambda value: value is None)
OFF = Form("left out", lambda value: value is None or value is False)


def _is_number(value: Any) -> bool:
    # A whole number of hundreds of digits is no float.
    return type(value) is int or isinstance(value, float) and math.isfinite(value)


def shown(value: Any) -> str:
    """Say in a few words what a value is: itself if it is short, otherwise its kind and how long it is."""
    told = "" if isinstance(value, list | dict) and len(value) > 4 else repr(value)[: _LETTERS_SHOWN + 1]
    if 0 < len(told) <= _LETTERS_SHOWN:
        return printable(told)
    if isinstance(value, str | list | dict):
        unit = "letters" if isinstance(value, str) else "entries"
        kind = {str: "a text", list: "a list", dict: "a mapping"}[type(value)]
        return f"{kind} of {len(value):,} {unit}"
    return "a long whole number"


def printable(name: str) -> str:
    """Make a name out of a file fit for a line of a message."""
    cut = name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}..."
    return "".join(letter if " " <= letter <= "~" else "?" for letter in cut)
