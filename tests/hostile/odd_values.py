"""Values that no honest JSON file has, put in the place of each of its own."""

import json
from collections.abc import Iterator
from typing import Any

# As they stand in a file: a parser of JSON takes them all.
ODD = {
    "null": "null",
    "no letters": '""',
    "letters": '"abc"',
    "below zero": "-1",
    "zero": "0",
    "large": "1e308",
    "not a number": "NaN",
    "infinite": "-Infinity",
    "no float": "1" + "0" * 400,
    "empty list": "[]",
    "empty mapping": "{}",
    "true": "true",
    "deep": "[" * 1000 + "]" * 1000,
    "a million letters": '"' + "x" * 1_000_000 + '"',
    "many": "[" + ",".join(["1"] * 10_000) + "]",
    "class": '{"type": "subprocess.Popen", "args": ["false"]}',
    "jsonnet": "\"std.extVar('HOME')\"",
}
_PLACE = "@@ odd @@"


def places_in(content: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give the path of every setting, and of those inside of it."""
    for name, value in content.items():
        yield (*before, name)
        if isinstance(value, dict):
            yield from places_in(value, (*before, name))


def with_odd(content: dict[str, Any], place: tuple[str, ...], odd: str) -> str:
    """Return JSON with a value of `ODD` at one place."""
    copy = json.loads(json.dumps(content))
    inner = copy
    for name in place[:-1]:
        inner = inner.setdefault(name, {})
    inner[place[-1]] = _PLACE
    return json.dumps(copy).replace(f'"{_PLACE}"', ODD[odd])
