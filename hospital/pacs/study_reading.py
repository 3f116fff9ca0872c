"""Read one study of a PACS: choose the series by its headers, fetch it, and make the objects of its report."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pydicom

from argus_processing.ct_checks import CTReadError
from argus_processing.dicom_slices import DicomSlice
from argus_processing.storage.part_files import private_folder

from ..objects.object_identity import identity_of_reading, key_of_reading
from ..objects.report_content import ReplacedReport
from ..objects.write_objects import ObjectChoice, make_objects
from ..series.series_choice import NoSeriesError, choose_series
from ..series.site_preferences import SitePreferences
from ..series.study_files import read_study, study_paths
from .header_files import SeriesHeaders, write_headers
from .pacs_client import PacsClient, SeriesListed, check_same_images
from .pacs_errors import StudyChangedError
from .report_writer import ReportWriter, UnreadableScanError, without_folder
from .reports_in_pacs import newest_report, stored_reports, structured_uids


@dataclass(frozen=True)
class MadeObject:
    """An object of a report: its UID and the bytes of its file."""

    sop: str
    content: bytes


@dataclass(frozen=True)
class StudyRead:
    """The outcome of reading a study.

    Attributes:
        key: of the reading: the same images and model have the same.
        series: UID of the series that was read.
        objects: in the order in which they are sent, the structured report last; none if the PACS holds the report.
        replaces: whether the report replaces an earlier one.
    """

    key: str
    series: str
    objects: tuple[MadeObject, ...]
    replaces: bool = False


class NothingToReadError(ValueError):
    """A study without a chest CT to read; one line with the reasons, of which none quotes a header."""


@dataclass(frozen=True)
class StudyReader:
    """Everything that a study is read with.

    Attributes:
        client: of the PACS.
        writer: writes the reports.
        preferences: for the choice of a series.
        structured: kind of the structured report.
        work: folder for images while they are read.
        is_reported: tells whether a report with this key was sent once, also where the PACS has lost it.
        step: called with the name of each step, and its result in a few words.
    """

    client: PacsClient
    writer: ReportWriter
    preferences: SitePreferences
    structured: str
    work: Path
    is_reported: Callable[[str], bool]
    step: Callable[[str, str], None]

    def read(self, study: str, series: Sequence[SeriesListed]) -> StudyRead:
        """Read a study and make the objects of its report; nothing is sent.

        Args:
            study: its UID.
            series: all of its series.

        Raises:
            NothingToReadError: if no series is a chest CT to read.
            UnreadableScanError: if the chosen series cannot be read.
            PacsError: if the PACS fails, or images came or went meanwhile.
        """
        earlier = stored_reports(self.client, study, series)
        known = {report.uids.sop for report in earlier}
        with private_folder(self.work) as folder:
            headers = {each.uid: self._headers(study, each, folder) for each in series if each.modality == "CT"}
            keys = {uid: key_of_reading(each.images, self.writer.model_hash) for uid, each in headers.items()}
            self.step("headers", f"{len(headers)} CT series of {len(series)}")

            def has_report(name: str) -> bool:
                return bool(known & structured_uids(keys[name])) or self.is_reported(keys[name])

            def look(slices: Sequence[DicomSlice], name: Path) -> str:
                if has_report(str(name)):
                    return ""  # it was looked at when that report was written
                return self._look(study, headers[str(name)], folder / "images" / str(name))

            files = [file for each in headers.values() for file in each.files]
            try:
                chosen = choose_series(files, self.preferences, look).files.name
            except NoSeriesError as error:
                raise NothingToReadError(str(error)) from None
            self.step("chosen", "")
            if has_report(chosen):
                return StudyRead(keys[chosen], chosen, ())
            return self._made(headers[chosen], folder / "images" / chosen, earlier=newest_report(earlier))

    def _headers(self, study: str, series: SeriesListed, folder: Path) -> SeriesHeaders:
        metadata = self.client.metadata_of(study, series.uid)
        if series.num_instances is not None and series.num_instances != len(metadata):
            raise StudyChangedError("the series changed while it was read")
        own = folder / "headers" / series.uid
        own.mkdir(parents=True)
        return write_headers(series.uid, metadata, own)

    def _look(self, study: str, headers: SeriesHeaders, folder: Path) -> str:
        """Fetch a series, and tell why its images are not to be read, as of a folder of files; empty if they are."""
        folder.mkdir(parents=True)
        check_same_images(list(headers.images), self.client.fetch_series(study, headers.uid, folder))
        self.step("fetched", f"{len(headers.images)} images")
        try:
            choice = choose_series(read_study(study_paths(folder)), self.preferences)
        except (CTReadError, NoSeriesError) as error:
            return without_folder(str(error), folder)
        return "" if choice.chosen is not None else choice.verdicts[0].reason if choice.verdicts else "no DICOM files"

    def _made(self, headers: SeriesHeaders, folder: Path, earlier: ReplacedReport | None) -> StudyRead:
        report = replace(self.writer.write(folder), replaces=earlier)
        self.step("written", "")
        identity = identity_of_reading(headers.images, report)
        try:
            contents, emptied = make_objects(folder, report, ObjectChoice(self.structured), identity)
        except ValueError as error:
            raise UnreadableScanError(without_folder(str(error), folder)) from None
        self.step("made", f"left empty: {', '.join(emptied)}" if emptied else "")
        objects = tuple(MadeObject(sop_of(content), content) for content in contents.values())
        return StudyRead(identity.key, headers.uid, objects, earlier is not None)


def sop_of(content: bytes) -> str:
    """Return the UID of an object from the bytes of its file."""
    return str(pydicom.dcmread(BytesIO(content), specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def hash_of_series(series: Sequence[SeriesListed]) -> str:
    """Return a hash of a study's CT series and their numbers of images, which tells whether there is anything new."""
    told = sorted(f"{each.uid} {each.num_instances}" for each in series if each.modality == "CT")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
