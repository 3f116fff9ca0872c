"""Write small chest series whose headers are as hospitals send them: odd dates, missing elements, many scripts."""

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from drawn_bodies import ct_file, draw_body, set_hu
from pydicom import Dataset, config
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid

from argus_processing.read_ct import read_ct

# Character sets with a name in their script, and whether extensions are needed.
NAMES = {
    "ISO_IR 100": "Müller^Jörg^Éric",
    "ISO_IR 144": "Люкceмбypг^Анна",
    "ISO_IR 126": "Διονυσιος^Νικος",
    "ISO_IR 166": "นามสกุล^ชื่อ",
    "ISO_IR 192": "王^小東=Wáng^Xiǎodōng",
    "GB18030": "Wang^XiaoDong=王^小东",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
}
DATES = ("20240131", "2024.01.31", "2024-01-31", "31.01.2024", "20240231", "unknown", "", "2024", "0000", "20240131 ")
TIMES = ("101530", "10:15:30", "101530.123456", "25:99", "morning", "", "1015", "101530.1234567")
SEXES = ("M", "F", "O", "female", "W", "", "unknown", "D")
NUMBERS = ("ACC1", "A" * 16, "ACCESSION-NUMBER-TOO-LONG-1", "", "12\\13", "Ä-7")
TYPE_2 = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber ReferringPhysicianName "
    "StudyID"
).split()


@dataclass(frozen=True)
class HostileStudy:
    """A folder with one series, the name that it was given, and the elements that it lacks."""

    folder: Path
    name: str
    character_set: str
    missing: tuple[str, ...]


def write_hostile_study(folder: Path, seed: int, num_slices: int = 24) -> HostileStudy:
    """Write one series; the same seed gives the same headers."""
    rng = np.random.default_rng(seed)
    character_set = list(NAMES)[seed % len(NAMES)]
    missing = tuple(keyword for keyword in TYPE_2 if rng.random() < 0.25)
    identity = odd_identity(rng, NAMES[character_set])
    study, series = (generate_uid(entropy_srcs=[str(seed), kind]) for kind in ("study", "series"))
    folder.mkdir(parents=True)
    for index in range(num_slices):
        header = slice_header(folder / f"IM{index:04d}", index, num_slices, study, series)
        header.SpecificCharacterSet = character_set.split("\\")
        for keyword, value in identity.items():
            if keyword not in missing:
                set_anyway(header, keyword, value)
        header.save_as(folder / f"IM{index:04d}")
    return HostileStudy(folder, NAMES[character_set], character_set, missing)


def odd_identity(rng: np.random.Generator, name: str) -> dict[str, str]:
    """Return values of a patient and a study, many of them against the standard."""
    choices = {
        "PatientBirthDate": DATES,
        "StudyDate": DATES,
        "StudyTime": TIMES,
        "PatientSex": SEXES,
        "AccessionNumber": NUMBERS,
        "StudyID": NUMBERS,
        "ReferringPhysicianName": ("Doctor^A", "", "^^^^^^", "x" * 70),
        "PatientID": ("0815", "P" * 64, "P" * 80, "ID with spaces "),
        "StudyDescription": ("CT Thorax", "", "d" * 80),
        "PatientIdentityRemoved": ("YES", "NO", "", "maybe"),
    }
    return {"PatientName": name} | {key: str(rng.choice(values)) for key, values in choices.items()}


def slice_header(path: Path, index: int, num_slices: int, study: str, series: str) -> FileDataset:
    """Return a slice of a chest at its place."""
    header = ct_file(path)
    uid = generate_uid(entropy_srcs=[series, str(index)])
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = uid
    header.StudyInstanceUID, header.SeriesInstanceUID = study, series
    header.FrameOfReferenceUID = generate_uid(entropy_srcs=[series, "frame"])
    header.ImageType, header.SeriesNumber, header.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], 3, index + 1
    step = 300 / num_slices
    header.SliceThickness = f"{step:.4g}"
    header.ImagePositionPatient = [-192, -192, round(step * index, 3)]
    set_hu(header, draw_body("chest", (index + 0.5) / num_slices, np.random.default_rng(index)))
    return header


def set_anyway(header: Dataset, keyword: str, value: str) -> None:
    """Set a value that pydicom would refuse."""
    before = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        setattr(header, keyword, value)
    finally:
        config.settings.writing_validation_mode = before


def write_evidence(folder: Path, path: Path) -> Path:
    """Write a map of evidence on a coarser grid of the scan in a folder: one bright place in the left lung."""
    volume = read_ct(folder)
    step = np.diag([2.0, 4.0, 4.0, 1.0])
    data = np.zeros((volume.hu.shape[0] // 2, 24, 24), np.float32)
    data[len(data) // 2 - 1 : len(data) // 2 + 2, 10:14, 16:19] = 3.0
    nibabel.save(nibabel.Nifti1Image(data, volume.affine @ step), path)
    return path
