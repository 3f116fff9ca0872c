"""Print the choice of a study's series, and open the chosen ones of folders that other commands are given."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from argus_hospital.series.series_choice import NoSeriesError, SeriesChoice, choose_named, choose_series
from argus_hospital.series.series_facts import series_of_study
from argus_hospital.series.series_folder import folder_of_series
from argus_hospital.series.site_preferences import SitePreferences, load_preferences
from argus_hospital.series.study_files import StudyFile, read_study, study_paths
from argus_inference.scan_reports import ScanFailure, ScanReport
from argus_processing.ct_checks import CTReadError
from argus_processing.storage.progress import progress_bar

from ..options import say, tell


def print_choice(folder: Path, preferences: Path | None, as_json: bool) -> bool:
    """Print the verdict on every series of a study; return whether one is to be read.

    Raises:
        CTReadError, NoSeriesError, ValueError: if the folder, the study or the preferences cannot be read.
    """
    wanted = load_preferences(preferences)
    try:
        choice = choose_series(read_folder(folder), wanted)
    except NoSeriesError as error:
        raise ValueError(f"{folder}: {error}") from None
    tell("\n".join(_lines(choice, as_json)))
    if choice.chosen is None:
        say(f"{folder}: no series is a chest CT to read: {choice.refusals}")
        return False
    say(f"{folder}: read is the series {choice.verdict.name}")
    return True


def _lines(choice: SeriesChoice, as_json: bool) -> Iterator[str]:
    for verdict in choice.verdicts:
        if as_json:
            yield json.dumps(asdict(verdict))
            continue
        number = "" if verdict.number is None else f"series {verdict.number}, "
        yield f"{verdict.state:8} {verdict.name}  {number}{verdict.num_files} files: {verdict.reason}"


def read_folder(folder: Path) -> list[StudyFile]:
    """Read the headers of a folder's files, with a progress bar.

    Raises:
        CTReadError: if it is no folder, or cannot be listed.
    """
    paths = study_paths(folder)
    with progress_bar() as progress:
        task = progress.add_task("headers", total=len(paths))
        return list(read_study(paths, lambda: progress.advance(task)))


@dataclass(frozen=True)
class OpenedScan:
    """A scan as it was given, and the path to read it from.

    Attributes:
        given, path: the two places.
        refusal: tells why none of its series is read; empty if one is.
        series: UID of the series that is read; None if the scan is no DICOM folder, or has no UID.
    """

    given: Path
    path: Path
    refusal: str = ""
    series: str | None = None

    def in_its_own_name(self, result: ScanReport | ScanFailure) -> ScanReport | ScanFailure:
        """Return a result that names the scan as it was given, wherever it was read from, and its series."""
        if isinstance(result, ScanReport):
            result = replace(result, series=self.series)
        if self.path == self.given:
            return result
        own, other = str(self.given), str(self.path)
        if isinstance(result, ScanFailure):
            return replace(result, scan=own, error=result.error.replace(other, own))
        return replace(result, scan=own, warnings=tuple(told.replace(other, own) for told in result.warnings))


@contextmanager
def opened_scans(
    scans: Sequence[Path], name: str | None, preferences: SitePreferences, say: Callable[[str], None]
) -> Iterator[list[OpenedScan]]:
    """Yield the path from which each scan is read: of a folder with many series, that of the chosen one.

    Args:
        scans: files and folders.
        name: UID of the series to read, for one scan only. Default: each folder's chest CT.
        preferences: for the choice.
        say: prints a line that tells which series was chosen.

    Raises:
        ValueError: if a series is named for several scans, or for a file.
    """
    if name is not None and (len(scans) != 1 or not scans[0].is_dir()):
        raise ValueError("--series names a series of one folder; give one SCAN that is a folder")
    with ExitStack() as folders:
        yield [_open(scan, name, preferences, say, folders) for scan in scans]


def _open(
    scan: Path, name: str | None, preferences: SitePreferences, say: Callable[[str], None], folders: ExitStack
) -> OpenedScan:
    if not scan.is_dir():
        return OpenedScan(scan, scan)
    try:
        files = read_folder(scan)
        if name is None and is_one_series(files, scan):
            return OpenedScan(scan, scan, series=_only_series(files, scan))
        choice = choose_series(files, preferences) if name is None else choose_named(files, name)
        verdict = choice.verdict
    except (CTReadError, NoSeriesError) as error:
        text = str(error)
        return OpenedScan(scan, scan, text if text.startswith(str(scan)) else f"{scan}: {text}")
    path = folders.enter_context(folder_of_series(choice.files, files))
    say(f"{scan}: read is the series {verdict.name} of {len(series_of_study(files))} ({verdict.reason})")
    return OpenedScan(scan, path, series=_uid(verdict.name))


def _only_series(files: Sequence[StudyFile], folder: Path) -> str | None:
    """Return the UID of the one series whose slices lie in the folder itself."""
    own = {file.series for file in files if file.slices and file.path.parent == folder}
    return next((one.name for one in series_of_study(files) if own == {one.name}), None)


def _uid(name: str) -> str | None:
    return None if name.startswith("#") else name


def is_one_series(files: Sequence[StudyFile], folder: Path) -> bool:
    """Return whether the slices in the folder itself are of one series, or there are no slices at all."""
    with_slices = [file for file in files if file.slices]
    own = {file.slices[0].series for file in with_slices if file.path.parent == folder}
    if own:
        return len(own) == 1
    return not with_slices and not any(file.series for file in files if file.path.parent != folder)
