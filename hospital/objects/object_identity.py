"""Name the objects of one report: the same images, model, report and writer give the same UIDs, others give others."""

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .header_repair import UTF_8
from .report_content import ReportContent
from .research_marks import DEVICE_NAME, MAKER, SHORT_MARK

NAMESPACE = uuid.UUID("5d5f3f4e-54b8-4f0e-9a3c-0c5a3c7b2f61")
WRITER_VERSION = "2"  # a change of what the objects hold gives them new UIDs


def uid_of(*parts: str) -> str:
    """Return the UID of some texts: 2.25 and a name-based UUID as a number (PS3.5, B.2)."""
    return f"2.25.{uuid.uuid5(NAMESPACE, chr(0).join(parts)).int}"


@dataclass(frozen=True)
class ObjectIdentity:
    """The identity of one report on one series; `key` is a hash of all that decides its content."""

    key: str
    model_hash: str
    version: str
    written: datetime

    @property
    def device_uid(self) -> str:
        """Return the UID of the model as an observer."""
        return uid_of("device", self.model_hash)

    def uid(self, *kind: str) -> str:
        """Return the UID of one of the report's objects or of a part of it."""
        return uid_of(self.key, *kind)

    def arguments(self, kind: str, number: int) -> dict[str, Any]:
        """Return the arguments that highdicom's objects share."""
        return {
            "series_instance_uid": self.uid(kind, "series"),
            "series_number": number,
            "sop_instance_uid": self.uid(kind),
            "instance_number": 1,
            "manufacturer": MAKER,
            "manufacturer_model_name": DEVICE_NAME,
            "software_versions": self.version,
            "device_serial_number": self.model_hash[:16],
            "series_description": SHORT_MARK,
        }


def identity_of(images: Iterable[str], report: ReportContent, *more: bytes) -> ObjectIdentity:
    """Return the identity of a report.

    Args:
        images: UIDs of the images.
        report: the report.
        more: other content of the objects, such as an evidence map.
    """
    told = [*sorted(images), report.model_hash, report.settings, report.version, WRITER_VERSION, report.text]
    digest = hashlib.sha256("\0".join(told).encode())
    for content in more:
        digest.update(hashlib.sha256(content).digest())
    return ObjectIdentity(digest.hexdigest(), report.model_hash, report.version, report.written)


def identity_of_reading(images: Iterable[str], report: ReportContent) -> ObjectIdentity:
    """Return the identity of the one report that a model writes on these images, whatever it says.

    With it, a PACS keeps one report of a model on the same images, also where several programs send one.

    Args:
        images: UIDs of the images.
        report: the report.
    """
    key = key_of_reading(images, report.model_hash)
    return ObjectIdentity(key, report.model_hash, report.version, report.written)


def key_of_reading(images: Iterable[str], model_hash: str) -> str:
    """Return the key of `identity_of_reading`, which is known before the report is written."""
    return hashlib.sha256("\0".join(["reading", *sorted(images), model_hash, WRITER_VERSION]).encode()).hexdigest()


def stamp(dataset: Any, identity: ObjectIdentity) -> None:
    """Set the times of an object to that of its report, so that the same report gives the same bytes.

    highdicom's entry for its own part, with the time of now, is left out.
    """
    day, time = identity.written.strftime("%Y%m%d"), identity.written.strftime("%H%M%S")
    dataset.InstanceCreationDate = dataset.ContentDate = dataset.SeriesDate = day
    dataset.InstanceCreationTime = dataset.ContentTime = dataset.SeriesTime = time
    dataset.SpecificCharacterSet = UTF_8
    dataset.pop("ContributingEquipmentSequence", None)
