"""Look at, read and describe fetched images in processes of their own, which a harmful image may end, not the watcher.

Each such process has limits of time and memory; see `argus_inference.scan_process`.
"""

from functools import partial
from pathlib import Path

import pydicom

from argus_inference.scan_files import ScanNotReadError
from argus_inference.scan_process import Answer, ReaderLimits, answer_apart, prepare_readers, read_apart
from argus_processing.ct_checks import CTReadError
from argus_processing.ct_volume import CTVolume
from argus_processing.read_ct import read_ct

from ..objects.object_identity import ObjectIdentity
from ..objects.report_content import ReportContent
from ..objects.write_objects import ObjectChoice, make_objects
from ..series.series_choice import NoSeriesError, choose_series
from ..series.site_preferences import SitePreferences
from ..series.study_files import read_study, study_paths
from .pacs_errors import StudyChangedError

LIMITS = ReaderLimits(seconds=300.0)
CHANGED = "changed"


def start_early() -> None:
    """Start the process that others are forked from, whose imports take seconds, before the first study comes."""
    prepare_readers("argus_cli.main", __name__)


def examine(folder: Path, images: tuple[str, ...], preferences: SitePreferences) -> str:
    """Tell why the images in a folder are not to be read, as of a folder of files; return nothing if they are.

    Args:
        folder: with one series.
        images: UIDs that it must hold.
        preferences: for the choice of a series.

    Raises:
        StudyChangedError: if it holds other images.
        ScanNotReadError: if the process ends, or takes too long or too much memory.
    """
    start_early()
    facts = answer_apart(partial(_examine, folder, images, preferences), LIMITS).facts
    if facts.get(CHANGED):
        raise StudyChangedError("the series changed while it was read")
    return str(facts.get("reason"))


def _examine(folder: Path, images: tuple[str, ...], preferences: SitePreferences, _: Path) -> Answer:
    paths = study_paths(folder)
    found = [str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).get("SOPInstanceUID")) for path in paths]
    if sorted(found) != sorted(images):
        return Answer({CHANGED: True})
    try:
        choice = choose_series(read_study(paths), preferences)
    except (CTReadError, NoSeriesError) as error:
        return Answer({"reason": str(error)})
    if choice.chosen is not None:
        return Answer({"reason": ""})
    return Answer({"reason": choice.verdicts[0].reason if choice.verdicts else "no DICOM files"})


def read_scan(folder: Path) -> CTVolume:
    """Read the one series in a folder.

    Raises:
        ScanNotReadError: if it cannot be read, or the process ends, or takes too long or too much memory.
    """
    return read_apart(partial(_read, folder), limits=LIMITS)


def _read(folder: Path, _: Path) -> CTVolume:
    return read_ct(folder)


def make_contents(
    folder: Path, report: ReportContent, choice: ObjectChoice, identity: ObjectIdentity
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Make the objects of a report on the series in a folder; see `make_objects`.

    Raises:
        ScanNotReadError: if they cannot be made, or the process ends, or takes too long or too much memory.
    """
    answer = answer_apart(partial(_make, folder, report, choice, identity), LIMITS)
    return answer.files, tuple(answer.facts["emptied"])


def _make(folder: Path, report: ReportContent, choice: ObjectChoice, identity: ObjectIdentity, _: Path) -> Answer:
    try:
        files, emptied = make_objects(folder, report, choice, identity)
    except ValueError as error:
        raise ScanNotReadError(str(error)) from None
    return Answer({"emptied": emptied}, files)
