"""Hold the results of an audit, and write and read their file."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from argus_processing.storage.foreign_files import read_json_object
from argus_processing.storage.typed_json import from_json, to_json
from argus_processing.storage.whole_files import write_json

from .audit_effects import Effect

RESULTS_FILE = "results.json"
FORMAT = 1
PHANTOMS, SCANS = "audit on phantoms", "audit on real scans"
MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class AuditSettings:
    """The settings that the numbers depend on.

    Attributes:
        findings: those that were drawn and asked about.
        not_spoken_of: those that were left out, because the model never speaks of them.
        spacing_mm: of the phantoms; None if it was drawn for each.
        instruction: the one that every report is written for.
        reader: rules that read the statements.
        resamples, level: of the intervals.
    """

    seed: int
    findings: tuple[str, ...]
    not_spoken_of: tuple[str, ...]
    spacing_mm: tuple[float, ...] | None
    instruction: str
    reader: str
    resamples: int
    level: float


@dataclass(frozen=True, kw_only=True)
class AuditResults:
    """The results of an audit.

    Attributes:
        model: its name.
        identity: everything that decides its reports.
        model_hash: hash of the model's folder; empty for a model at an address.
        kind: one of `PHANTOMS` and `SCANS`.
        verdict, reason: see `audit_verdict`.
        paired_effect: statement with the finding drawn minus without it, minus what a change elsewhere does to it.
        effects: all effects by name, see `audit_effects`.
        by_finding: the paired effect of each finding.
        sides_followed: number of findings whose stated side follows a swap, and of those that have a side in both
            reports.
        num_subjects: number of phantoms, or of real scans.
        num_scans, num_failed: number of all scans with their changed ones, and of those without a report.
        failures: reasons of failures with their number.
        seconds: of the whole audit; of the last start, if it was interrupted.
    """

    model: str
    identity: str
    model_hash: str
    kind: str
    verdict: str
    reason: str
    paired_effect: Effect
    effects: dict[str, Effect]
    by_finding: dict[str, Effect]
    sides_followed: tuple[int, ...]
    num_subjects: int
    num_scans: int
    num_failed: int
    settings: AuditSettings
    failures: dict[str, int] = field(default_factory=dict)
    seconds: float | None = None


def write_results(folder: Path, results: AuditResults) -> None:
    """Write `results.json` into a folder, whole or not at all."""
    # Value and interval stand in the file also where they are None.
    content: dict[str, Any] = {"format": FORMAT, **to_json(results)}
    content["paired_effect"] = {each.name: getattr(results.paired_effect, each.name) for each in fields(Effect)}
    write_json(folder / RESULTS_FILE, content)


def read_audit(path: Path) -> AuditResults:
    """Read the results of an audit: their file, or the folder that holds it.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged, or was not written by `argus audit`.
    """
    path = path / RESULTS_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; run or finish argus audit")
    content = read_json_object(path, MAX_BYTES)
    try:
        if content.pop("format", None) != FORMAT or content.get("kind") not in (PHANTOMS, SCANS):
            raise ValueError("was not written by this version of argus audit")
        return from_json(AuditResults, content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; run argus audit again") from None
