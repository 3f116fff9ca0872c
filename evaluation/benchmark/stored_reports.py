"""Write and read `reports.jsonl`, from which every number of an evaluation can be computed again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from argus_processing.phantom.findings import Finding
from argus_processing.storage.json_lines import json_line, read_json_lines
from argus_processing.storage.typed_json import from_json
from argus_processing.storage.whole_files import write_text

REPORTS_FILE = "reports.jsonl"
MODEL = "model"  # the name of the model's own reports; the others are its controls


@dataclass(frozen=True)
class StoredReport:
    """One line of the file: a scan's reference, the reports of model and controls, and the true findings if known."""

    scan_id: str
    reference: str
    reports: dict[str, str]
    truncated: bool
    findings: list[Finding] | None = None


def write_stored_reports(out: Path, reports: Sequence[StoredReport]) -> None:
    """Write `reports.jsonl` into the folder `out`; no half-written file can remain."""
    write_text(Path(out) / REPORTS_FILE, "".join(json_line(asdict(report)) for report in reports))


def read_stored_reports(out: Path) -> list[StoredReport]:
    """Read `reports.jsonl` of the folder `out`.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if a line is damaged.
    """
    path = Path(out) / REPORTS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; give a folder that `argus evaluate` wrote")
    advice = "take the file from its source again"
    reports = read_json_lines(path, partial(from_json, StoredReport), fault="is damaged", advice=advice)
    if not reports:
        raise ValueError(f"{path}: holds no reports")
    return reports
