"""Read the report to show: the folder of `argus report --evidence`, or a line of `argus report --json`."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from argus_processing.ct_checks import is_usable, reading_nifti
from argus_processing.ct_volume import CTVolume
from argus_processing.report_text import sentence_spans
from argus_processing.storage.foreign_files import ForeignFileError, cause_of, read_bounded, read_json_object

from ..evidence.evidence_files import JSON_FILE, LABELS_FILE
from .scan_image import fits

MAX_BYTES = 8 << 20
WITHOUT_MAPS = "this report has no maps; `argus report --evidence` makes them"


@dataclass(frozen=True)
class ViewedSentence:
    """A sentence of a report.

    Attributes:
        start, end: its place in the report.
        peak_mm: where its map is largest, in RAS+ mm of the patient; None without a map.
        support: in nats; None if it is not known.
        reason: why there is no map; empty if there is one.
        map: file of its map.
    """

    start: int
    end: int
    peak_mm: tuple[float, float, float] | None = None
    support: float | None = None
    reason: str = ""
    map: Path | None = None


@dataclass(frozen=True)
class ViewedReport:
    """A report to show.

    Attributes:
        report: its text.
        scan: the scan as the file names it, an opaque name or a path.
        sentences: in the order of the report.
        folder: of the maps; None for a report alone.
        warnings: that came with the report.
    """

    report: str
    scan: str
    sentences: tuple[ViewedSentence, ...]
    folder: Path | None
    warnings: tuple[str, ...] = ()

    def scan_path(self, given: Path | None) -> Path:
        """Return the path of the scan: the one that was given, or the one that the report names.

        Raises:
            ValueError: if none is given and the report's is not there.
        """
        if given is None and not self.scan:
            raise ValueError("the report names no scan, give it with --scan")
        path = Path(self.scan) if given is None else given
        if not path.exists():
            cause = "" if given is None else "; it does not exist"
            raise ValueError(f"{path}: the report's scan is not there, give it with --scan{cause}")
        return path

    def check_scan(self, volume: CTVolume) -> None:
        """Check that the maps lie in a scan.

        Raises:
            ValueError: if they were made of another.
        """
        if self.folder is None:
            return
        path = self.folder / LABELS_FILE
        with reading_nifti(path, "write the evidence again"):
            image = nib.Nifti1Image.from_filename(path)
            shape, affine = image.shape, np.asarray(image.affine, dtype=np.float64)
        if not fits(shape, affine, volume):
            raise ValueError(f"{self.folder}: its maps are not of this scan; give theirs with --scan")
        into = np.linalg.inv(volume.affine)
        for sentence in self.sentences:
            if sentence.peak_mm is None:
                continue
            index = (into @ [*sentence.peak_mm, 1.0])[:3]
            if (index < -1).any() or (index > volume.hu.shape).any():
                raise ForeignFileError(f"{self.folder / JSON_FILE}: a peak lies outside of the scan; write it again")


def read_viewed_report(path: Path) -> ViewedReport:
    """Read the report of a folder or file.

    Raises:
        ValueError, OSError: if it holds none, or several.
    """
    if path.is_dir():
        return _of_folder(path)
    lines = [line for line in read_bounded(path, MAX_BYTES).splitlines() if line.strip()]
    if len(lines) != 1:
        raise ForeignFileError(f"{path}: holds {len(lines)} lines, not one of `argus report --json`")
    try:
        content = json.loads(lines[0])
        report, scan, warnings = _text(content["report"]), _text(content["scan"]), _warnings(content)
    except (KeyError, TypeError, RecursionError, ValueError):
        raise ForeignFileError(f"{path}: is no line of `argus report --json` with a scan and a report") from None
    sentences = tuple(ViewedSentence(start, end, reason=WITHOUT_MAPS) for start, end in sentence_spans(report))
    return ViewedReport(report, scan, sentences, None, warnings)


def _of_folder(folder: Path) -> ViewedReport:
    path = folder / JSON_FILE
    if not path.exists():
        raise ForeignFileError(f"{folder}: holds no {JSON_FILE}; give the folder that `argus report --evidence` wrote")
    content = read_json_object(path, MAX_BYTES)
    try:
        report, scan, warnings = _text(content["report"]), _text(content.get("scan", "")), _warnings(content)
        sentences = tuple(_sentence(folder, entry, len(report)) for entry in content["sentences"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ForeignFileError(f"{path}: is no evidence of a report ({cause_of(error)}); write it again") from None
    ends = [0, *(sentence.end for sentence in sentences)]
    if any(sentence.start < end for sentence, end in zip(sentences, ends, strict=False)):
        raise ForeignFileError(f"{path}: its sentences overlap; write it again")
    if lost := [sentence.map for sentence in sentences if sentence.map and not sentence.map.is_file()]:
        raise ForeignFileError(f"{lost[0]}: this map is not there; write the evidence again")
    return ViewedReport(report, scan, sentences, folder, warnings)


def _warnings(content: dict[str, Any]) -> tuple[str, ...]:
    given = content.get("warnings")
    return tuple(_text(str(each)) for each in given) if isinstance(given, list) else ()


def _text(value: Any) -> str:
    """Return a text that can be sent.

    Raises:
        TypeError, ValueError: if it is none, or holds halves of characters.
    """
    if not isinstance(value, str):
        raise TypeError("no text")
    value.encode()
    return value


def _sentence(folder: Path, entry: dict[str, Any], length: int) -> ViewedSentence:
    """Make a sentence from an entry of the JSON file.

    Raises:
        KeyError, TypeError, ValueError: if the entry is none.
    """
    start, end, support, name = (entry[key] for key in ("start", "end", "support_nats", "map"))
    if not 0 <= int(start) < int(end) <= length:
        raise ValueError(f"a sentence from {start} to {end}")
    support = None if support is None else float(support)
    if support is not None and not math.isfinite(support):
        raise ValueError(f"a support of {support}")
    if name is None:
        return ViewedSentence(int(start), int(end), None, support, _text(str(entry["reason"])))
    if Path(name).name != name or name in ("", "..") or "\0" in name:
        raise ValueError("a map outside the folder")
    x, y, z = (float(at) for at in entry["peak"]["patient_mm"])
    if not is_usable(np.array([x, y, z])):
        raise ValueError("a peak at no place")
    return ViewedSentence(int(start), int(end), (x, y, z), support, "", folder / name)
