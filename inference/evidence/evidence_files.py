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
from .evidence import Evidence, Peak, SentenceEvidence
from .evidence_picture import save_evidence_picture

JSON_FILE, LABELS_FILE, PICTURE_FILE = "evidence.json", "labels.nii.gz", "evidence.png"
LABELLED_SHARE = 0.5  # of a map's peak; voxels above it carry the number of the sentence
# Maps are stored in steps of their peak: of a scan of 512 x 512 x 300 voxels, floats took 284 MB a map.
STEPS = 4095
LIMITS = "Maps of evidence were validated on phantoms only; what they show on patients has not been measured."
FORMAT = 1


def write_evidence(folder: Path, volume: CTVolume, report: str, evidence: Evidence, about: dict[str, Any]) -> None:
    """Write `evidence.json`, a map of every sentence that has one, the labelled map and the picture, all or none.

    Maps have the array and the affine of the scan's own file, so that a viewer lays them over it. They hold whole
    numbers, of which the peak alone has the largest, and the header's slope makes them nats per ml.

    Args:
        folder: must be new or empty.
        volume: the scan.
        report: its report.
        evidence: of that report.
        about: more entries of the JSON file, such as the scan's name.
    """
    labels = np.zeros(volume.hu.shape, dtype=np.int16)
    strongest = np.zeros_like(labels)
    entries = []
    with whole_folder(folder) as part:
        for number, sentence in enumerate(evidence.sentences, start=1):
            entry, steps = _write_sentence(part, number, sentence, evidence)
            entries.append(entry)
            if steps is not None:
                _label(labels, strongest, steps, number)
        _write_map(part / LABELS_FILE, labels, 1.0, evidence, "argus evidence, number of the sentence")
        _write_entries(part, report, evidence, entries, about)
        save_evidence_picture(volume, evidence, part / PICTURE_FILE)


def write_maps(folder: Path, report: str, evidence: Evidence, about: dict[str, Any]) -> None:
    """Write `evidence.json` and the maps alone; see `write_evidence`."""
    with whole_folder(folder) as part:
        numbered = enumerate(evidence.sentences, start=1)
        entries = [_write_sentence(part, number, each, evidence)[0] for number, each in numbered]
        _write_entries(part, report, evidence, entries, about)


def _write_sentence(
    part: Path, number: int, sentence: SentenceEvidence, evidence: Evidence
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Write the map of a sentence, if it has one; return its entry of the JSON file and the map in steps."""
    values = evidence.map_of(sentence)
    if values is None or sentence.peak is None:
        return _entry(number, sentence, None), None
    name = f"sentence_{number:02d}.nii.gz"
    steps, step = _in_steps(values, sentence.peak)
    _write_map(part / name, steps, step, evidence, f"argus evidence, nats per ml, sentence {number}")
    return _entry(number, sentence, name), steps


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


def _in_steps(values: np.ndarray, peak: Peak) -> tuple[np.ndarray, float]:
    """Return a map `(D, H, W)` as int16 from 0 to `STEPS`, which its peak alone has, and the size of a step."""
    step = max(float(values[peak.index]), 1e-30) / STEPS
    steps = np.empty(values.shape, dtype=np.int16)
    for plane, stored in zip(values, steps, strict=True):
        stored[...] = np.rint(plane / step).clip(max=STEPS - 1)
    steps[peak.index] = STEPS
    return steps, step


def _label(labels: np.ndarray, strongest: np.ndarray, steps: np.ndarray, number: int) -> None:
    """Write a sentence's number where its map has at least half of its peak, and no map before had more of its own."""
    own, before, numbers = steps.reshape(-1), strongest.reshape(-1), labels.reshape(-1)
    places = np.flatnonzero(own >= LABELLED_SHARE * STEPS)
    places = places[own[places] >= before[places]]
    numbers[places], before[places] = number, own[places]


def _write_map(path: Path, values: np.ndarray, step: float, evidence: Evidence, description: str) -> None:
    """Write canonical whole numbers `(D, H, W)`, each worth a step, as a NIfTI file with the axes of the scan's own."""
    axes = evidence.file_axes
    image = nib.Nifti1Image(np.asfortranarray(axes.array(values)), axes.affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description
    image.set_qform(axes.affine, code=1)
    image.set_sform(axes.affine, code=1)
    image.header.set_slope_inter(step, 0.0)
    write_whole(path, gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
