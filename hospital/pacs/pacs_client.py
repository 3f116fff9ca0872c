"""Ask for studies, fetch series and store objects over DICOMweb: QIDO-RS, WADO-RS and STOW-RS."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from requests.auth import AuthBase, HTTPBasicAuth

from .pacs_errors import PacsDownError, PacsError, StudyChangedError
from .pacs_settings import PacsAddress

AS_STORED = (("application/dicom", "*"),)  # in the transfer syntax in which the PACS keeps it
PAGE = 200
BUSY = (408, 429, 502, 503, 504)
NOT_ACCEPTABLE, CONFLICT, NOT_FOUND = 406, 409, 404
STUDY_UID, SERIES_UID, SOP_UID, MODALITY = "0020000D", "0020000E", "00080018", "00080060"
MODALITIES_IN_STUDY, IMAGES_OF_STUDY, IMAGES_OF_SERIES = "00080061", "00201208", "00201209"


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


class TokenAuth(AuthBase):
    """Sign each request with the bearer token of the moment."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token to a request."""
        request.headers["Authorization"] = f"Bearer {self._token()}"
        return request


def open_session(address: PacsAddress) -> requests.Session:
    """Return a session that signs in and checks certificates as the address says, whatever the environment holds.

    Raises:
        ValueError, OSError: if a secret or a certificate is missing.
    """
    session = requests.Session()
    session.trust_env = False  # neither .netrc nor a proxy
    for path in (address.ca_file, address.client_certificate, address.client_key):
        if path and not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file of certificates or keys")
    if address.ca_file:
        session.verify = address.ca_file
    if address.client_certificate:
        session.cert = (address.client_certificate, address.client_key)
    if address.user:
        session.auth = HTTPBasicAuth(address.user.encode(), address.password().encode())
    elif address.token():
        session.auth = TokenAuth(address.token)
    return session


class PacsClient:
    """A DICOMweb server's studies; each method raises `PacsError` in a line that quotes no answer of the server."""

    def __init__(self, address: PacsAddress) -> None:
        self._session = open_session(address)
        with _asking("the address"):
            self._web = DICOMwebClient(address.url.rstrip("/"), session=self._session, timeout=address.timeout_s)
        self._web.set_http_retry_params(retry=False)  # the watcher waits longer than a request may

    def studies_with_ct(self, dates: str = "") -> Iterator[StudyListed]:
        """List the studies with CT images.

        Args:
            dates: range of study dates, YYYYMMDD-YYYYMMDD. Default: any.
        """
        filters = {"ModalitiesInStudy": "CT"} | ({"StudyDate": dates} if dates else {})
        known: set[str] = set()
        while True:
            with _asking("QIDO-RS for studies"):
                page = self._web.search_for_studies(
                    search_filters=filters, fields=[IMAGES_OF_STUDY], limit=PAGE, offset=len(known)
                )
            new = [item for item in page if _first(item, STUDY_UID) not in known | {None}]
            for item in new:
                known.add(str(_first(item, STUDY_UID)))
                if "CT" in (_all(item, MODALITIES_IN_STUDY) or ["CT"]):
                    yield _study(item)
            if len(page) < PAGE or not new:  # some servers answer any offset with the first page
                return

    def series_of(self, study: str) -> list[SeriesListed]:
        """List a study's series; none if the PACS has no such study."""
        found: dict[str, SeriesListed] = {}
        while True:
            with _asking("QIDO-RS for series"):
                page = self._web.search_for_series(study, fields=[IMAGES_OF_SERIES], limit=PAGE, offset=len(found))
            new = [item for item in page if _first(item, SERIES_UID) not in found]
            for item in new:
                uid, count = str(_first(item, SERIES_UID)), _first(item, IMAGES_OF_SERIES)
                modality = str(_first(item, MODALITY) or "")
                found[uid] = SeriesListed(uid, modality, None if count is None else int(count))
            if len(page) < PAGE or not new:
                return list(found.values())

    def metadata_of(self, study: str, series: str) -> list[dict[str, Any]]:
        """Fetch the headers of a series' images as DICOM JSON."""
        with _asking("WADO-RS for metadata"):
            return self._web.retrieve_series_metadata(study, series)

    def fetch_series(self, study: str, series: str, folder: Path) -> list[str]:
        """Write the images of a series into a folder, as they are stored; return their UIDs."""
        try:
            return self._fetch(study, series, folder, AS_STORED)
        except _NotAcceptableError:
            return self._fetch(study, series, folder, None)

    def _fetch(self, study: str, series: str, folder: Path, syntax: tuple[tuple[str, str], ...] | None) -> list[str]:
        uids = []
        with _asking("WADO-RS for images"):
            for number, image in enumerate(self._web.iter_series(study, series, media_types=syntax)):
                uids.append(str(image.SOPInstanceUID))
                with _own_files():
                    image.save_as(folder / f"{number:05d}.dcm", enforce_file_format=True)
        return uids

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


@contextmanager
def _own_files() -> Iterator[None]:
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
        kind = kinds.get(status, PacsDownError if status in BUSY else PacsError)
        raise kind(f"the PACS answered {status} to {what}") from None
    except requests.exceptions.SSLError:
        raise PacsDownError("the PACS has a certificate that is not trusted; check ca_file") from None
    except requests.RequestException as error:
        raise PacsDownError(f"the PACS does not answer to {what} ({type(error).__name__})") from None
    except Exception as error:  # of an answer that is no DICOMweb, whose text may quote it
        raise PacsError(f"the PACS answered to {what} what cannot be read ({type(error).__name__})") from None
    finally:
        logging.disable(before)


def _study(item: dict[str, Any]) -> StudyListed:
    count = _first(item, IMAGES_OF_STUDY)
    if count is None:
        raise PacsError("the PACS does not tell how many objects a study has (0020,1208)")
    return StudyListed(str(_first(item, STUDY_UID)), int(count))


def _all(item: dict[str, Any], tag: str) -> list[Any]:
    return item.get(tag, {}).get("Value", [])


def _first(item: dict[str, Any], tag: str) -> Any:
    return next(iter(_all(item, tag)), None)


def check_same_images(expected: list[str], fetched: list[str]) -> None:
    """Check that the images that were fetched are those of which the headers were read.

    Raises:
        StudyChangedError: if images came or went meanwhile.
    """
    if sorted(expected) != sorted(fetched):
        raise StudyChangedError("the series changed while it was read")
