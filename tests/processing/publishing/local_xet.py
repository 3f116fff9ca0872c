"""Read a folder that stands for the Hub's Xet storage: `hf_xet` takes it in place of a server, as "local://FOLDER"."""

import struct
from dataclasses import dataclass
from pathlib import Path

# Of a shard: its header, and each of the records on files that follow it.
_RECORD = 48
_HAS_RANGES, _HAS_SHA256 = 1 << 31, 1 << 30
_END = b"\xff" * 32


@dataclass(frozen=True)
class XetFile:
    """A file in the storage: the hash by which its chunks are found, and its bytes."""

    hash: str
    size: int


def files_in(storage: Path) -> dict[str, XetFile]:
    """Return the files that a client has put there, by SHA-256."""
    found = {}
    for shard in sorted((storage / "xet" / "xorbs" / "shards").glob("*.mdb")):
        content, place = shard.read_bytes(), _RECORD
        while content[place : place + 32] != _END:
            flags, entries = struct.unpack_from("<II", content, place + 32)
            name, place = _hex(content, place), place + _RECORD
            size = sum(struct.unpack_from("<I", content, place + number * _RECORD + 36)[0] for number in range(entries))
            place += entries * _RECORD * (2 if flags & _HAS_RANGES else 1)
            if flags & _HAS_SHA256:
                found[_hex(content, place)] = XetFile(name, size)
                place += _RECORD
    return found


def chunks_in(storage: Path) -> set[str]:
    """Return the names of the blocks of chunks that were sent."""
    return {
        path.name for path in (storage / "xet" / "xorbs" / "xorbs").glob("default.*") if not path.suffix == ".tagset"
    }


def _hex(content: bytes, place: int) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack_from("<4Q", content, place))
