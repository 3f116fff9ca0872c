"""Put faults of the real downloads into phantom ones: filling words, other body parts, gaps, repeats."""

import gzip
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from .layout_tables import Rows, read_table, write_table

FAULTS_FILE = "phantom_faults.jsonl"
PLACEHOLDER = "Something wrong with the data! #################"
_REPORTS = "dataset/radiology_text_reports/{}_reports.csv"
_PARTS = {"train": "train", "valid": "validation"}
_FILLING_WORDS = ("Not given.", "Not specified.", "", "nan")
_EVERY = 9  # one scan in this many has the fault
_VOXELS_AT = 352  # bytes, in the files that phantoms are written as
_RAW_INTERCEPT = -1024
Done = Iterator[str]  # volumes, scans or rows that were changed


def check_faults(layout: str, faults: Sequence[str]) -> None:
    """Check that the layout has all named faults; otherwise raise a ValueError."""
    unknown = sorted(set(faults) - set(FAULTS[layout]))
    if unknown:
        raise ValueError(f"{layout} has no fault {unknown[0]!r}; choose from {', '.join(FAULTS[layout])}")


def add_faults(root: Path, layout: str, faults: Sequence[str]) -> None:
    """Put faults into a layout that was written without faults, and record them in `phantom_faults.jsonl`."""
    chosen = [name for name in FAULTS[layout] if name in faults]  # in the table's order
    done = [{"fault": name, "at": place} for name in chosen for place in FAULTS[layout][name](root)]
    if chosen:
        lines = "".join(json.dumps(entry) + "\n" for entry in done)
        (root / FAULTS_FILE).write_text(lines, encoding="utf-8")


def _nothing_given(root: Path) -> Done:
    """Replace the impression of some scans, and the whole report of one scan of each part, by filling words."""
    for name in _PARTS.values():
        rows = read_table(root / _REPORTS.format(name))
        scans = list(dict.fromkeys(_scan_of(row) for row in rows))
        # The last scan of a part has no text at all.
        chosen = scans[2::_EVERY]
        for row in rows:
            scan = _scan_of(row)
            if scan in chosen or scan == scans[-1]:
                row["Impressions_EN"] = _FILLING_WORDS[len(str(row["Findings_EN"])) % len(_FILLING_WORDS)]
            if scan == scans[-1]:
                row["Findings_EN"] = "Not specified."
        write_table(root / _REPORTS.format(name), rows)
        yield from dict.fromkeys([*chosen, scans[-1]])


def _no_chest(root: Path) -> Done:
    """Add one reconstruction of the first scan of each part to the lists of other body parts."""
    for part, name in _PARTS.items():
        volume = str(read_table(root / _REPORTS.format(name))[0]["VolumeName"])
        scan = volume.rsplit("_", 1)[0]
        with (root / f"dataset/metadata/no_chest_{part}.txt").open("a", encoding="utf-8") as file:
            file.write(f"/data/ct_rate/{part}/{scan.rsplit('_', 1)[0]}/{scan}/{volume}\n")
        yield scan


def _cut_reconstruction(root: Path) -> Done:
    """Truncate the first reconstruction of a scan whose second one is complete."""
    found = sorted(root.glob("dataset/train_fixed/*/*/*_2.nii.gz"))
    for second in found[len(found) // 2 :][:1]:
        first = second.with_name(second.name.replace("_2.nii.gz", "_1.nii.gz"))
        first.write_bytes(first.read_bytes()[:5000])
        yield first.name


def _version_1(root: Path) -> Done:
    """Store raw values under a header without rescale, in folders without "_fixed"."""
    for part in _PARTS:
        if not (root / f"dataset/{part}_fixed").is_dir():
            continue
        (root / f"dataset/{part}_fixed").rename(root / f"dataset/{part}")
        for path in sorted((root / f"dataset/{part}").rglob("*.nii.gz")):
            content = bytearray(gzip.decompress(path.read_bytes()))
            hu = np.frombuffer(content, "<i2", offset=_VOXELS_AT)
            raw = np.clip(hu.astype(np.int32) - _RAW_INTERCEPT, 0, None).astype("<i2")
            content[_VOXELS_AT:] = raw.tobytes()
            path.write_bytes(gzip.compress(bytes(content), compresslevel=1, mtime=0))
            yield path.name
        table = root / f"dataset/metadata/{_PARTS[part]}_metadata.csv"
        write_table(table, [row | {"RescaleIntercept": _RAW_INTERCEPT} for row in read_table(table)])


def _placeholders(root: Path) -> Done:
    """Replace reports by the mark of a failed translation, in both tables."""
    for name in ("BIMCV_meta.csv", "curated_ct_report_path_En.csv"):
        path = root / "meta" / name
        rows = read_table(path)
        for row in rows[1::_EVERY]:
            row["Report_en"] = PLACEHOLDER
            if name == "BIMCV_meta.csv":
                yield Path(str(row["ct_path"])).name
        write_table(path, rows)


def _zipped(root: Path) -> Done:
    """Zip the parts, as they are downloaded."""
    for part in sorted(root.glob("CT*")):
        shutil.make_archive(str(part), "zip", root, part.name)
        shutil.rmtree(part)
        yield f"{part.name}.zip"


def _duplicates(root: Path) -> Done:
    """Repeat some rows of every table."""
    for path in sorted(root.glob("*.tsv")):
        rows: Rows = read_table(path)
        twice = rows[3::_EVERY]
        write_table(path, rows + twice)
        yield from (f"{path.name}: {row['impression_id']}" for row in twice)


def _missing_volumes(root: Path) -> Done:
    """Delete two volumes that the tables name."""
    for path in sorted((root / "CTPA").iterdir())[:2]:
        path.unlink()
        yield path.name


def _scan_of(row: dict[str, object]) -> str:
    return re.sub(r"_\d+\.nii\.gz$", "", str(row["VolumeName"]))


FAULTS: dict[str, dict[str, Callable[[Path], Done]]] = {
    "ct-rate": {
        "nothing-given": _nothing_given,
        "no-chest": _no_chest,
        "cut-reconstruction": _cut_reconstruction,
        "version-1": _version_1,
    },
    "bimcv-r": {"placeholders": _placeholders, "zipped": _zipped},
    "inspect": {"duplicates": _duplicates, "missing-volumes": _missing_volumes},
}
