"""Define the allowed forms of settings in files by others: each is a test and a description for messages."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LETTERS_SHOWN, _NAME_SHOWN = 60, 100


@dataclass(frozen=True)
class Form:
    """An allowed form of a setting.

    Attributes:
        expected: description in words, after "must be".
        accepts: returns whether a value from JSON or YAML has this form.
    """

    expected: str
    accepts: Callable[[Any], bool]

    def or_none(self) -> "Form":
        """Return a form that also accepts null, which means not set."""
        return Form(self.expected, lambda value: value is None or self.accepts(value))


def number(low: float, high: float) -> Form:
    """Return a form for numbers from `low` to `high`, whole or not."""
    return Form(f"a number from {low:,} to {high:,}", lambda value: _is_number(value) and low <= value <= high)


def whole(low: int, high: int) -> Form:
    """Return a form for whole numbers from `low` to `high`."""
    return Form(
        f"a whole number from {low:,} to {high:,}",
        lambda value: _is_number(value) and isinstance(value, int) and low <= value <= high,
    )


def word(*known: str) -> Form:
    """Return a form for one of a few words."""
    return Form(f"one of {', '.join(known)}", lambda value: isinstance(value, str) and value in known)


def text(most: int) -> Form:
    """Return a form for a text of 1 to `most` letters."""
    return Form(f"a text of at most {most:,} letters", lambda value: isinstance(value, str) and 0 < len(value) <= most)


def list_of(form: Form, least: int, most: int) -> Form:
    """Return a form for a list of `least` to `most` values of a form."""
    count = f"{least}" if least == most else f"{least} to {most:,}"
    return Form(
        f"a list of {count}, each {form.expected}",
        lambda value: isinstance(value, list) and least <= len(value) <= most and all(map(form.accepts, value)),
    )


def tuple_of(*forms: Form) -> Form:
    """Return a form for a list with one value for each of the given forms, in their order."""
    return Form(
        f"a list of {len(forms)}: {' and '.join(form.expected for form in forms)}",
        lambda value: (
            isinstance(value, list)
            and len(value) == len(forms)
            and all(form.accepts(part) for form, part in zip(forms, value, strict=True))
        ),
    )


def rising(low: float, high: float, step: float) -> Form:
    """Return a form for two numbers from `low` to `high`, the second at least `step` above the first."""
    pair = list_of(number(low, high), 2, 2)
    return Form(
        f"two numbers from {low:,} to {high:,}, the second at least {step:g} above the first",
        lambda value: pair.accepts(value) and value[1] - value[0] >= step,
    )


def either(*forms: Form) -> Form:
    """Return a form that accepts what any of several forms accepts."""
    return Form(" or ".join(form.expected for form in forms), lambda value: any(form.accepts(value) for form in forms))


FLAG = Form("true or false", lambda value: isinstance(value, bool))
MAPPING = Form("a mapping of settings", lambda value: isinstance(value, dict))
LEFT_OUT = Form("left out", lambda value: value is None)
OFF = Form("left out", lambda value: value is None or value is False)


def _is_number(value: Any) -> bool:
    # A whole number with hundreds of digits cannot become a float.
    return type(value) is int or isinstance(value, float) and math.isfinite(value)


def shown(value: Any) -> str:
    """Describe a value in a few words: the value itself if it is short, otherwise its type and length."""
    told = "" if isinstance(value, list | dict) and len(value) > 4 else repr(value)[: _LETTERS_SHOWN + 1]
    if 0 < len(told) <= _LETTERS_SHOWN:
        return printable(told)
    if isinstance(value, str | list | dict):
        unit = "letters" if isinstance(value, str) else "entries"
        kind = {str: "a text", list: "a list", dict: "a mapping"}[type(value)]
        return f"{kind} of {len(value):,} {unit}"
    return "a long whole number"


def printable(name: str) -> str:
    """Return a name from a file in a form that fits into one line of a message."""
    cut = name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}..."
    return "".join(letter if " " <= letter <= "~" else "?" for letter in cut)
