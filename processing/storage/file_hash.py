"""SHA-256 of files, read block by block: one alone, several as one, or several with their names."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def hash_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    return hash_joined([path])


def hash_joined(paths: Iterable[Path]) -> str:
    """Return the SHA-256 (hex) of what files hold, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        _add(digest, path)
    return digest.hexdigest()


def hash_named(folder: Path, paths: Iterable[Path]) -> str:
    """Return the SHA-256 (hex) of files below a folder in the order given: of their names in it, sizes and contents."""
    digest = hashlib.sha256()
    for path in paths:
        # Name and size go in too, so that bytes cannot move from one file to the next unseen.
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        _add(digest, path)
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", path: Path) -> None:
    with path.open("rb") as file:
        hashlib.file_digest(file, lambda: digest)
