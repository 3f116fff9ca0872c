"""Load a report and describe what wrote it: its sentences, the model and its version."""

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from argus_inference.model_folder import hash_model
from argus_processing.report_text import clean_report, split_sentences
from argus_processing.saved_models.provenance import describe_provenance, read_provenance
from argus_processing.storage.foreign_files import read_bounded

from .header_repair import lawful_uid

MAX_REPORT_BYTES = 1 << 20
_IMPRESSION = re.compile(r"(?:^|\n|(?<=[.!?]))\s*(?:impressions?|conclusions?)\s*:", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ReplacedReport:
    """The structured report that a new one replaces, by the UIDs of its study, series, class and object."""

    study: str
    series: str
    sop_class: str
    sop: str


@dataclass(frozen=True)
class ReportContent:
    """A report and the model that wrote it.

    Attributes:
        findings, impression: its sentences; the impression is empty where the report has no part of that name.
        model_hash: SHA-256 of the model's files.
        model_facts: what is known of the model, from `argus.json`.
        written: when the report was written.
        settings: of the writing, as far as they are known.
        replaces: the earlier report on the same study, if there is one.
        series: UID of the series that was read, where the report tells it.
        picture: PNG of the scan in three planes; empty if it is yet to be drawn of the images.
    """

    findings: tuple[str, ...]
    impression: tuple[str, ...]
    model_hash: str
    model_facts: dict[str, str]
    written: datetime
    settings: str = ""
    replaces: ReplacedReport | None = None
    series: str | None = None
    picture: bytes = b""

    @property
    def text(self) -> str:
        """Return the whole report in one line."""
        return " ".join([*self.findings, *self.impression])

    @property
    def version(self) -> str:
        """Return the version of Argus and the first digits of the model's hash."""
        return f"{version('argus-ct')}, model {self.model_hash[:16]}"

    @property
    def model_texts(self) -> dict[str, str]:
        """Return what is known of the model by the names that people read, such as "Trained on"."""
        return {name.replace("_", " ").capitalize(): value for name, value in self.model_facts.items()}


def load_report(path: Path, model: Path | None) -> ReportContent:
    """Load a report that `argus report` wrote, as text or as one line of JSON.

    Args:
        path: the file; the time of its last change is taken for the time of the report.
        model: folder of the model; needed if the file does not name the model by its hash.

    Raises:
        ValueError: if the file holds no report or several ones, or does not fit the model.
    """
    text = read_bounded(path, MAX_REPORT_BYTES)
    report, model_hash, truncated, series = _parsed(path, text)
    if model is not None:
        own = hash_model(model)
        if model_hash and own != model_hash:
            raise ValueError(f"{path}: was written by another model than {model}; give the one that wrote it")
        model_hash = own
    if not model_hash:
        raise ValueError(f"{path}: does not name its model; give --model, or a report of argus report --json")
    facts = describe_provenance(read_provenance(model)) if model is not None else {}
    written = datetime.fromtimestamp(path.stat().st_mtime).replace(microsecond=0)
    content = report_content(report, model_hash, facts, written, truncated)
    if not content.text:
        raise ValueError(f"{path}: holds no report; write one with argus report")
    return replace(content, series=series)


def report_content(
    report: str, model_hash: str, model_facts: dict[str, str], written: datetime, truncated: bool
) -> ReportContent:
    """Return a report in its parts; `truncated` tells whether it was cut at the longest length."""
    findings, impression = sections_of(report)
    settings = "cut at its longest" if truncated else ""
    return ReportContent(findings, impression, model_hash, model_facts, written, settings)


def _parsed(path: Path, text: str) -> tuple[str, str, bool, str | None]:
    """Return what a file tells: report, the model's hash, whether the report was cut, and the series that was read."""
    if not text.lstrip().startswith("{"):
        return text, "", False, None
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise ValueError(f"{path}: holds {len(lines)} reports; give a file with one")
    try:
        content = json.loads(lines[0])
        report, model_hash = content["report"], content["model_hash"]
    except (KeyError, RecursionError, ValueError):
        raise ValueError(f"{path}: is no line of argus report --json with a report and a model_hash") from None
    if not isinstance(report, str) or not isinstance(model_hash, str) or not _HASH.fullmatch(model_hash):
        raise ValueError(f"{path}: its report is no text, or its model_hash is none; write it again")
    series = content.get("series")
    if series is not None and (not isinstance(series, str) or not lawful_uid(series)):
        raise ValueError(f"{path}: its series is no UID; write it again")
    return report, model_hash, content.get("truncated") is True, series


def sections_of(report: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split a report into the sentences of its findings and of its impression."""
    findings, *impression = _IMPRESSION.split(_CONTROL.sub(" ", report), maxsplit=1)
    parts = [tuple(split_sentences(clean_report(part))) for part in (findings, *impression)]
    return parts[0], parts[1] if impression else ()
