"""Ask for studies, fetch series and store objects over DICOMweb: QIDO-RS, WADO-RS and STOW-RS."""

import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from requests.exceptions import ChunkedEncodingError, ContentDecodingError, InvalidJSONError

from ..objects.header_repair import lawful_uid
from .multipart_files import write_parts
from .pacs_errors import PacsBusyError, PacsDownError, PacsError, StudyChangedError
from .pacs_session import bounded, open_session
from .pacs_settings import PacsAddress

AS_STORED = (("application/dicom", "*"),)  # in the transfer syntax in which the PACS keeps it
ACCEPT = 'multipart/related; type="application/dicom"'
PAGE = 200
MAX_SERIES_BYTES = 16 << 30
MAX_COUNT = 10_000_000  # of objects; a larger number is none
BUSY = (408, 429, 502, 503, 504)
NOT_ACCEPTABLE, CONFLICT, NOT_FOUND = 406, 409, 404
STUDY_UID, SERIES_UID, SOP_UID, MODALITY = "0020000D", "0020000E", "00080018", "00080060"
MODALITIES_IN_STUDY, IMAGES_OF_STUDY, IMAGES_OF_SERIES = "00080061", "00201208", "00201209"
CHANGED = "the series changed while it was read"


@dataclass(frozen=True)
class StudyListed:
    """A study in the list of the PACS, and how many objects it has."""

    uid: str
    num_instances: int


@dataclass(frozen=True)
class SeriesListed:
    """A series in the list of the PACS; `num_instances` is None where the PACS does not tell it."""

    uid: str
    modality: str
    num_instances: int | None


class PacsClient:
    """A DICOMweb server's studies; each method raises `PacsError` in a line that quotes no answer of the server."""

    def __init__(self, address: PacsAddress) -> None:
        self._session = open_session(address)
        self._timeout_s = address.timeout_s
        with _asking("the address"):
            self._web = DICOMwebClient(address.url.rstrip("/"), session=self._session, timeout=address.timeout_s)
        self._web.set_http_retry_params(retry=False)  # the watcher waits longer than a request may

    def studies_with_ct(self, dates: str = "") -> Iterator[StudyListed]:
        """List the studies with CT images; what the PACS lists without a UID or a number of objects is passed over.

        Args:
            dates: range of study dates, YYYYMMDD-YYYYMMDD. Default: any.

        Raises:
            PacsError: also if the PACS tells no number of objects at all.
        """
        filters = {"ModalitiesInStudy": "CT"} | ({"StudyDate": dates} if dates else {})
        known: set[str] = set()
        while True:
            with _asking("QIDO-RS for studies"):
                page = _objects(
                    self._web.search_for_studies(
                        search_filters=filters, fields=[IMAGES_OF_STUDY], limit=PAGE, offset=len(known)
                    )
                )
            new = [item for item in page if _text(item, STUDY_UID) not in known | {""}]
            known |= {_text(item, STUDY_UID) for item in new}
            counts = [_count(item, IMAGES_OF_STUDY) for item in new]
            if new and not any(count is not None for count in counts):
                raise PacsError("the PACS does not tell how many objects a study has (0020,1208)")
            for item, count in zip(new, counts, strict=True):
                if count is not None and "CT" in (_all(item, MODALITIES_IN_STUDY) or ["CT"]):
                    yield StudyListed(_text(item, STUDY_UID), count)
            if len(page) < PAGE or not new:  # some servers answer any offset with the first page
                return

    def answers(self) -> bool:
        """Return whether the PACS answers a small question now."""
        try:
            with _asking("QIDO-RS for studies"):
                self._web.search_for_studies(limit=1)
        except PacsError:
            return False
        return True

    def series_of(self, study: str) -> list[SeriesListed]:
        """List a study's series; none if the PACS has no such study. Series without a lawful UID cannot be asked for.

        Raises:
            PacsError: also if the study has no lawful UID.
        """
        if not lawful_uid(study):
            raise PacsError("the study has no lawful UID, so it cannot be asked for")
        found: dict[str, SeriesListed] = {}
        while True:
            try:
                with _asking("QIDO-RS for series"):
                    page = _objects(
                        self._web.search_for_series(study, fields=[IMAGES_OF_SERIES], limit=PAGE, offset=len(found))
                    )
            except _NotFoundError:
                return []
            new = [item for item in page if _text(item, SERIES_UID) not in found.keys() | {""}]
            for item in new:
                uid = _text(item, SERIES_UID)
                found[uid] = SeriesListed(uid, _text(item, MODALITY), _count(item, IMAGES_OF_SERIES))
            if len(page) < PAGE or not new:
                return [series for series in found.values() if lawful_uid(series.uid)]

    def metadata_of(self, study: str, series: str) -> list[dict[str, Any]]:
        """Fetch the headers of a series' images as DICOM JSON."""
        with _asking("WADO-RS for metadata"):
            return _objects(self._web.retrieve_series_metadata(study, series))

    def fetch_series(self, study: str, series: str, folder: Path, num_images: int) -> None:
        """Write the images of a series into a folder, byte for byte as they are sent.

        Raises:
            StudyChangedError: if there are more or fewer than `num_images`.
        """
        address = f"{self._web.base_url}/studies/{study}/series/{series}"
        try:
            written = self._fetch(address, f"{ACCEPT}; transfer-syntax=*", folder, num_images)
        except _NotAcceptableError:
            written = self._fetch(address, ACCEPT, folder, num_images)
        if written != num_images:
            raise StudyChangedError(CHANGED)

    def _fetch(self, address: str, accept: str, folder: Path, num_images: int) -> int:
        def opened(number: int) -> BinaryIO:
            if number >= num_images:
                raise StudyChangedError(CHANGED)
            return _OwnFile(folder / f"{number:05d}.dcm")

        with (
            _asking("WADO-RS for images"),
            self._session.get(address, headers={"Accept": accept}, stream=True, timeout=self._timeout_s) as answer,
        ):
            answer.raise_for_status()
            chunks = bounded(answer, MAX_SERIES_BYTES)
            kind = Message()
            kind["Content-Type"] = answer.headers.get("Content-Type", "")
            boundary = kind.get_param("boundary")
            if kind.get_content_type() == "application/dicom":  # of one image, against the standard
                return _write_one(chunks, opened)
            if kind.get_content_maintype() != "multipart" or not isinstance(boundary, str) or not boundary:
                raise PacsError("the PACS answered to WADO-RS for images with something else")
            return write_parts(chunks, boundary.encode(), opened)

    def store(self, study: str, dataset: Dataset) -> None:
        """Store one object; that it is there is told by `stored` only."""
        with _asking("STOW-RS"):
            try:
                answer = self._web.store_instances([dataset], study)
            except requests.HTTPError as error:
                if error.response is not None and error.response.status_code == CONFLICT:
                    return  # it may be there already
                raise
        if answer.get("FailedSOPSequence"):
            raise PacsError("the PACS answered to STOW-RS that it did not store an object")

    def stored(self, study: str, series: str, sop: str) -> Dataset | None:
        """Return an object of the PACS; None if it has none with these UIDs."""
        try:
            with _asking("WADO-RS for an object"):
                return self._web.retrieve_instance(study, series, sop, media_types=AS_STORED)
        except _NotFoundError:
            return None


class _NotAcceptableError(PacsError):
    pass


class _NotFoundError(PacsError):
    pass


class _OwnFileError(Exception):
    """Carries an error of this machine's disk past the translation of the network's errors."""


class _OwnFile(io.FileIO):
    """A file of this machine, whose errors pass by the translation of the network's."""

    def __init__(self, path: Path) -> None:
        with _own_errors():
            super().__init__(path, "xb")

    def write(self, content: Any) -> int:
        """Write all of a content."""
        with _own_errors():
            rest = memoryview(content)
            while rest:
                rest = rest[super().write(rest) :]
        return len(content)


def _write_one(chunks: Iterable[bytes], opened: Callable[[int], BinaryIO]) -> int:
    with opened(0) as file:
        for chunk in chunks:
            file.write(chunk)
    return 1


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _OwnFileError from error


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Translate the errors of a request, and keep the libraries' messages, which quote answers, out of logs."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (PacsError, MemoryError):
        raise
    except _OwnFileError as error:
        raise error.__cause__ or error from None
    except requests.HTTPError as error:
        status = 0 if error.response is None else error.response.status_code
        kinds: dict[int, type[PacsError]] = {NOT_ACCEPTABLE: _NotAcceptableError, NOT_FOUND: _NotFoundError}
        kind = kinds.get(status, PacsBusyError if status in BUSY else PacsError)
        raise kind(f"the PACS answered {status} to {what}") from None
    except requests.exceptions.SSLError:
        raise PacsDownError("the PACS has a certificate that is not trusted; check ca_file") from None
    except (InvalidJSONError, ContentDecodingError) as error:
        raise PacsError(f"the PACS answered to {what} what cannot be read ({type(error).__name__})") from None
    except ChunkedEncodingError:
        raise PacsError(f"the PACS cut its answer to {what} short") from None
    except requests.RequestException as error:
        raise PacsDownError(f"the PACS does not answer to {what} ({type(error).__name__})") from None
    except Exception as error:  # of an answer that is no DICOMweb, whose text may quote it
        raise PacsError(f"the PACS answered to {what} what cannot be read ({type(error).__name__})") from None
    finally:
        logging.disable(before)


def _objects(answer: Any) -> list[dict[str, Any]]:
    """Return an answer that is a list of DICOM JSON objects; called while asking, which tells of others."""
    if not isinstance(answer, list) or not all(
        isinstance(item, dict) and all(isinstance(element, dict) for element in item.values()) for item in answer
    ):
        raise TypeError("expected a list of objects")
    return answer


def _all(item: dict[str, Any], tag: str) -> list[Any]:
    values = item.get(tag, {}).get("Value")
    return values if isinstance(values, list) else []


def _text(item: dict[str, Any], tag: str) -> str:
    value = next(iter(_all(item, tag)), "")
    return value if isinstance(value, str) else ""


def _count(item: dict[str, Any], tag: str) -> int | None:
    """Return a number of objects; None if it is none."""
    value = next(iter(_all(item, tag)), None)
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 12:
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= MAX_COUNT else None
