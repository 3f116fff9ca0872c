"""Give scans opaque names in results that leave the machine, because a path may hold a patient's name.

A plain hash is not enough: anyone who guesses a name can hash it and compare. So the hash is keyed (HMAC-SHA256) with a
secret that stays on this machine. The same key gives the same names, so results of several commands can be joined.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from argus_processing.storage.whole_files import make_folder, whole_file

KEY_VARIABLE = "ARGUS_PATH_KEY"
_KEY_BYTES = 32
_DIGITS = 16


def key_file() -> Path:
    """Return the path of the key: the file that ARGUS_PATH_KEY names, or one below the user's data folder."""
    if named := os.environ.get(KEY_VARIABLE):
        return Path(named)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "argus" / "path.key"


def read_key(path: Path | None = None) -> bytes:
    """Read the key; the first call draws a new one and keeps it in a file that only its owner can read.

    Args:
        path: file of the key. Default: `key_file()`.

    Raises:
        ValueError: if the file does not hold a key, or other users may read it.
        OSError: if the file cannot be read or made.
    """
    path = key_file() if path is None else path
    if not path.exists():
        make_folder(path.parent)
        with whole_file(path) as part:
            part.chmod(0o600)
            part.write_bytes(secrets.token_bytes(_KEY_BYTES))
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(f"{path}: others may read this key, which shows who is behind a name; chmod 600 it")
    key = path.read_bytes()
    if len(key) < _KEY_BYTES:
        raise ValueError(f"{path}: holds no key of {_KEY_BYTES} bytes or more; remove it, and a new one is drawn")
    return key


class PathNames:
    """Opaque names of scans; also removes paths from texts about scans."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def name(self, text: str) -> str:
        """Return the opaque name of an id, such as `scan-0123456789abcdef`."""
        digest = hmac.new(self._key, os.fsencode(text), hashlib.sha256).hexdigest()
        return f"scan-{digest[:_DIGITS]}"

    def of(self, scan: Path | str) -> str:
        """Return the opaque name of a scan's file or folder; every way to write its path gives the same name."""
        return self.name(os.path.realpath(scan))

    def without_paths(self, text: str, scan: Path | str) -> str:
        """Replace a scan's path, its name and the names of the files in it by opaque names in a text about it."""
        scan = Path(scan)
        own = self.of(scan)
        names = {str(scan): own, os.path.realpath(scan): own, os.path.abspath(scan): own, scan.name: own}
        names |= {str(folder): "" for folder in scan.absolute().parents if len(folder.parts) > 1}
        if scan.is_dir():
            for folder, _, files in os.walk(scan):
                inner = [Path(folder, name) for name in files] + [Path(folder)]
                for path in inner:
                    if path != scan:
                        names[str(path.relative_to(scan))] = names[path.name] = self.of(path).replace("scan", "file")
        for name in sorted(filter(None, names), key=len, reverse=True):
            # Only whole names are replaced: a file called "a" must not change every letter a.
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", names[name], text)
        return text
