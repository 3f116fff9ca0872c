"""Measure what the choice of a series asks for: geometry, sharpness, phase and the body parts that its words name."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from argus_processing.ct_checks import CTReadError
from argus_processing.dicom_geometry import stack_slices
from argus_processing.dicom_kind import SLICE
from argus_processing.dicom_phases import check_labels
from argus_processing.dicom_slices import NO_DICOM, PHASE_KEYWORDS, DicomSlice
from argus_processing.dicom_values import as_numbers

from .kernels import kernel_of
from .series_words import CHEST, PHASES
from .site_preferences import SitePreferences
from .study_files import SeriesLabels, StudyFile, cause_of

CLEAR, UNCLEAR = "clear", "unclear"
UID_LETTERS = frozenset("0123456789.")
MAX_UID = 64


@dataclass(frozen=True)
class SeriesFiles:
    """The files of one series; `name` is its UID, or a number such as #3 where it has none that can be shown."""

    name: str
    files: tuple[StudyFile, ...]

    @cached_property
    def kind(self) -> str:
        """Return the kind that counts: slices where there are any, else the most frequent."""
        kinds = Counter(file.kind for file in self.files)
        return SLICE if any(file.slices for file in self.files) else kinds.most_common(1)[0][0]

    @property
    def labels(self) -> SeriesLabels:
        """Return the labels of the middle one of the files of that kind."""
        own = [file for file in self.files if file.kind == self.kind]
        return own[len(own) // 2].labels

    @property
    def slices(self) -> list[DicomSlice]:
        """Return the slices of all files, unsorted."""
        return [item for file in self.files for item in file.slices]


def series_of_study(files: Iterable[StudyFile]) -> list[SeriesFiles]:
    """Collect a study's DICOM files by series; files that are not DICOM are left out."""
    groups: dict[tuple[object, ...], list[StudyFile]] = defaultdict(list)
    for file in files:
        if file.kind != NO_DICOM:
            # Without a UID, slices are told apart as the reader does it, other files by their kind.
            key = (file.series,) if file.series else file.slices[0].series if file.slices else ("", file.kind)
            groups[key].append(file)
    order = sorted(groups.values(), key=lambda group: (_number(group[0]), group[0].series, str(group[0].path)))
    return [SeriesFiles(_shown(group[0].series, place), tuple(group)) for place, group in enumerate(order, start=1)]


def _number(file: StudyFile) -> int:
    return file.labels.number if file.labels.number is not None else 1 << 31


def _shown(uid: str, place: int) -> str:
    is_uid = 0 < len(uid) <= MAX_UID and UID_LETTERS.issuperset(uid)
    return uid if is_uid else f"#{place}"


@dataclass(frozen=True)
class SeriesFacts:
    """A series of CT slices, measured.

    Attributes:
        name, labels, num_files: of the series.
        slices: in order along the body; unsorted where `problem` tells why they are no stack.
        problem: why the reader would refuse them; empty if it would not.
        step_mm, thickness_mm, extent_mm, field_mm: distance and thickness of slices, length along the body, smallest
            side of a slice.
        is_axial: whether the slices are across the body.
        kernel: soft, lung, bone or unknown.
        phase: of contrast; empty if no word tells.
        regions: body parts that the words name.
        chest_words: whether words say that it shows the chest: clear or unclear; empty if they say that it does not.
    """

    name: str
    labels: SeriesLabels
    num_files: int
    slices: tuple[DicomSlice, ...]
    problem: str
    step_mm: float
    thickness_mm: float
    extent_mm: float
    field_mm: float
    is_axial: bool
    kernel: str
    phase: str
    regions: frozenset[str]
    chest_words: str

    @property
    def slab_mm(self) -> float:
        """Return what limits the detail along the body: the larger of distance and thickness."""
        return max(self.step_mm, self.thickness_mm)


def facts_of(series: SeriesFiles, preferences: SitePreferences) -> SeriesFacts:
    """Measure a series that has slices."""
    slices, problem = series.slices, ""
    folder = Path(series.name)
    try:
        slices, _ = stack_slices(slices, folder)
        check_labels(slices, folder)
    except CTReadError as error:
        problem = cause_of(error, folder)
    damaged = [file for file in series.files if file.problem]
    if damaged:
        problem = f"{len(damaged)} of {len(series.files)} files cannot be read ({damaged[0].problem})"
    labels, words = series.labels, preferences.vocabulary
    regions, chest_words = body_of(labels, preferences)
    step, extent, is_axial = _along_body(slices)
    thickness = as_numbers(labels.thickness or _phase_value(slices[0], "SliceThickness"), 1)
    kernel = labels.kernel or _phase_value(slices[0], "ConvolutionKernel")
    return SeriesFacts(
        name=series.name,
        labels=labels,
        num_files=len(series.files),
        slices=tuple(slices),
        problem=problem,
        step_mm=step,
        thickness_mm=thickness[0] if thickness else step,
        extent_mm=extent,
        field_mm=min(side * space for side, space in zip(slices[0].shape, slices[0].spacing, strict=True)),
        is_axial=is_axial,
        kernel=kernel_of(kernel, labels.description, words, preferences.kernel_names),
        phase=words.first_of(PHASES, labels.description) or ("contrast" if labels.contrast.strip() else ""),
        regions=regions,
        chest_words=chest_words,
    )


def _phase_value(item: DicomSlice, keyword: str) -> str:
    return item.phases[PHASE_KEYWORDS.index(keyword)] if item.phases else ""


def _along_body(slices: list[DicomSlice]) -> tuple[float, float, bool]:
    """Return the usual distance of slices, their extent, and whether they lie across the body."""
    row, column = np.array(slices[0].orientation).reshape(2, 3)
    normal = np.cross(row, column)
    places = np.sort([float(normal @ item.position) for item in slices])
    steps = np.diff(places)
    usual = float(np.median(steps)) if len(steps) else 0.0
    across = abs(normal[2]) > np.cos(np.deg2rad(25)) * max(float(np.linalg.norm(normal)), 1e-9)
    return usual, float(places[-1] - places[0]) + usual, bool(across)


def body_of(labels: SeriesLabels, preferences: SitePreferences) -> tuple[frozenset[str], str]:
    """Return the body parts that a series' words name, and whether they say chest.

    The description of the series counts more than the body part, and both more than protocol and study, which are
    often those of a whole examination.
    """
    words = preferences.vocabulary
    own, part = words.regions_in(labels.description), words.regions_in(labels.body_part)
    whole = [words.regions_in(text) for text in (labels.protocol, labels.study_description)]
    if own:
        return own, CLEAR if CHEST in own and "spine" not in own else ""
    if CHEST in part:
        return part, CLEAR
    names = next((found for found in whole if found), frozenset())
    chest_in_study = any(CHEST in found for found in whole)
    if part:
        return part, UNCLEAR if chest_in_study else ""
    if CHEST in names:
        return names, CLEAR
    if names:
        return names, UNCLEAR if chest_in_study else ""
    return names, UNCLEAR
