"""Write the evidence for a report into a folder: maps as NIfTI files in the scan's space, JSON, and a picture."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from argus_processing.ct_volume import CTVolume
from argus_processing.storage.claimed_folders import whole_folder
from argus_processing.storage.whole_files import write_json, write_whole

from ..preview import NOTICE
from .evidence import Evidence, SentenceEvidence
from .evidence_picture import save_evidence_picture

JSON_FILE, LABELS_FILE, PICTURE_FILE = "evidence.json", "labels.nii.gz", "evidence.png"
LABELLED_SHARE = 0.5  # of a map's peak; voxels above it carry the number of the sentence
LIMITS = "Maps of evidence were validated on phantoms only; what they show on patients has not been measured."
FORMAT = 1


def write_evidence(folder: Path, volume: CTVolume, report: str, evidence: Evidence, about: dict[str, Any]) -> None:
    """Write `evidence.json`, a map of every sentence that has one, the labelled map and the picture, all or none.

    Maps have the array and the affine of the scan's own file, so that a viewer lays them over it.

    Args:
        folder: must be new or empty.
        volume: the scan.
        report: its report.
        evidence: of that report.
        about: more entries of the JSON file, such as the scan's name.
    """
    labels = np.zeros(volume.hu.shape, dtype=np.int16)
    strongest = np.full(volume.hu.shape, LABELLED_SHARE, dtype=np.float32)
    entries = []
    with whole_folder(folder) as part:
        for number, sentence in enumerate(evidence.sentences, start=1):
            values = evidence.map_of(sentence)
            entries.append(_write_sentence(part, number, values, evidence))
            if values is not None:
                relative = values / max(float(values.max()), 1e-30)
                labels[relative >= strongest] = number
                strongest = np.maximum(strongest, relative)
        _write_map(part / LABELS_FILE, labels, evidence, "argus evidence, number of the sentence")
        _write_entries(part, report, evidence, entries, about)
        save_evidence_picture(volume, evidence, part / PICTURE_FILE)


def write_maps(folder: Path, report: str, evidence: Evidence, about: dict[str, Any]) -> None:
    """Write `evidence.json` and the maps alone; see `write_evidence`."""
    with whole_folder(folder) as part:
        numbered = enumerate(evidence.sentences, start=1)
        entries = [_write_sentence(part, number, evidence.map_of(each), evidence) for number, each in numbered]
        _write_entries(part, report, evidence, entries, about)


def _write_sentence(part: Path, number: int, values: np.ndarray | None, evidence: Evidence) -> dict[str, Any]:
    """Write the map of a sentence, if it has one; return its entry of the JSON file."""
    name = None
    if values is not None:
        name = f"sentence_{number:02d}.nii.gz"
        _write_map(part / name, values, evidence, f"argus evidence, nats per ml, sentence {number}")
    return _entry(number, evidence.sentences[number - 1], name)


def _write_entries(
    part: Path, report: str, evidence: Evidence, entries: list[dict[str, Any]], about: dict[str, Any]
) -> None:
    content = {"format": FORMAT, **about, "report": report, "limits": [NOTICE, LIMITS]}
    write_json(part / JSON_FILE, content | {"alignment": _alignment(evidence), "sentences": entries})


def _entry(number: int, sentence: SentenceEvidence, file: str | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"number": number, "text": sentence.text, "start": sentence.start, "end": sentence.end}
    entry |= {"support_nats": None if sentence.support is None else round(sentence.support, 3)}
    if sentence.peak is None:
        return entry | {"map": None, "reason": sentence.reason}
    place = [round(at, 2) for at in sentence.peak.patient_mm]
    return entry | {
        "map": file,
        "peak": {"patient_mm": place, "file_index": sentence.peak.file_index, "index": sentence.peak.index},
    }


def _alignment(evidence: Evidence) -> dict[str, Any]:
    return {
        "correlation": round(evidence.shift.correlation, 3),
        "offset_mm": [round(offset, 1) for offset in evidence.shift.offset_mm],
    }


def _write_map(path: Path, values: np.ndarray, evidence: Evidence, description: str) -> None:
    """Write canonical values `(D, H, W)` as a NIfTI file with the axes of the scan's own."""
    axes = evidence.file_axes
    image = nib.Nifti1Image(np.asfortranarray(axes.array(values)), axes.affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description
    image.set_qform(axes.affine, code=1)
    image.set_sform(axes.affine, code=1)
    write_whole(path, gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
