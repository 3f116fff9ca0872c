"""Keep the names of a study's readers, and the secret in each reader's link, which identifies the reader."""

import hmac
import json
import re
import secrets
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from argus_processing.storage.whole_files import read_json, whole_file

READERS_FILE = "readers.json"
LONGEST_NAME = 40
SECRET_BYTES = 24
SECRET_LETTERS = SECRET_BYTES * 4 // 3  # in base64
# Invisible characters: joiners, fillers, variation selectors.
UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u200c\u200d\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
ALIKE = str.maketrans({"\u2010": "-", "\u2011": "-", "\u2019": "'", "\u02bc": "'"})
NAME_SIGNS = " .,-'\u2010\u2011\u2019\u02bc\u00b7\u200c\u200d"  # hyphens, apostrophes, the Catalan dot, joiners


def clean_reader(name: Any) -> str:
    """Return a reader's name as it is kept: composed letters (Unicode NFC), single spaces.

    Raises:
        ValueError: if it is empty, too long, or holds characters that no name has: slashes, brackets, control
            characters.
    """
    kept = " ".join(unicodedata.normalize("NFC", name if isinstance(name, str) else "").split())
    letters = [unicodedata.category(letter)[0] for letter in kept if letter not in NAME_SIGNS]
    if not 0 < len(kept) <= LONGEST_NAME or not set(letters) <= set("LMN") or not {"L", "N"} & set(letters):
        raise ValueError(
            f"a reader's name has letters, digits, spaces, dots, dashes and apostrophes, up to {LONGEST_NAME} of them"
        )
    return kept


class ReaderLinks:
    """The readers of a study and their secrets, kept in a file that only its owner can read."""

    def __init__(self, path: Path, names: Iterable[str] = ()) -> None:
        """Read the file and make secrets for new readers.

        Raises:
            ValueError: if there is no reader, a name is not valid, or two names differ only in capitals or in how
                letters are composed.
        """
        kept = _read_secrets(path)
        self._secrets: dict[str, str] = dict(kept)
        for name in map(clean_reader, names):
            alike = [other for other in self._secrets if _folded(other) == _folded(name) and other != name]
            if alike:
                raise ValueError(f"reader {name} could be taken for {alike[0]}, who is in the study; give another name")
            self._secrets.setdefault(name, secrets.token_urlsafe(SECRET_BYTES))
        if not self._secrets:
            raise ValueError("nobody reads in this study yet; give --reader NAME once for each reader")
        if self._secrets != kept:
            write_private(path, self._secrets)

    def items(self) -> list[tuple[str, str]]:
        """Return each reader's name and secret."""
        return list(self._secrets.items())

    def reader_of(self, secret: str) -> str | None:
        """Return the reader with this secret, or None; the time that this takes reveals nothing about the secrets."""
        given = secret.encode("utf-8", "replace")
        found = [name for name, kept in self._secrets.items() if hmac.compare_digest(kept.encode(), given)]
        return found[0] if found else None


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON to a file that only its owner can read; no half-written file can remain."""
    with whole_file(path) as part:
        part.touch()
        part.chmod(0o600)  # before it holds anything
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_secrets(path: Path) -> dict[str, str]:
    """Read the readers' secrets, and make the file readable only for its owner."""
    if not path.exists():
        return {}
    if not path.is_file():  # reading a pipe would wait
        raise ValueError(f"{path}: is no regular file; move it away")
    path.chmod(0o600)
    kept = read_json(path)
    is_whole = isinstance(kept, dict) and all(map(_is_secret, kept.values())) and all(map(_is_clean, kept))
    if not is_whole or len(set(kept.values())) < len(kept):
        raise ValueError(f"{path}: is no list of readers; repair it, or remove it and send everybody a new link")
    return kept


def _is_secret(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(f"[A-Za-z0-9_-]{{{SECRET_LETTERS},}}", value) is not None


def _is_clean(name: str) -> bool:
    try:
        return clean_reader(name) == name
    except ValueError:
        return False


def _folded(name: str) -> str:
    """Return a form of a name that is equal for names that look alike.

    It has no capitals, one kind of hyphen and apostrophe, and no invisible characters.
    """
    kept = unicodedata.normalize("NFKC", UNSEEN.sub("", name)).translate(ALIKE)
    return " ".join(unicodedata.normalize("NFKC", kept.casefold()).split())
