"""Fill the paper's Table 4 from a reader study: mean score and deviation per system and subset, and agreement."""

import statistics
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from argus_processing.storage.foreign_files import read_yaml_object
from argus_processing.storage.typed_json import from_json

from .agreement import ordinal_alpha
from .answers import ANSWERS_FILE, last_scores, read_answers
from .study import STUDY_FILE, read_study

PAPER = Path(__file__).parent / "paper_table4.yaml"
ALL = "all"
Scores = dict[tuple[str, str, str, str], int]  # by reader, subset, scan and system


@dataclass(frozen=True)
class Score:
    """The scores of one system in one subset, or in all.

    Attributes:
        mean: mean score; None without a score.
        sd: standard deviation of the sample; None for fewer than two scores.
        n: number of scores given.
        expected: number of scores, when every reader has read everything.
    """

    system: str
    subset: str
    mean: float | None
    sd: float | None
    n: int
    expected: int


@dataclass(frozen=True)
class Agreement:
    """The readers' agreement in one subset, or in all.

    Attributes:
        alpha: Krippendorff's ordinal alpha; None with a reason in `missing`.
        units: number of reports that at least two readers scored.
    """

    subset: str
    alpha: float | None
    units: int
    missing: str | None = None


@dataclass(frozen=True)
class PaperScore:
    """One cell of the paper's table: mean score and standard deviation."""

    mean: float
    sd: float


@dataclass(frozen=True)
class PaperModel:
    """One row of the paper's table, by subset; `ours` are the names that the same system may have in a study."""

    name: str
    ours: tuple[str, ...]
    scores: dict[str, PaperScore]

    def find_ours(self, systems: Collection[str]) -> str | None:
        """Return the same system's name among those of a study; None if it is not there."""
        return next((name for name in self.ours if name in systems), None)


@dataclass(frozen=True)
class PaperTable4:
    """The table that the paper prints; `subsets` are its headings by subset."""

    source: str
    subsets: dict[str, str]
    models: tuple[PaperModel, ...]


@dataclass(frozen=True)
class Table4:
    """The table of a study; `scores` has an entry for each of its systems and subsets, and for "all" of several."""

    systems: tuple[str, ...]
    subsets: tuple[str, ...]
    num_readers: int
    scores: tuple[Score, ...]
    agreement: tuple[Agreement, ...]
    paper: PaperTable4


def read_paper() -> PaperTable4:
    """Read the scores that the paper prints."""
    return from_json(PaperTable4, read_yaml_object(PAPER))


def build_table4(folder: Path) -> Table4:
    """Compute the table of a reader study.

    Raises:
        FileNotFoundError: if there is no study in `folder`.
        ValueError: if its file is damaged, or its answers do not belong to it.
    """
    study = read_study(folder)
    scores = last_scores(read_answers(Path(folder) / ANSWERS_FILE))
    known = {(case.subset, case.scan_id, system) for case in study.cases for system in case.systems}
    stray = next((key for key in scores if key[1:] not in known), None)
    if stray:
        raise ValueError(
            f"{Path(folder) / ANSWERS_FILE}: holds an answer on {stray[1]} {stray[2]}, not in {STUDY_FILE}"
        )
    num_readers = len({key[0] for key in scores})
    subsets = tuple(dict.fromkeys(case.subset for case in study.cases))
    columns = (*subsets, ALL) if len(subsets) > 1 else subsets
    summaries = [_summary(scores, known, system, subset, num_readers) for system in study.systems for subset in columns]
    agreement = tuple(_agreement(scores, subset) for subset in columns)
    return Table4(study.systems, columns, num_readers, tuple(summaries), agreement, read_paper())


def _summary(scores: Scores, known: set[tuple[str, str, str]], system: str, subset: str, num_readers: int) -> Score:
    values = [score for key, score in scores.items() if key[3] == system and subset in (ALL, key[1])]
    reports = sum(1 for other, _, by in known if by == system and subset in (ALL, other))
    mean = statistics.fmean(values) if values else None
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Score(system, subset, mean, sd, len(values), reports * num_readers)


def _agreement(scores: Scores, subset: str) -> Agreement:
    by_report = defaultdict(list)
    for key, score in scores.items():
        if subset in (ALL, key[1]):
            by_report[key[1:]].append(score)
    units = [values for values in by_report.values() if len(values) > 1]
    alpha = ordinal_alpha(units)
    if alpha is not None:
        return Agreement(subset, alpha, len(units))
    return Agreement(
        subset, None, len(units), "all scores are equal" if units else "no report was scored by two readers"
    )
