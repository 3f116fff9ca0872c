"""Read a table of findings and their masks, as ReXGroundingCT lists them: a sentence and a mask file of each finding.

Columns: `scan`, path of the volume; `sentence`, the finding in words; `mask`, path of a NIfTI mask in the space of the
scan; and, for a mask file that holds several findings, `channel`, its place along the file's extra axis. Paths are
relative to the table.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from argus_inference.evidence.scan_placement import file_axes_of
from argus_processing.ct_checks import binary_mask, check_memory, reading_nifti
from argus_processing.ct_volume import CTVolume
from argus_processing.read_ct import read_ct
from argus_processing.report_text import sentence_spans
from argus_processing.storage.foreign_files import cause_of

from .evidence_cases import EvidenceCase, Statement, TrueFinding

COLUMNS = ("scan", "sentence", "mask")
AFFINE_TOLERANCE_MM = 1.0


@dataclass(frozen=True)
class MaskedFinding:
    """One row of the table; `channel` is None for a mask file of one finding."""

    scan: Path
    sentence: str
    mask: Path
    channel: int | None = None


def read_mask_table(path: Path) -> list[MaskedFinding]:
    """Read the rows of a table.

    Raises:
        FileNotFoundError: if the table, a scan or a mask is not there.
        ValueError: if a column is missing, or a row is empty; the message names it.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise ValueError(f"{path}: has no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
            rows = [_row(path, reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: is no CSV table in UTF-8 ({cause_of(error)}); save it as one") from None
    if not rows:
        raise ValueError(f"{path}: has no rows")
    return rows


def _row(path: Path, number: int, row: dict[str, str]) -> MaskedFinding:
    """Check a row, which ends on a line of that number."""
    values = {name: (row.get(name) or "").strip() for name in (*COLUMNS, "channel")}
    if empty := [name for name in COLUMNS if not values[name]]:
        raise ValueError(f"{path}: line {number} has no {', '.join(empty)}")
    channel = values["channel"]
    if channel and not (channel.isascii() and channel.isdecimal()):
        raise ValueError(f"{path}: line {number}: channel must be a whole number from 0, got {channel!r}")
    if not sentence_spans(" ".join(values["sentence"].split())):
        raise ValueError(f"{path}: line {number}: {values['sentence']!r} is a head without a sentence")
    scan, mask = (Path(path).parent / values[name] for name in ("scan", "mask"))
    for file in (scan, mask):
        if not file.exists():
            raise FileNotFoundError(f"{path}: line {number} names {file}, which does not exist")
    return MaskedFinding(scan, _ended(values["sentence"]), mask, int(channel) if channel else None)


def masked_cases(rows: Sequence[MaskedFinding]) -> Iterator[EvidenceCase]:
    """Yield the case of every scan; its report is the sentences of its findings, in the order of the table.

    Of a row with several sentences, the map of the first is measured.

    Raises:
        CTReadError: if a scan or a mask cannot be read.
        ValueError: if a mask is not in the space of its scan.
    """
    scans: dict[Path, list[MaskedFinding]] = {}
    for row in rows:
        scans.setdefault(row.scan, []).append(row)
    for scan, own in scans.items():
        volume = read_ct(scan)
        findings = tuple(TrueFinding(row.sentence, mask_of(row, volume)) for row in own)
        report, spans = _report_of([row.sentence for row in own])
        statements = [
            Statement(finding, start, end)
            for finding, (start, end) in zip(findings, spans, strict=True)
            if finding.mask.any()
        ]
        yield EvidenceCase(
            scan_id=scan.name,
            volume=volume,
            findings=findings,
            statements_in=_GivenStatements(statements),
            report=report,
        )


def _report_of(texts: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Join the texts of a scan's rows; return the report, and the place of each text's first sentence.

    Where two sentences would become one, as after "lat.", each text is a line: its end ends a sentence too.
    """
    for joint in (" ", "\n"):
        report = joint.join(texts)
        starts = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1]
        own = [
            [(int(at) + start, int(at) + end) for start, end in sentence_spans(text)]
            for at, text in zip(starts, texts, strict=True)
        ]
        if sentence_spans(report) == [span for spans in own for span in spans]:
            break
    return report, [spans[0] for spans in own]


@dataclass(frozen=True)
class _GivenStatements:
    """Statements that are known with the report; a class, so that each case keeps its own."""

    statements: list[Statement]

    def __call__(self, report: str) -> list[Statement]:
        return self.statements


def _ended(sentence: str) -> str:
    """Return a sentence on one line that ends as one."""
    text = " ".join(sentence.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def mask_of(row: MaskedFinding, volume: CTVolume) -> np.ndarray:
    """Read the mask of a finding, `(D, H, W)` bool in the canonical scan.

    Raises:
        CTReadError: if it cannot be read, or is no mask.
        ValueError: if it is not in the space of its scan.
    """
    axes = file_axes_of(volume)
    with reading_nifti(row.mask, "give the mask again"):
        image: Any = nib.load(row.mask)
        shape = image.shape
        check_memory(shape, 1, row.mask)
        array = np.asanyarray(image.dataobj)
    if array.ndim == 4:
        # The extra axis is the last one in NIfTI's own order; ReXGroundingCT puts it first.
        own = axes.array(volume.hu).shape
        axis = 3 if shape[:3] == own else 0
        if row.channel is None or not 0 <= row.channel < shape[axis]:
            raise ValueError(f"{row.mask}: holds {shape[axis]} findings; the table's channel is {row.channel}")
        array = np.take(array, row.channel, axis=axis)
    elif row.channel:
        raise ValueError(f"{row.mask}: holds one finding; the table's channel is {row.channel}")
    if array.shape != axes.array(volume.hu).shape:
        own = axes.array(volume.hu).shape
        raise ValueError(f"{row.mask}: has {array.shape} voxels and its scan {own}; they must be the same")
    states_place = (
        isinstance(image, nib.Nifti1Image) and max(image.header["sform_code"], image.header["qform_code"]) > 0
    )
    if states_place and not np.allclose(image.affine, axes.affine, rtol=0, atol=AFFINE_TOLERANCE_MM):
        raise ValueError(f"{row.mask}: lies elsewhere than its scan {row.scan.name}, by its affine")
    return axes.canonical(binary_mask(array, row.mask))
