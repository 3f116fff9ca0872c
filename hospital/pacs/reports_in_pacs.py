"""Find the reports of Argus that a study in the PACS holds, send new ones, and read them back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from ..objects.object_identity import uid_of
from ..objects.report_content import ReplacedReport
from ..objects.research_marks import DEVICE_NAME, MAKER
from ..objects.structured_report import KINDS
from .pacs_client import PacsClient, SeriesListed
from .pacs_errors import OtherReportError, PacsError

MANUFACTURER, DEVICE, SOP_CLASS, SOP, DAY, TIME = "00080070", "00081090", "00080016", "00080018", "00080023", "00080033"
PREDECESSORS, REFERENCED_SOP = "0040A360", "00081155"
KEYWORDS = b"/Keywords ("


@dataclass(frozen=True)
class StoredReport:
    """A structured report of Argus in the PACS: its UIDs, when it was written, and the reports that it replaces."""

    uids: ReplacedReport
    written: str
    replaces: frozenset[str]


def stored_reports(client: PacsClient, study: str, series: Sequence[SeriesListed]) -> list[StoredReport]:
    """List the reports of Argus in a study, whichever model wrote them.

    Args:
        client: of the PACS.
        study: UID of the study.
        series: all of its series.
    """
    found = []
    for each in series:
        if each.modality == "SR":
            for item in client.metadata_of(study, each.uid):
                if (_text(item, MANUFACTURER), _text(item, DEVICE)) == (MAKER, DEVICE_NAME):
                    uids = ReplacedReport(study, each.uid, _text(item, SOP_CLASS), _text(item, SOP))
                    earlier = frozenset(_referenced(item.get(PREDECESSORS, {})))
                    found.append(StoredReport(uids, _text(item, DAY) + _text(item, TIME), earlier))
    return found


def _text(item: dict[str, Any], tag: str) -> str:
    return str(next(iter(item.get(tag, {}).get("Value", [])), ""))


def _referenced(content: Any) -> Iterator[str]:
    """Yield the UIDs of objects that a sequence refers to, at any depth."""
    if isinstance(content, dict):
        for tag, element in content.items():
            if tag == REFERENCED_SOP:
                yield from map(str, element.get("Value", []))
            else:
                yield from _referenced(element)
    elif isinstance(content, list):
        for part in content:
            yield from _referenced(part)


def structured_uids(key: str) -> frozenset[str]:
    """Return the UIDs that the structured report of a reading may have, one for each kind."""
    return frozenset(uid_of(key, kind) for kind in KINDS.values())


def newest_report(reports: Sequence[StoredReport]) -> ReplacedReport | None:
    """Return the report that a new one replaces: the last that no other one has replaced."""
    replaced = frozenset().union(*(report.replaces for report in reports))
    left = [report for report in reports if report.uids.sop not in replaced] or list(reports)
    return max(left, key=lambda report: (report.written, report.uids.sop)).uids if left else None


def send(client: PacsClient, study: str, content: bytes) -> None:
    """Store one object, unless it is there already, and read it back.

    Raises:
        OtherReportError: if the PACS holds an object of that UID with another text.
        PacsError: if it was not stored.
    """
    own = pydicom.dcmread(BytesIO(content))
    place = study, str(own.SeriesInstanceUID), str(own.SOPInstanceUID)
    stored = client.stored(*place)
    if stored is None:
        client.store(study, own)
        stored = client.stored(*place)
    if stored is None:
        raise PacsError("the PACS did not keep an object that it was sent")
    if stored.get("SOPClassUID") != own.SOPClassUID or text_of_object(stored) != text_of_object(own):
        raise OtherReportError("the PACS holds another report of the same model on the same images")


def text_of_object(dataset: Dataset) -> list[str]:
    """Return what an object says: the texts of a structured report, or the hash of its text that a PDF holds.

    Of other objects nothing is returned: they say nothing.
    """
    if dataset.get("SOPClassUID") == EncapsulatedPDFStorage:
        _, found, rest = bytes(dataset.get("EncapsulatedDocument") or b"").partition(KEYWORDS)
        return [rest.partition(b")")[0].decode("latin-1")] if found else []
    return [*_values(dataset.get("ContentSequence") or [])]


def _values(items: Sequence[Dataset]) -> Iterator[str]:
    for item in items:
        if "TextValue" in item:
            yield str(item.TextValue)
        yield from _values(item.get("ContentSequence") or [])
