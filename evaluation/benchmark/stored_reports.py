"""The file from which every number of an evaluation can be computed again: `reports.jsonl`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from argus_processing.phantom.findings import Finding
from argus_processing.storage.whole_files import write_text

FILE_NAME = "reports.jsonl"
MODEL = "model"  # the name of the model's own reports; the others are its controls


@dataclass(frozen=True)
class StoredReport:
    """One line: a scan's reference, the model's report and those of its controls, and the true findings if known."""

    scan_id: str
    reference: str
    reports: dict[str, str]
    truncated: bool
    findings: list[Finding] | None = None


def write_reports(out: Path, reports: Sequence[StoredReport]) -> None:
    """Write `reports.jsonl` into the folder `out`, whole or not at all."""
    lines = [json.dumps(asdict(report), ensure_ascii=False) + "\n" for report in reports]
    write_text(Path(out) / FILE_NAME, "".join(lines))


def hash_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_reports(out: Path) -> list[StoredReport]:
    """Read `reports.jsonl` of the folder `out`.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if a line is damaged.
    """
    path = Path(out) / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; give a folder that `argus evaluate` wrote")
    # Not splitlines: it would also cut at the line separators a report may hold.
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
    reports = []
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            findings = content.pop("findings")
            truth = None if findings is None else [Finding(**finding) for finding in findings]
            reports.append(StoredReport(**content, findings=truth))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{path}: line {number} is damaged ({error}); take the file from its source again"
            ) from error
    if not reports:
        raise ValueError(f"{path}: holds no reports")
    return reports
