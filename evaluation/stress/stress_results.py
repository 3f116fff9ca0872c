"""Hold the results of the stress test, and write and read their file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from argus_processing.storage.foreign_files import read_json_object
from argus_processing.storage.typed_json import from_json, to_json
from argus_processing.storage.whole_files import write_json

from ..metrics.metric import Metric
from .changes import ERRORS, HARMLESS
from .ranking import Estimate, Scored, auc_pooled, auc_within, mean_drop, unchanged_share
from .stress_pairs import StressPair
from .stressed_metrics import PairScores

RESULTS_FILE = "stress.json"
FORMAT = 1
MAX_BYTES = 16 << 20
BLIND_FROM = 0.95  # share of broken reports with an unchanged score
BLIND, MISSED, SEEN, UNKNOWN = "blind", "missed", "seen", "unknown"


@dataclass(frozen=True)
class ErrorResult:
    """One metric on one class of errors.

    Attributes:
        within: AUC among the changes of each reference, mean over references.
        pooled: AUC among all changes.
        against: AUC within references against each class of harmless changes alone.
        drop: mean drop of the score, as a share of the references' own.
        unchanged: share of broken reports whose score is that of the reference itself.
    """

    within: Estimate
    pooled: Estimate
    against: dict[str, Estimate]
    drop: Estimate
    unchanged: float

    @property
    def verdict(self) -> str:
        """Return whether the metric sees the error: `blind`, `missed`, `seen`, or `unknown` without pairs."""
        if self.within.value is None or self.within.low is None:
            return UNKNOWN
        if self.unchanged >= BLIND_FROM:
            return BLIND
        return SEEN if self.within.low > 0.5 else MISSED


@dataclass(frozen=True)
class HarmlessResult:
    """One metric on one class of harmless changes: mean drop, as a share, and share of unchanged scores."""

    drop: Estimate
    unchanged: float


@dataclass(frozen=True)
class MetricResult:
    """One metric on all classes.

    Attributes:
        signature: implementation, version, tokenizer, level and settings.
        own: mean score of the references against themselves.
        missing: why the metric could not be computed, and what to install.
    """

    signature: str
    own: float | None = None
    errors: dict[str, ErrorResult] = field(default_factory=dict)
    harmless: dict[str, HarmlessResult] = field(default_factory=dict)
    missing: str | None = None


@dataclass(frozen=True)
class StressResults:
    """The results of the stress test.

    Attributes:
        source: the references, by file name or count of phantoms.
        num_references: number of distinct references.
        references_sha256: hash of their file; "" for phantoms.
        label_rules: version of the rules that checked every change.
        wanted: pairs asked for in each class.
        pairs: pairs made of each class.
        seed: of all draws.
        metrics: results by metric.
        seconds: of the whole command; None if it was not timed.
    """

    source: str
    num_references: int
    references_sha256: str
    label_rules: str
    wanted: int
    pairs: dict[str, int]
    seed: int
    metrics: dict[str, MetricResult]
    seconds: float | None = None


def collect_results(
    metrics: Mapping[str, Metric], scores: Mapping[str, PairScores], pairs: Sequence[StressPair]
) -> dict[str, MetricResult]:
    """Return the results of every metric; one without scores is missing."""
    results = {}
    for name, metric in metrics.items():
        if name in scores:
            results[name] = _result_of(metric, scores[name], pairs)
        else:
            results[name] = MetricResult(metric.signature, missing=metric.missing())
    return results


def _result_of(metric: Metric, scores: PairScores, pairs: Sequence[StressPair]) -> MetricResult:
    kinds = np.array([pair.kind for pair in pairs], dtype=str)
    references = np.array([pair.reference for pair in pairs], dtype=int)
    by_kind = {kind: Scored(scores.changed[kinds == kind], references[kinds == kind]) for kind in (*ERRORS, *HARMLESS)}
    harmless = {kind: by_kind[kind] for kind in HARMLESS}
    errors = {
        kind: ErrorResult(
            within=auc_within(by_kind[kind], list(harmless.values())),
            pooled=auc_pooled(by_kind[kind], list(harmless.values())),
            against={name: auc_within(by_kind[kind], [other]) for name, other in harmless.items()},
            drop=mean_drop(by_kind[kind], scores.own),
            unchanged=unchanged_share(by_kind[kind], scores.own),
        )
        for kind in ERRORS
    }
    costs = {
        kind: HarmlessResult(mean_drop(changed, scores.own), unchanged_share(changed, scores.own))
        for kind, changed in harmless.items()
    }
    return MetricResult(metric.signature, float(scores.own.mean()), errors, costs)


def count_pairs(pairs: Sequence[StressPair]) -> dict[str, int]:
    """Return the number of pairs of each class."""
    return {kind: sum(pair.kind == kind for pair in pairs) for kind in (*ERRORS, *HARMLESS)}


def write_stress_results(folder: Path, results: StressResults) -> None:
    """Write `stress.json` into a folder, whole or not at all."""
    write_json(Path(folder) / RESULTS_FILE, {"format": FORMAT, **to_json(results)})


def read_stress_results(path: Path) -> StressResults:
    """Read a file that `argus stress-metrics` wrote.

    Raises:
        FileNotFoundError: if it does not exist.
        ValueError: if it is damaged or of another version.
    """
    content = read_json_object(Path(path), MAX_BYTES)
    try:
        if (form := content.pop("format", None)) != FORMAT:
            raise ValueError(f"is of format {form!r}, which this version does not know")
        return from_json(StressResults, content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; run argus stress-metrics again") from None
