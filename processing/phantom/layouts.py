"""Write phantoms in the file layouts of the real sources, so that curation can be tried without a download.

CT-RATE's layout is that of its version 2, BIMCV-R's that of its tables in `meta`, once unzipped, and INSPECT's that of
the release of 2025-06, as their public users read them. `faults` adds the faults of the real ones.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ..storage.claimed_folders import whole_folder
from ..storage.progress import progress_bar
from .faults import add_faults, check_faults
from .files import FileStyle, scan_id_of, write_nifti, write_phantom
from .layout_tables import Rows, write_table
from .raw_reports import RawReport, make_raw, write_glued, write_numbered
from .scans import Phantom, make_phantom, report_of, truth_of

TRUTH_FILE = "phantom_truth.jsonl"
_CLINICAL = ("Cough.", "Shortness of breath.", "Chest pain.", "Follow-up.", "Fever.", "Not given.")
_TECHNIQUE = ("CT of the chest.", "Chest CT with thin slices.", "Multislice CT of the chest in one breath hold.")
_FIRST_SEED = 10**15
_MOST_SCANS = 1_000_000
_COPY_AT = 29  # this scan is the first one again, under another patient's name
_FOLLOW_UP_EVERY = 7  # this scan is the same patient's as the one before it
PADDING_HU = -8192  # outside the round field of view, in CT-RATE's volumes
_RELEASE = "20250611"  # release date in the names of INSPECT's tables
# Columns of BIMCV-R's main table. Labels and their codes are not made.
_BIMCV_R_COLUMNS = (
    *("PatientID", "ReportID", "Report", "Labels", "Localizations", "LabelsLocalizationsBySentence"),
    *("labelCUIS", "LocalizationsCUIS", "num", "path", "Report_en", "ct_path"),
)


def write_layout(out: Path | str, layout: str, n: int, seed: int = 0, faults: Sequence[str] = ()) -> Path:
    """Write `n` phantom scans with their reports in the file layout of one of the sources.

    The reports are as raw as a source's (`raw_reports`), some patients occur twice, and the 30th scan has the
    voxels of the first one. The truth of every volume is saved beside them in `phantom_truth.jsonl`: file, report,
    findings, the text that curation must keep (`clean`) and the sentences that were added (`injected`).

    Args:
        out: folder to create; its parents are created too.
        layout: "ct-rate", "bimcv-r" or "inspect".
        n: number of scans; a CT-RATE scan may have several reconstructions.
        seed: another seed gives other patients.
        faults: names of faults of the real downloads to add, see `faults.FAULTS`; the changes are recorded in
            `phantom_faults.jsonl`.

    Returns:
        The folder.

    Raises:
        ValueError: if the layout or a fault is unknown, `n` or `seed` is out of range, or the folder is not empty.
    """
    out = Path(out)
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; choose from {', '.join(LAYOUTS)}")
    check_faults(layout, faults)
    if not 1 <= n <= _MOST_SCANS or seed < 0:
        raise ValueError(f"need 1 to {_MOST_SCANS} scans and a seed of 0 or more, got n={n} and seed={seed}")
    with whole_folder(out) as part:
        truth = list(LAYOUTS[layout](part, _progress(layout, n, seed)))
        lines = "".join(json.dumps(row) + "\n" for row in truth)
        (part / TRUTH_FILE).write_text(lines, encoding="utf-8")
        add_faults(part, layout, faults)
    return out


def _progress(layout: str, n: int, seed: int) -> Iterator[int]:
    """Yield the phantom seeds of a layout, with a progress bar on stderr.

    No patient is shared with another layout, another seed or the embedded data set.
    """
    first = _FIRST_SEED + (seed * len(LAYOUTS) + list(LAYOUTS).index(layout)) * _MOST_SCANS
    seeds = range(first, first + n)
    with progress_bar() as progress:
        yield from progress.track(seeds, description="phantoms")


def _truth_row(path: str, seed: int, raw: RawReport) -> dict[str, object]:
    return {
        "file": path,
        "report": report_of(seed),
        "findings": [asdict(finding) for finding in truth_of(seed)],
        "clean": raw.clean,
        "injected": [{"rule": rule, "sentence": sentence} for rule, sentence in raw.injected],
    }


def _shown_seeds(seeds: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Yield each seed, which names the scan, with the seed of its content; every source has one scan twice."""
    first = None
    for count, seed in enumerate(seeds):
        first = seed if first is None else first
        yield seed, first if count == _COPY_AT else seed


def report_sections(report: str) -> tuple[str, str]:
    """Split a phantom's report into findings and impression, without their headings."""
    findings, impression = report.split("\nImpression: ")
    return findings.split(": ", 1)[1], impression


def _write_ct_rate(root: Path, seeds: Iterator[int]) -> Iterator[dict[str, object]]:
    """Write `dataset/{train,valid}_fixed/<patient>/<scan>/<reconstruction>.nii.gz`, the CSV files and no_chest lists.

    One patient in five is in valid; some have a second scan, some scans a second reconstruction. Volumes are
    already in HU, as in version 2; the metadata still holds the scanner's slope and intercept.
    """
    reports: dict[str, Rows] = {"train": [], "valid": []}
    metadata: dict[str, Rows] = {"train": [], "valid": []}
    patients = {"train": 0, "valid": 0}
    split, letter = "train", "a"
    for count, (own, seed) in enumerate(_shown_seeds(seeds)):
        rng = np.random.default_rng([own, 7])
        is_follow_up = rng.random() < 0.15 and letter == "a" and count > 1
        letter = "b" if is_follow_up else "a"
        if not is_follow_up:
            # The second patient is always in valid, so that small layouts have both splits.
            split = "valid" if count == 1 or rng.random() < 0.2 else "train"
            patients[split] += 1
        patient = f"{split}_{patients[split]}"
        clinical, technique = (str(rng.choice(options)) for options in (_CLINICAL, _TECHNIQUE))
        for number in range(1, 3 if rng.random() < 0.35 else 2):
            name = f"{patient}_{letter}_{number}.nii.gz"
            path = Path("dataset", f"{split}_fixed", patient, f"{patient}_{letter}", name)
            phantom = _write_reconstruction(root / path, seed, number)
            findings, impression = report_sections(phantom.report)
            raw = make_raw(findings, own, may_be_short=False)
            reports[split].append(
                {
                    "VolumeName": name,
                    "ClinicalInformation_EN": clinical,
                    "Technique_EN": technique,
                    "Findings_EN": raw.text,
                    "Impressions_EN": impression,
                }
            )
            metadata[split].append(_ct_rate_metadata(name, phantom, rng))
            yield _truth_row(path.as_posix(), seed, replace(raw, clean=f"{raw.clean} {impression}"))
    (root / "dataset/metadata").mkdir(parents=True)
    for split, long_name in (("train", "train"), ("valid", "validation")):
        write_table(root / "dataset/radiology_text_reports" / f"{long_name}_reports.csv", reports[split])
        write_table(root / "dataset/metadata" / f"{long_name}_metadata.csv", metadata[split])
        # The lists name volumes by their path in an older layout; this one is in no download.
        listed = f"/data/ct_rate/{split}/{split}_99999/{split}_99999_a/{split}_99999_a_1.nii.gz\n"
        (root / "dataset/metadata" / f"no_chest_{split}.txt").write_text(listed, encoding="utf-8")


def _write_reconstruction(path: Path, seed: int, number: int) -> Phantom:
    """Write a reconstruction of the same patient on another grid: the second one has thinner slices."""
    phantom = make_phantom(seed)
    if number > 1:
        d, h, w = phantom.spacing_mm
        phantom = make_phantom(seed, (round(0.7 * d, 2), h, w))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(_with_padding(phantom), path, FileStyle(("L", "P", "S"), "int16", 1.0, 0.0))
    return phantom


def _with_padding(phantom: Phantom) -> Phantom:
    """Mark the air outside the round field of view, as some scanners do."""
    _, height, width = phantom.hu.shape
    rows, columns = np.ogrid[:height, :width]
    radius = max(height, width) / 2
    outside = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2) > radius
    return replace(phantom, hu=np.where(outside & (phantom.hu < -900), np.int16(PADDING_HU), phantom.hu))


def _ct_rate_metadata(name: str, phantom: Phantom, rng: np.random.Generator) -> dict[str, object]:
    depth, height, _ = phantom.spacing_mm
    return {
        "VolumeName": name,
        "RescaleSlope": 1,
        "RescaleIntercept": int(rng.choice((-1024, -8192))),
        "XYSpacing": f"[{height}, {height}]",
        "ZSpacing": depth,
    }


def _write_bimcv_r(root: Path, seeds: Iterator[int]) -> Iterator[dict[str, object]]:
    """Write `CT<part>/ct/<scan>.nii.gz`, `meta/BIMCV_meta.csv` and `meta/curated_ct_report_path_En.csv`.

    Paths in the tables are from another machine; in the first table `path` is a folder and `ct_path` the file.
    """
    rows: Rows = []
    patient = 0
    for count, (own, seed) in enumerate(_shown_seeds(seeds)):
        if not _is_follow_up(count):
            patient = int(scan_id_of(own, "bimcv-r"), 16)
        person, session = f"sub-S{patient % 90000 + 10000:06d}", f"ses-E{count + 10000:06d}"
        name = f"{person}_{session}_run-1_bp-chest_ct"
        folder = Path(f"CT{count // 500 + 1}", "ct")
        phantom = write_phantom(root / folder, seed, name=name)
        raw = make_raw(" ".join(report_sections(phantom.report)), own, write=write_glued)
        elsewhere = f"/data/BIMCV/covid19/{person}/{session}/mod-rx"
        told = {"PatientID": person, "ReportID": session, "Report": "estudio simulado .", "num": "1.0"}
        told |= {"path": elsewhere, "Report_en": raw.text, "ct_path": f"{elsewhere}/{name}.nii.gz"}
        rows.append({column: told.get(column, "[]") for column in _BIMCV_R_COLUMNS})
        yield _truth_row((folder / f"{name}.nii.gz").as_posix(), seed, raw)
    write_table(root / "meta/BIMCV_meta.csv", rows)
    curated = [{"path": row["ct_path"], "Report_en": row["Report_en"]} for row in rows]
    write_table(root / "meta/curated_ct_report_path_En.csv", curated)


def _write_inspect(root: Path, seeds: Iterator[int]) -> Iterator[dict[str, object]]:
    """Write `CTPA/<image_id>.nii.gz` and the tables `impressions`, `study_mapping` and `splits` of a release.

    The text is the impression, a list inside running text, often too short for curation to keep.
    """
    impressions: Rows = []
    splits: Rows = []
    mapping: Rows = []
    person = ""
    for count, (own, seed) in enumerate(_shown_seeds(seeds)):
        number = 100_000 + int(scan_id_of(own, "inspect"), 16) % 10**9
        image = f"PE{scan_id_of(own, 'image')[:8]}"
        person = person if _is_follow_up(count) else str(int(scan_id_of(own, "person"), 16) % 10**9)
        phantom = write_phantom(root / "CTPA", seed, name=image)
        share = int(scan_id_of(own, "split"), 16) / 16**16
        split = "train" if share < 0.7 else "valid" if share < 0.8 else "test"
        raw = make_raw(report_sections(phantom.report)[1], own, write=write_numbered)
        impressions.append({"impression_id": number, "impressions": raw.text})
        splits.append({"impression_id": number, "person_id": person, "split": split})
        mapping.append({"impression_id": number, "person_id": person, "image_id": image})
        yield _truth_row(f"CTPA/{image}.nii.gz", seed, raw)
    for name, rows in (("impressions", impressions), ("splits", splits), ("study_mapping", mapping)):
        write_table(root / f"{name}_{_RELEASE}.tsv", rows)


def _is_follow_up(count: int) -> bool:
    return count % _FOLLOW_UP_EVERY == _FOLLOW_UP_EVERY - 1


LAYOUTS: dict[str, Callable[[Path, Iterator[int]], Iterator[dict[str, object]]]] = {
    "ct-rate": _write_ct_rate,
    "bimcv-r": _write_bimcv_r,
    "inspect": _write_inspect,
}
