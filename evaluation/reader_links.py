"""The readers of a study: their names, and the secret in each one's link, which says who reads."""

import hmac
import json
import secrets
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from argus_processing.whole_files import read_json, whole_file

READERS_FILE = "readers.json"
LONGEST_NAME = 40
SECRET_BYTES = 24
NAME_SIGNS = " .,-'\u2010\u2011\u2019\u02bc\u00b7\u200c\u200d"  # hyphens, apostrophes, the Catalan dot, joiners


def clean_reader(name: Any) -> str:
    """A reader's name as it is kept: composed letters (Unicode NFC), single spaces.

    Raises:
        ValueError: if it is empty, too long, or holds what is in no name: slashes, brackets, control characters.
    """
    kept = " ".join(unicodedata.normalize("NFC", name if isinstance(name, str) else "").split())
    letters = [unicodedata.category(letter)[0] for letter in kept if letter not in NAME_SIGNS]
    if not 0 < len(kept) <= LONGEST_NAME or not set(letters) <= set("LMN") or not {"L", "N"} & set(letters):
        raise ValueError(
            f"a reader's name has letters, digits, spaces, dots, dashes and apostrophes, up to {LONGEST_NAME} of them"
        )
    return kept


class ReaderLinks:
    """Who may read in a study's folder, kept in a file that its owner alone can read."""

    def __init__(self, path: Path, names: Iterable[str] = ()) -> None:
        """Read the file and give new readers their secrets.

        Raises:
            ValueError: if there is no reader, a name is none, or two are alike but for capitals or joined letters.
        """
        kept = read_json(path) if path.exists() else {}
        if not isinstance(kept, dict) or not all(isinstance(secret, str) and secret for secret in kept.values()):
            raise ValueError(f"{path}: is no list of readers; repair it, or remove it and send everybody a new link")
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
        """Each reader's name and secret."""
        return list(self._secrets.items())

    def reader_of(self, secret: str) -> str | None:
        """Say whose secret it is; how long that takes tells nothing of the secrets."""
        given = secret.encode("utf-8", "replace")
        found = [name for name, kept in self._secrets.items() if hmac.compare_digest(kept.encode(), given)]
        return found[0] if found else None


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that its owner alone can read, whole or not at all."""
    with whole_file(path) as part:
        part.touch()
        part.chmod(0o600)  # before it holds anything
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _folded(name: str) -> str:
    kept = unicodedata.normalize("NFKC", name.replace("\u200c", "").replace("\u200d", "").replace("\u2019", "'"))
    return kept.casefold()
