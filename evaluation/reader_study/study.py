"""Plan a blinded reader study (paper, appendix C): its cases, their reports, and each reader's order."""

import hashlib
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from argus_inference.generation import Prediction
from argus_processing.storage.claimed_folders import entries_of
from argus_processing.storage.folder_owner import claim_for_settings
from argus_processing.storage.foreign_files import read_json_object
from argus_processing.storage.typed_json import from_json, to_json

from ..benchmark.run_list import Run, read_predictions, read_settings
from .links import write_private

HUMAN = "human reference"  # the reports that came with the scans; they count as one of the blinded systems
STUDY_FILE = "study.json"
CASES_PER_SUBSET = 100  # paper, appendix C


@dataclass(frozen=True)
class StudyOptions:
    """The cases and reports of a study; see `build_study`."""

    seed: int = 0
    cases_per_subset: int = CASES_PER_SUBSET
    with_references: bool = False


@dataclass(frozen=True)
class Case:
    """One scan and the reports written for it, by system."""

    subset: str
    scan_id: str
    reports: dict[str, str]


@dataclass(frozen=True)
class KeptCase:
    """A case as it is kept on disk, without the reports."""

    subset: str
    scan_id: str
    systems: tuple[str, ...]


@dataclass(frozen=True)
class KeptStudy:
    """A study as it is kept on disk; the reports are only there as a hash."""

    split: str
    seed: int
    systems: tuple[str, ...]
    cases: tuple[KeptCase, ...]
    reports_sha256: str


@dataclass(frozen=True)
class Study:
    """All cases of a study; `seed` fixes every order in it."""

    split: str
    seed: int
    cases: tuple[Case, ...]

    @property
    def systems(self) -> tuple[str, ...]:
        """Return every system's name, in the order of the runs."""
        return tuple(dict.fromkeys(system for case in self.cases for system in case.reports))

    def case_order(self, reader: str) -> list[int]:
        """Return the indices of the cases in a reader's order; each reader has a different, fixed order."""
        order = list(range(len(self.cases)))
        random.Random(f"{self.seed}\n{reader}").shuffle(order)
        return order

    def report_order(self, reader: str, case: Case) -> list[str]:
        """Return the systems whose reports a reader sees as A, B, C, ... for a case, in this order."""
        systems = sorted(case.reports)
        random.Random(f"{self.seed}\n{reader}\n{case.subset}\n{case.scan_id}").shuffle(systems)
        return systems

    def describe(self) -> KeptStudy:
        """Return the description that is kept on disk to recognise the study later."""
        digest = hashlib.sha256(repr([sorted(case.reports.items()) for case in self.cases]).encode())
        cases = tuple(KeptCase(case.subset, case.scan_id, tuple(sorted(case.reports))) for case in self.cases)
        return KeptStudy(self.split, self.seed, self.systems, cases, digest.hexdigest())


def build_study(
    runs: Sequence[Run], *, seed: int = 0, cases_per_subset: int = CASES_PER_SUBSET, with_references: bool = False
) -> Study:
    """Build a study from evaluations of several systems.

    Args:
        runs: evaluations; those of one subset must have written reports for the same scans.
        seed: seed of the drawn cases and of every order.
        cases_per_subset: number of cases drawn from each subset; a subset with fewer gives all that it has.
        with_references: whether readers also score the scans' own reports, blinded as one more system.

    Raises:
        ValueError: if runs differ in split, scans or references, if a system occurs twice in a subset, or if a report
            names a system (it could not be shown blinded).
    """
    splits: set[str] = set()
    reports: dict[str, dict[str, dict[str, str]]] = {}
    for run in runs:
        settings, predictions = read_settings(run.folder), read_predictions(run.folder)
        splits.add(settings.split)
        _add_run(reports.setdefault(settings.subset, {}), run, predictions)
    if len(splits) != 1:
        raise ValueError(f"the runs are of different splits: {', '.join(sorted(splits))}")
    cases = []
    for subset, by_scan in reports.items():
        for scan_id in _draw(sorted(by_scan), cases_per_subset, f"{seed}\n{subset}"):
            shown = by_scan[scan_id] if with_references else _without(by_scan[scan_id], HUMAN)
            cases.append(Case(subset, scan_id, shown))
    study = Study(splits.pop(), seed, tuple(cases))
    _check_blind(study, [name for run in runs for name in (run.system, run.name)])
    return study


def _add_run(by_scan: dict[str, dict[str, str]], run: Run, predictions: dict[str, Prediction]) -> None:
    """Add one system's reports to those of its subset, beside the references."""
    if by_scan and set(by_scan) != set(predictions):
        raise ValueError(f"{run.folder}: its scans are not those of the subset's other runs; evaluate all on the same")
    for scan_id, line in predictions.items():
        reports = by_scan.setdefault(scan_id, {HUMAN: line.reference})
        if reports[HUMAN] != line.reference:
            raise ValueError(f"{run.folder}: scan {scan_id} has another reference than in the subset's other runs")
        if run.name in reports:
            raise ValueError(f"{run.folder}: {run.name} comes twice in one subset; name one run of it, with one seed")
        reports[run.name] = line.prediction


def _draw(scan_ids: list[str], count: int, seed: str) -> list[str]:
    return scan_ids if count >= len(scan_ids) else random.Random(seed).sample(scan_ids, count)


def _without(reports: dict[str, str], system: str) -> dict[str, str]:
    return {name: text for name, text in reports.items() if name != system}


def _check_blind(study: Study, names: Iterable[str]) -> None:
    """Refuse reports that hold a system's name as a word, because the page shows reports without changes."""
    shown = "|".join(re.escape(name) for name in {*names, HUMAN})
    pattern = re.compile(rf"(?<!\w)(?:{shown})(?!\w)", re.IGNORECASE)
    for case in study.cases:
        for system, text in case.reports.items():
            found = pattern.search(text)
            if found:
                raise ValueError(
                    f"the report of {system} on scan {case.scan_id} holds the name {found.group()!r}, so it cannot be "
                    "read blinded; give the system another name in the runs file"
                )


def keep_study(study: Study, out: Path) -> None:
    """Write the description of a study into the folder `out`, or check that it is the study already there.

    Raises:
        ValueError: if the folder holds another study.
    """
    path = out / STUDY_FILE
    out.mkdir(parents=True, exist_ok=True)
    if path.exists() or not entries_of(out):
        out.chmod(0o700)  # only for the study's own folder; a folder with other files keeps its mode
    if path.is_file():
        path.chmod(0o600)
    described = to_json(study.describe())
    advice = "give the options that it was made with, or another folder"
    claim_for_settings(path, described, write=partial(write_private, path, described), advice=advice)


def read_study(folder: Path) -> KeptStudy:
    """Read the description of the study in a folder.

    Raises:
        FileNotFoundError: if there is no study.
        ValueError: if the file is damaged.
    """
    path = Path(folder) / STUDY_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; give a folder written by argus reader-study")
    content = read_json_object(path)
    try:
        return from_json(KeptStudy, content)
    except ValueError as error:
        raise ValueError(f"{path}: is no reader study ({error}); copy it again") from None
