"""Compute SHA-256 of files, read block by block: of one file, of several as one, or of several with their names."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def hash_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    return hash_joined([path])


def hash_joined(paths: Iterable[Path]) -> str:
    """Return the SHA-256 (hex) of the contents of files, joined in order."""
    digest = hashlib.sha256()
    for path in paths:
        _add(digest, path)
    return digest.hexdigest()


def hash_named(folder: Path, paths: Iterable[Path]) -> str:
    """Return the SHA-256 (hex) of names, sizes and contents of files below a folder, in the given order."""
    digest = hashlib.sha256()
    for path in paths:
        # Name and size are hashed too, so that the hash changes if bytes move from one file to the next.
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        _add(digest, path)
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", path: Path) -> None:
    with path.open("rb") as file:
        hashlib.file_digest(file, lambda: digest)
