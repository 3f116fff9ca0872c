"""Tell by a hash which reports a number was computed against, where nothing else names them."""

import hashlib
from collections.abc import Sequence


def references_hash(references: Sequence[str]) -> str:
    """Return the SHA-256 of the sorted SHA-256 of all references, one a line: the same in any order of the scans."""
    each = sorted(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in references)
    return hashlib.sha256("".join(f"{one}\n" for one in each).encode()).hexdigest()
