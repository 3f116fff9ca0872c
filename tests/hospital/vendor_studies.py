"""Draw studies as scanners send them, in the vendors' own words, and know which series is the one to read.

A series' header is written once as a file and read by the program's own reader; its other slices differ from it in
position and picture only, so that a thousand studies take minutes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from drawn_bodies import SIDE, BodyLibrary, ct_file, set_hu
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage, generate_uid

from argus_hospital.series.study_files import StudyFile, read_study_file

WORDS = yaml.safe_load(Path(__file__).with_name("vendor_words.yaml").read_text(encoding="utf-8"))
VENDORS = ("siemens", "ge", "philips", "canon")
AXIAL, CORONAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1)
THIN_MM, THICK_MM = (0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5), (4.0, 5.0)
CHESTS = ("chest", "chest_abdomen")


@dataclass(frozen=True)
class DrawnStudy:
    """A study's files, the series that may be read, of which body part each is, and a site's wish for a phase."""

    kind: str
    vendor: str
    files: list[StudyFile]
    right: frozenset[str]
    bodies: dict[str, str]
    descriptions: dict[str, str]
    phases: tuple[str, ...] = ()


@dataclass
class StudyDrawing:
    """A study in the making: one scanner, one patient, one examination."""

    rng: np.random.Generator
    folder: Path
    library: BodyLibrary
    exam: str = "chest"
    files: list[StudyFile] = field(default_factory=list)
    right: set[str] = field(default_factory=set)
    bodies: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    phases: tuple[str, ...] = ()

    def __post_init__(self):
        self.vendor = str(self.rng.choice(VENDORS))
        self.words = WORDS[self.vendor]
        self.has_kernels = self.rng.random() > 0.08
        self.study = generate_uid(entropy_srcs=[str(self.rng.integers(1 << 60))])
        self.bottom = float(self.rng.uniform(-1200, 200))
        self.number = 0

    def one_of(self, values: list[Any]) -> Any:
        """Return one of some values."""
        return values[int(self.rng.integers(len(values)))]

    def chance(self, share: float) -> bool:
        """Return true with a chance."""
        return bool(self.rng.random() < share)

    def add(
        self,
        body: str,
        words: str,
        kernel: str = "soft",
        *,
        image_type: str = "axial",
        thickness: float = 1.0,
        extent: float = 0.0,
        field_mm: float = 0.0,
        axes: tuple[int, ...] = AXIAL,
        is_right: bool = False,
        sop_class: str = CTImageStorage,
        suffix: str = "",
        lost: tuple[int, int] = (0, 0),
        copies: int = 1,
        num: int | None = None,
    ) -> None:
        """Add one series."""
        self.number += 1
        kernels = self.one_of(self.words[f"{kernel}_kernels"])
        text = self.one_of(self.words[words]).format(t=f"{thickness:g}", k=kernels[0]) + suffix
        header = ct_file(self.folder / "template", sop_class)
        header.SpecificCharacterSet = "ISO_IR 192"
        header.SeriesInstanceUID = generate_uid(entropy_srcs=[self.study, str(self.number)])
        header.StudyInstanceUID, header.SeriesNumber, header.SeriesDescription = self.study, self.number, text
        header.ImageType = [part for part in self.one_of(self.words[image_type]) if part]
        header.Manufacturer = self.one_of(self.words["manufacturer"])
        part = body if body in WORDS["body_parts"] else "chest"
        header.BodyPartExamined = self.one_of(WORDS["body_parts"][part])
        header.ProtocolName = self.one_of(WORDS["protocols"][part if self.exam == "chest_head" else self._protocol()])
        header.StudyDescription = self.study_description
        if self.has_kernels:
            header.ConvolutionKernel = kernels
        if not self.chance(0.05):
            header.SliceThickness = f"{thickness:g}"
        header.PatientPosition = "FFS" if self.chance(0.3) else "HFS"
        header.ImageOrientationPatient = list(axes)
        set_hu(header, np.zeros((4, 4)))
        header.save_as(self.folder / "template")
        file = read_study_file(self.folder / "template")
        uid = str(header.SeriesInstanceUID)
        self.bodies[uid], self.descriptions[uid] = body, text
        self.right |= {uid} if is_right else set()
        extent = extent or float(self.rng.uniform(*EXTENTS[body]))
        step = thickness * (self.one_of([1.0, 1.0, 0.8, 0.5]) if thickness < 3 else 1.0)
        count = max(1, round(extent / step)) if num is None else num
        places = [index for index in range(count) if not lost[0] <= index < lost[1]] * copies
        fov = field_mm or float(self.rng.uniform(300, 420))
        self.files += self._spread(file, body, places, count, step, fov) if file.slices else [file] * max(1, num or 1)

    @property
    def study_description(self) -> str:
        """Return the study's description, the same for all series."""
        if not hasattr(self, "_study_description"):
            self._study_description = "" if self.chance(0.1) else self.one_of(WORDS["studies"][self.exam])
        return self._study_description

    def _protocol(self) -> str:
        return self.exam if self.exam in WORDS["protocols"] else "chest"

    def _spread(
        self, file: StudyFile, body: str, places: list[int], count: int, step: float, fov: float
    ) -> Iterator[StudyFile]:
        """Yield the slices of a series along the body, each with the picture of its level."""
        (first,) = file.slices
        normal = np.cross(first.orientation[:3], first.orientation[3:])
        for index in places:
            path, pixels = self.library.picture(body, index / count)
            position = tuple(-fov / 2 * np.array([1, 1, 0]) + (self.bottom + index * step) * normal)
            moved = replace(first, path=path, pixels=pixels, spacing=(fov / SIDE,) * 2, position=position)
            yield replace(file, path=Path(f"{file.series}-{index}"), slices=(moved,))

    def beside(self) -> None:
        """Add what a scanner sends beside the scan: topogram, reformats, projections, dose pages."""
        self.add("chest", "topogram", image_type="localizer", num=self.one_of([1, 2]))
        if self.chance(0.7):
            self.add("chest", "coronal", image_type="mpr", axes=CORONAL, thickness=3.0, extent=250)
        if self.chance(0.15):  # an axial reformat
            self.add("chest", "soft", image_type="mpr", thickness=2.0)
        if self.chance(0.4):
            self.add("chest", "mips", image_type="mip", thickness=10.0)
        if self.chance(0.8):
            kinds = [kind for kind in self.words["capture"] if {"DOSE_INFO", "SCREEN SAVE"} & set(kind)]
            is_ct = bool(kinds) and len(kinds) == len(self.words["capture"]) and self.chance(0.3)
            self.add(
                "chest",
                "captures",
                image_type="capture",
                sop_class=CTImageStorage if is_ct else SecondaryCaptureImageStorage,
                num=self.one_of([1, 2, 3]),
            )


EXTENTS = {
    "chest": (270, 380),
    "chest_abdomen": (560, 720),
    "heart": (110, 145),
    "abdomen": (220, 460),
    "pelvis": (180, 260),
    "head": (140, 200),
    "neck": (160, 260),
    "spine": (200, 350),
    "limb": (150, 300),
    "whole_body": (900, 1600),
}


def _recons(study: StudyDrawing, soft: str = "soft", suffix: str = "", body: str = "chest") -> None:
    """Add the reconstructions of one scan of the chest; the best of those that are there is right."""
    thin = study.one_of(THIN_MM)
    has_soft, has_lung = study.chance(0.8), study.chance(0.75)
    if has_soft:
        study.add(body, soft, thickness=thin, is_right=True, suffix=suffix)
    if has_lung:
        study.add(body, "lung", "lung", thickness=study.one_of(THIN_MM), is_right=not has_soft)
    if study.chance(0.5) or not (has_soft or has_lung):
        study.add(body, soft, thickness=study.one_of(THICK_MM), is_right=not (has_soft or has_lung), suffix=suffix)
    if study.chance(0.2) and has_soft:
        study.add(body, "bone", "bone", thickness=study.one_of(THIN_MM))


def _routine(study: StudyDrawing) -> None:
    study.beside()
    _recons(study)


def _embolism(study: StudyDrawing) -> None:
    study.exam = "pulmonary"
    study.beside()
    if study.chance(0.8):
        study.add("chest", "monitoring", thickness=10.0, num=study.one_of([1, 12, 25]))
    _recons(study, "pulmonary")


def _high_resolution(study: StudyDrawing) -> None:
    study.beside()
    _recons(study)
    study.add("chest", "expiration", study.one_of(["lung", "soft"]), thickness=study.one_of(THIN_MM))
    if study.chance(0.3):  # single slices, one a centimetre
        study.add("chest", "lung", "lung", thickness=10.0, extent=280)


def _dual_energy(study: StudyDrawing) -> None:
    study.beside()
    _recons(study)
    for _ in range(int(study.rng.integers(1, 4))):
        study.add("chest", "spectral_words", image_type="spectral", thickness=study.one_of(THIN_MM))
    if study.vendor in ("siemens", "canon"):
        study.add("chest", "one_tube", thickness=1.0)


def _phases(study: StudyDrawing) -> None:
    """Two phases of the same scan; a site may ask for one of them."""
    study.exam = "chest"
    study.beside()
    asked = study.chance(0.5)
    study.phases = ("venous", "native") if asked else ()
    study.add("chest", "soft", thickness=1.0, is_right=not asked, suffix=study.one_of([" nativ", " native", " w/o"]))
    study.add("chest", "soft", thickness=1.0, is_right=True, suffix=study.one_of([" ven", " venous", " portal venous"]))


def _body_and_chest(study: StudyDrawing) -> None:
    """A scan of chest and abdomen, with or without a reconstruction of the chest alone."""
    study.exam = "chest_abdomen"
    study.beside()
    has_chest = study.chance(0.6)
    study.add("chest_abdomen", "chest_abdomen", thickness=study.one_of(THIN_MM), is_right=not has_chest)
    if has_chest:
        study.add("chest", study.one_of(["lung"]), "lung", thickness=study.one_of(THIN_MM), is_right=True)
    for _ in range(int(study.rng.integers(0, 3))):
        study.add("abdomen", "abdomen", thickness=study.one_of([1.0, 2.0, 5.0]))


def _trauma(study: StudyDrawing) -> None:
    study.exam = "chest_head"
    study.beside()
    study.add("head", "head", thickness=1.0, field_mm=float(study.rng.uniform(220, 260)))
    if study.chance(0.6):
        study.add("neck", "neck", thickness=1.0)
    study.add("spine", "spine", "bone", thickness=1.0, field_mm=float(study.rng.uniform(150, 220)))
    study.add("abdomen", "abdomen", thickness=1.0)
    _recons(study)


def _broken(study: StudyDrawing) -> None:
    """A good scan beside one with a gap, one of two phases in one series, a part of it, a target."""
    study.beside()
    study.add("chest", "soft", thickness=1.0, lost=(100, 112))
    study.add("chest", "soft", thickness=1.0, copies=2)
    study.add("chest", "lung", "lung", thickness=1.0, extent=90)
    study.add("chest", "lung", "lung", thickness=1.0, field_mm=180)
    study.add("chest", "lung", "lung", thickness=1.5, is_right=True)


def _elsewhere(study: StudyDrawing) -> None:
    """No chest at all."""
    body = study.one_of(["head", "abdomen", "heart", "spine", "limb", "neck"])
    study.exam = body
    for _ in range(int(study.rng.integers(1, 4))):
        small = {"head": 240.0, "spine": 190.0, "heart": 200.0, "limb": 200.0}.get(body, 0.0)
        study.add(body, body, thickness=study.one_of(THIN_MM), field_mm=small if study.chance(0.7) else 0.0)
    study.add(body, "captures", image_type="capture", sop_class=SecondaryCaptureImageStorage, num=1)


def _nothing_usable(study: StudyDrawing) -> None:
    """A chest of which nothing can be read."""
    study.beside()
    study.add("chest", "soft", thickness=study.one_of([7.0, 8.0, 10.0]))
    if study.chance(0.5):
        study.add("chest", "lung", "lung", thickness=1.0, lost=(60, 75))
    if study.chance(0.5):
        study.add("whole_body", "soft", thickness=3.0)


STUDY_KINDS: dict[str, tuple[float, Callable[[StudyDrawing], None]]] = {
    "routine": (0.24, _routine),
    "embolism": (0.1, _embolism),
    "high resolution": (0.1, _high_resolution),
    "dual energy": (0.1, _dual_energy),
    "phases": (0.08, _phases),
    "chest and abdomen": (0.12, _body_and_chest),
    "trauma": (0.08, _trauma),
    "broken": (0.06, _broken),
    "another body part": (0.08, _elsewhere),
    "nothing usable": (0.04, _nothing_usable),
}


def draw_studies(number: int, seed: int, folder: Path) -> Iterator[DrawnStudy]:
    """Yield studies, the same for the same seed; `folder` takes the pictures."""
    rng = np.random.default_rng(seed)
    library = BodyLibrary(folder)
    shares = np.array([share for share, _ in STUDY_KINDS.values()])
    for _ in range(number):
        kind = str(rng.choice(list(STUDY_KINDS), p=shares / shares.sum()))
        study = StudyDrawing(rng, folder, library)
        STUDY_KINDS[kind][1](study)
        order = rng.permutation(len(study.files))
        files = [study.files[place] for place in order]
        yield DrawnStudy(
            kind, study.vendor, files, frozenset(study.right), study.bodies, study.descriptions, study.phases
        )
