"""Write reports on studies with hostile headers, and have other programs read them: `make dicom-check`.

Debian: apt-get install dicom3tools dcmtk. With libpixelmed-java and a Java, PixelMed's validator of templates reads the
structured reports of the first studies too, 5 s each.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import pydicom
from hostile_headers import HostileStudy, write_evidence, write_hostile_study
from pydicom.sr.codedict import codes
from pydicom.uid import BasicTextSRStorage, EnhancedSRStorage

from argus_hospital.objects.report_content import load_report
from argus_hospital.objects.write_objects import ObjectChoice, write_objects

TOOLS = ("dciodvfy", "dsrdump")
PIXELMED = Path("/usr/share/java/pixelmed.jar")
# Limits of Java's own XPath are below what the templates need.
XPATH = [f"-Djdk.xml.xpath{name}Limit=0" for name in ("TotalOp", "ExprOp", "ExprGrp")]
SENTENCES = (
    "There is a small pleural effusion on the right.",
    "Größe 3 mm, 5 x 4 mm in segment 6.",
    "No nodule <5 mm & no mass.",
    "Εύρημα και находка.",
)
IMPRESSION = "Small right pleural effusion."
CODES = (codes.DCM.Finding.value, codes.DCM.Impression.value)
REMARKS = (codes.DCM.Comment.value, "55112-7")  # of the document itself, in either kind
MANY_SLICES, FEW_SLICES = 300, 24


@dataclass(frozen=True)
class CheckedStudy:
    """The answers of the tools about the objects of one study; each line of `faults` is one fault."""

    num_objects: int
    faults: tuple[str, ...]
    emptied: tuple[str, ...]


def missing_tools() -> list[str]:
    """Return the tools that are not installed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def check_study(folder: Path, seed: int, num_slices: int = FEW_SLICES) -> CheckedStudy:
    """Write a hostile study and its objects below a folder, and check each object."""
    study = write_hostile_study(folder / "study", seed, num_slices)
    line = {"report": " ".join(SENTENCES) + f"\nImpression: {IMPRESSION}"}
    line |= {"model_hash": hashlib.sha256(str(seed).encode()).hexdigest(), "truncated": seed % 5 == 0}
    (folder / "report.json").write_text(json.dumps(line) + "\n", encoding="utf-8")
    evidence = write_evidence(study.folder, folder / "evidence.nii.gz") if seed % 2 else None
    choice = ObjectChoice("basic" if seed % 3 == 0 else "comprehensive", evidence, seed % 7 == 0)
    written = write_objects(study.folder, load_report(folder / "report.json", None), folder / "out", choice)
    objects = [path for path in written.paths if path.suffix == ".dcm"]
    faults = [fault for path in objects for fault in (*_dciodvfy(path), *_readers(path, study))]
    return CheckedStudy(len(objects), tuple(faults), written.emptied)


def _dciodvfy(path: Path) -> list[str]:
    done = subprocess.run(["dciodvfy", "-new", path], capture_output=True)
    told = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    return [f"{path.name}: {line}" for line in told if line.startswith("Error")]


def has_pixelmed() -> bool:
    """Return whether PixelMed's validator can run."""
    return PIXELMED.exists() and shutil.which("java") is not None


def pixelmed_faults(path: Path) -> list[str]:
    """Return the errors that PixelMed's validator finds in a structured report."""
    command = ["java", "-Xmx3g", "-XX:+UseSerialGC", *XPATH, "-cp", PIXELMED, "com.pixelmed.validate.DicomSRValidator"]
    done = subprocess.run([*command, path], capture_output=True)
    told = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    if "IOD validation complete" not in told:
        return [f"{path.name}: PixelMed's validator did not end"]
    return [f"{path.name}: PixelMed: {line}" for line in told if line.startswith(("Error", "Failed"))]


def _readers(path: Path, study: HostileStudy) -> list[str]:
    """Read an object with the other tools; compare the text and the identity with what went in."""
    faults, name = [], path.name
    dataset = pydicom.dcmread(path)
    if "PatientName" not in study.missing and str(dataset.PatientName) != study.name:
        faults.append(f"{name}: another patient's name")
    if name == "report.dcm":
        done = subprocess.run(["dsrdump", path], capture_output=True)
        if done.returncode:
            faults.append(f"{name}: dsrdump ends with {done.returncode}")
        if texts_of(path) != [*SENTENCES, IMPRESSION]:
            faults.append(f"{name}: another text")
    if name.startswith("evidence"):
        segmentation = hd.seg.segread(path)
        if not 0 < segmentation.pixel_array.max() <= 255:
            faults.append(f"{name}: no evidence")
    if name == "report.pdf.dcm" and not dataset.EncapsulatedDocument.startswith(b"%PDF-"):
        faults.append(f"{name}: no PDF")
    return faults


def texts_of(path: Path, named: Collection[str] = CODES) -> list[str]:
    """Return the texts under these codes that highdicom reads from a structured report.

    Default: the sentences of findings and impression.
    """
    dataset = pydicom.dcmread(path)
    if dataset.SOPClassUID == BasicTextSRStorage:  # which highdicom reads as the larger kind that it knows
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedSRStorage
        content = hd.sr.EnhancedSR.from_dataset(dataset).content
    else:
        content = hd.sr.Comprehensive3DSR.from_dataset(dataset).content
    return [str(item.value) for item in _texts(content) if item.name.value in named]


def _texts(items: hd.sr.value_types.ContentSequence) -> list[hd.sr.TextContentItem]:
    found = []
    for item in items:
        found += [item] if isinstance(item, hd.sr.TextContentItem) else []
        found += _texts(item.ContentSequence) if "ContentSequence" in item else []
    return found


def main() -> None:
    """Check many studies, and print and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--pixelmed", type=int, default=24, help="number of studies for PixelMed's validator")
    arguments = parser.parse_args()
    if missing := missing_tools():
        raise SystemExit(f"not installed: {', '.join(missing)} (Debian: apt-get install dicom3tools dcmtk)")
    warnings.simplefilter("ignore")
    began, faults, counts = time.perf_counter(), [], Counter()
    for seed in range(arguments.studies):
        with tempfile.TemporaryDirectory(prefix="argus-dicom-check-") as folder:
            checked = check_study(Path(folder), seed, MANY_SLICES if seed % 20 == 0 else FEW_SLICES)
            found = [*checked.faults]
            if seed < arguments.pixelmed and has_pixelmed():
                found += pixelmed_faults(Path(folder, "out", "report.dcm"))
                counts["structured reports that PixelMed read"] += 1
        faults += [f"study {seed}, {fault}" for fault in found]
        counts.update({"objects": checked.num_objects, "studies": 1})
        counts.update(f"left empty: {keyword}" for keyword in checked.emptied)
    result = {"counts": dict(counts), "faults": faults, "seconds": round(time.perf_counter() - began, 1)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "dicom_check.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"{counts['objects']} objects of {counts['studies']} studies, {len(faults)} faults")
    print(f"PixelMed's validator read {counts['structured reports that PixelMed read']} of the structured reports")
    print("\n".join(faults[:40]))
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
