"""Mark whose folder this is by a file with the settings that its content depends on, and refuse other settings."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .foreign_files import read_json_object

MAX_BYTES = 64 << 20  # an ablation's results are such a file too
MOST_NAMED = 3  # changed settings that an error names
LONGEST_VALUE = 40  # letters of a setting's value in an error


def claim_for_settings(
    path: Path,
    settings: Mapping[str, Any],
    *,
    write: Callable[[], None] | None = None,
    settings_in: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    owned: Path | None = None,
    advice: str = "choose another folder or move it away",
) -> None:
    """Write the file that says whose folder this is, or check that it says the same.

    Args:
        path: the file.
        settings: everything that the folder's content depends on.
        write: writes the file if it is not there; without it, nothing is written then.
        settings_in: returns the settings out of the file's content, which may hold more.
        owned: what belongs to the settings. Default: the file's folder.
        advice: what the user can do, for the error.

    Raises:
        ValueError: naming the settings that are not those of the file; or if the file is damaged.
        OSError: if it cannot be written.
    """
    if not path.exists():
        if write is not None:
            write()
        return
    content = read_json_object(path, MAX_BYTES, max_values=None)
    try:
        kept = dict(settings_in(content))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path}: does not say which settings it belongs to; {advice}") from None
    changed = [name for name in sorted({*kept, *settings}) if _said(kept, name) != _said(settings, name)]
    if changed:
        named = [_difference(name, kept.get(name), settings.get(name)) for name in changed[:MOST_NAMED]]
        named += [f"{len(changed) - MOST_NAMED} more"] * (len(changed) > MOST_NAMED)
        raise ValueError(f"{owned or path.parent}: was made with other settings ({', '.join(named)}); {advice}")


def _said(settings: Mapping[str, Any], name: str) -> str:
    """Return a setting as it stands in a file, where a tuple is a list; one that is not there counts as None."""
    return json.dumps(settings.get(name), sort_keys=True)


def _difference(name: str, kept: Any, now: Any) -> str:
    if any(isinstance(value, dict | list | tuple) or len(str(value)) > LONGEST_VALUE for value in (kept, now)):
        return name
    return f"{name} {kept}, not {now}"
