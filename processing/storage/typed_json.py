"""Convert dataclasses to JSON and back; a value of another type than its field is an error of one line."""

import sys
import types
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Made = TypeVar("Made")
_LONGEST_SHOWN = 40
_NAMES = {
    dict: "a mapping",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
_TAKEN: dict[type, Any] = {float: int | float}
_LARGEST = sys.float_info.max


def to_json(value: Any) -> Any:
    """Convert a dataclass, and everything in it, to JSON values; a field that has its default is left out."""
    if is_dataclass(value):
        own = ((field, getattr(value, field.name)) for field in fields(value))
        return {field.name: to_json(content) for field, content in own if content != _default(field)}
    if isinstance(value, dict):
        return {name: to_json(content) for name, content in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(content) for content in value]
    return value


def _default(field: Field) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def from_json(kind: type[Made], content: Any, place: str = "") -> Made:
    """Make a dataclass from JSON values; its fields are numbers, texts, dataclasses, and mappings and lists of these.

    Args:
        kind: the dataclass.
        content: the JSON value.
        place: name of the value in error messages.

    Raises:
        ValueError: if a field is missing or unknown, or its value is of another type; the message names its place.
    """
    return _made(kind, content, place)


def _made(kind: Any, content: Any, place: str) -> Any:
    origin = get_origin(kind)
    if kind in (Any, object):
        return content
    if origin in (Union, types.UnionType):
        return None if content is None else _made(_without_none(kind), content, place)
    if is_dataclass(kind):
        return _made_dataclass(kind, _checked(dict, content, place), place)
    if origin is dict:
        of = get_args(kind)[1]
        return {name: _made(of, one, _join(place, name)) for name, one in _checked(dict, content, place).items()}
    if origin in (list, tuple):
        return origin(_made(get_args(kind)[0], one, place) for one in _checked(list, content, place))
    return _checked(kind, content, place)


def _made_dataclass(kind: Any, content: dict[str, Any], place: str) -> Any:
    known = {field.name: field for field in fields(kind)}
    if unknown := sorted(map(str, content.keys() - known.keys())):
        raise ValueError(f"{_named(place)}has an unknown {', '.join(unknown)}")
    needed = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    if missing := sorted(needed - content.keys()):
        raise ValueError(f"{_named(place)}has no {', '.join(missing)}")
    hints = get_type_hints(kind)
    return kind(**{name: _made(hints[name], value, _join(place, name)) for name, value in content.items()})


def _without_none(kind: Any) -> Any:
    (other,) = (part for part in get_args(kind) if part is not types.NoneType)
    return other


def _checked(kind: type, content: Any, place: str) -> Any:
    """Return a value that has the type; a whole number will do for a number."""
    is_of_type = isinstance(content, _TAKEN.get(kind, kind)) and (kind is bool or not isinstance(content, bool))
    # JSON may hold whole numbers that no float can.
    if not is_of_type or (kind is float and isinstance(content, int) and abs(content) > _LARGEST):
        shown = repr(content)
        shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."
        raise ValueError(f"{_named(place)}expected {_NAMES[kind]}, got {shown}")
    return content


def _join(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def _named(place: str) -> str:
    return f"{place}: " if place else ""
