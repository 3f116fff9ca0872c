"""Small damages to a file's bytes."""

from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import strategies as st

KINDS = ("set", "flip", "insert", "delete", "cut", "zero", "append")


@dataclass(frozen=True)
class Edit:
    """One damage.

    Attributes:
        kind: one of `KINDS`; "cut" drops all from the place on, "append" adds at the end.
        place: in bytes from the file's start; beyond its end it wraps around.
        value: the bytes set, inserted or appended; its length is how much "delete" and "zero" take.
    """

    kind: str
    place: int
    value: bytes


def byte_edits(near: int) -> st.SearchStrategy[Edit]:
    """Draw a damage, half of them within the first `near` bytes."""
    places = st.integers(0, max(near - 1, 0)) | st.integers(0, 1 << 16)
    values = st.binary(min_size=1, max_size=8) | st.sampled_from(
        (b"\0" * 4, b"\xff" * 4, b"\n", b"\x7f\xff", b"\x1f\x8b")
    )
    return st.builds(Edit, st.sampled_from(KINDS), places, values)


def apply_edits(content: bytes, edits: Iterable[Edit]) -> bytes:
    """Return the content with all damages done, in order."""
    for edit in edits:
        content = _apply(content, edit)
    return content


def _apply(content: bytes, edit: Edit) -> bytes:
    place, size = edit.place % (len(content) or 1), len(edit.value)
    before, after = content[:place], content[place + size :]
    if edit.kind == "flip":
        there = content[place : place + size]
        return before + bytes(one ^ other for one, other in zip(there, edit.value, strict=False)) + after
    changed = {
        "set": before + edit.value + after,
        "insert": before + edit.value + content[place:],
        "delete": before + after,
        "cut": before,
        "zero": before + bytes(size) + after,
        "append": content + edit.value,
    }
    return changed[edit.kind]
