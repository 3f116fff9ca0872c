"""Read one study of a PACS: choose the series by its headers, fetch it, and make the objects of its report."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pydicom

from argus_inference.scan_files import ScanNotReadError
from argus_processing.dicom_slices import DicomSlice
from argus_processing.storage.part_files import private_folder

from ..objects.object_identity import ObjectIdentity, identity_of_reading, key_of_reading
from ..objects.report_content import ReplacedReport, ReportContent
from ..objects.write_objects import ObjectChoice
from ..series.series_choice import NoSeriesError, choose_series
from ..series.site_preferences import SitePreferences
from .header_files import SeriesHeaders, write_headers
from .pacs_client import PacsClient, SeriesListed
from .pacs_errors import StudyChangedError
from .report_writer import ReportWriter, UnreadableScanError, without_folder
from .reports_in_pacs import newest_report, stored_reports, structured_uids
from .scan_apart import examine, make_contents

FHIR_SUFFIX = ".fhir.json"


@dataclass(frozen=True)
class MadeObject:
    """An object of a report: one of DICOM by its UID, or a FHIR document by the name of its file."""

    name: str
    content: bytes

    @property
    def is_dicom(self) -> bool:
        """Return whether it goes into the PACS."""
        return not self.name.endswith(FHIR_SUFFIX)


@dataclass(frozen=True)
class StudyRead:
    """The outcome of reading a study.

    Attributes:
        key: of the reading: the same images and model have the same.
        series: UID of the series that was read.
        objects: in the order in which they are sent, the structured report last of those that the PACS gets; none if it
            holds the report.
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
        choice: of the objects to make; its evidence is not used.
        has_evidence: whether maps of evidence are made.
        work: folder for images while they are read.
        is_reported: tells whether a report with this key was sent once, also where the PACS has lost it.
        step: called with the name of each step, and its result in a few words.
    """

    client: PacsClient
    writer: ReportWriter
    preferences: SitePreferences
    choice: ObjectChoice
    has_evidence: bool
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
            unread: list[str] = []
            headers = {each.uid: self._headers(study, each, folder) for each in series if each.modality == "CT"}
            keys = {uid: key_of_reading(each.images, self.writer.model_hash) for uid, each in headers.items()}
            self.step("headers", f"{len(headers)} CT series of {len(series)}")

            def has_report(name: str) -> bool:
                return bool(known & structured_uids(keys[name])) or self.is_reported(keys[name])

            def look(slices: Sequence[DicomSlice], name: Path) -> str:
                if has_report(str(name)):
                    return ""  # it was looked at when that report was written
                try:
                    return self._look(study, headers[str(name)], folder / "images" / str(name))
                except ScanNotReadError as error:
                    unread.append(without_folder(str(error), folder / "images" / str(name)))
                    return unread[-1]

            files = [file for each in headers.values() for file in each.files]
            try:
                chosen = choose_series(files, self.preferences, look).files.name
            except NoSeriesError as error:
                if unread:
                    raise UnreadableScanError(unread[0]) from None
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
        self.client.fetch_series(study, headers.uid, folder, len(headers.images))
        self.step("fetched", f"{len(headers.images)} images")
        return without_folder(examine(folder, headers.images, self.preferences), folder)

    def _made(self, headers: SeriesHeaders, folder: Path, earlier: ReplacedReport | None) -> StudyRead:
        maps = folder.with_name("evidence") if self.has_evidence else None
        report = replace(self.writer.write(folder, maps), replaces=earlier)
        self.step("written", "")
        choice = replace(self.choice, evidence=maps if maps is not None and maps.exists() else None)
        identity = identity_of_reading(headers.images, report)
        try:
            contents, emptied = self._contents(folder, report, choice, identity)
        except ScanNotReadError as error:
            raise UnreadableScanError(without_folder(str(error), folder)) from None
        self.step("made", f"left empty: {', '.join(emptied)}" if emptied else "")
        return StudyRead(identity.key, headers.uid, in_order(contents), earlier is not None)

    def _contents(
        self, folder: Path, report: ReportContent, choice: ObjectChoice, identity: ObjectIdentity
    ) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """Make the objects; if that fails with the evidence, without: a report is worth sending without it."""
        if choice.evidence is not None:
            try:
                return make_contents(folder, report, choice, identity)
            except ScanNotReadError as error:
                self.step("evidence left out", without_folder(str(error), folder))
        return make_contents(folder, report, replace(choice, evidence=None), identity)


def in_order(contents: dict[str, bytes]) -> tuple[MadeObject, ...]:
    """Return the contents of files as objects to send: a FHIR document after all others, named by the last of them."""
    objects = [MadeObject(sop_of(content), content) for name, content in contents.items() if name.endswith(".dcm")]
    documents = [content for name, content in contents.items() if not name.endswith(".dcm")]
    return (*objects, *(MadeObject(objects[-1].name + FHIR_SUFFIX, content) for content in documents))


def sop_of(content: bytes) -> str:
    """Return the UID of an object from the bytes of its file."""
    return str(pydicom.dcmread(BytesIO(content), specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def hash_of_series(series: Sequence[SeriesListed]) -> str:
    """Return a hash of a study's CT series and their numbers of images, which tells whether there is anything new."""
    told = sorted(f"{each.uid} {each.num_instances}" for each in series if each.modality == "CT")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
