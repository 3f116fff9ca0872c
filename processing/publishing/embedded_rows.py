"""Find what is private in rows that are to be published: in reports, and in the headers of embedded volumes."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..curation.prepared_folder import PREPARED_FEATURES
from .file_signatures import SCAN
from .private_text import HEADER_FIELD, LOCAL_PATH, TOKEN, PrivateText, private_in_text

_START = 16 << 10
# Bytes of a NIfTI header -> places of its free texts: descrip, aux_file and intent_name, and data_type and db_name of
# version 1.
_TEXTS = {348: ((4, 32), (148, 252), (328, 344)), 540: ((240, 344), (508, 524))}


def private_in_rows(path: Path) -> Iterator[PrivateText]:
    """Yield what is private in a Parquet file of rows, each kind once.

    Ids and reports are the source's own; a path in a report is none, as "ml/min" is written there too.
    """
    file = pq.ParquetFile(path)
    if file.schema_arrow.names != list(PREPARED_FEATURES):
        yield PrivateText(HEADER_FIELD, "other columns than argus prepare writes")
        return
    found: dict[PrivateText, None] = {}
    # A few rows at a time: each holds a volume.
    for batch in file.iter_batches(batch_size=4):
        for row in batch.to_pylist():
            found |= dict.fromkeys(_private_in_row(row))
    yield from found


def _private_in_row(row: dict[str, Any]) -> Iterator[PrivateText]:
    ids = "\n".join(str(row[name]) for name in ("scan_id", "patient_id", "source"))
    yield from (each for each in private_in_text(ids) if each.kind in (TOKEN, LOCAL_PATH))
    yield from (each for each in private_in_text(str(row["report"])) if each.kind in (TOKEN, HEADER_FIELD))
    image = row["image"]
    if "/" in str(image["path"]) or "\\" in str(image["path"]):
        yield PrivateText(LOCAL_PATH, "a volume's path")
    if not image["bytes"]:
        yield PrivateText(LOCAL_PATH, "a row without its volume")
        return
    yield from private_in_volume(image["bytes"])


def private_in_volume(content: bytes) -> Iterator[PrivateText]:
    """Yield what the texts of a NIfTI file's header hold, and whether it has extensions, which may be DICOM headers."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = zlib.decompressobj(wbits=31).decompress(content[:_START], _START)
        except zlib.error:
            content = b""
    sizes = [struct.unpack(f"{order}i", content[:4])[0] for order in "<>"] if len(content) >= 4 else []
    size = next((each for each in sizes if each in _TEXTS and len(content) >= each), None)
    if size is None:
        yield PrivateText(SCAN, "a volume that is no NIfTI file, whose header cannot be searched")
        return
    if content[size : size + 1] not in (b"", b"\0"):
        yield PrivateText(HEADER_FIELD, "a volume with extensions of its header, which may hold that of a DICOM file")
    told = " ".join(content[first:last].replace(b"\0", b" ").decode("latin-1") for first, last in _TEXTS[size])
    yield from (PrivateText(each.kind, f"in a volume's header: {each.cause}") for each in private_in_text(told))
