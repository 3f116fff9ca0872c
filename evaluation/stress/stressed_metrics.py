"""Choose the metrics of the stress test, and score every changed report against its reference."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from argus_processing.storage.progress import progress_bar

from ..metrics.clinical.clinical_metrics import clinical_metrics
from ..metrics.clinical.clinical_weights import ClinicalOptions
from ..metrics.clinical.stand_ins import score_by_rules
from ..metrics.labels.label_scores import F1, MACRO_F1, WEIGHTED_F1
from ..metrics.metric import Metric, MetricScores, score_rows
from ..metrics.nlp_metrics import AVERAGES, METRICS
from .stress_pairs import StressPair

NINE = AVERAGES["Avg. NLP (9)"]
LATERALITY = "laterality (rules)"
# Of one report they are as the label F1 per scan, but zero for a normal report that is called normal.
OF_MANY_REPORTS = (F1, MACRO_F1, WEIGHTED_F1)
DECIMALS = 8  # scores that differ less are a tie


@dataclass(frozen=True)
class PairScores:
    """One metric's scores: `own` of each reference against itself, `changed` of each pair against its reference."""

    own: np.ndarray
    changed: np.ndarray


def stressed_metrics(
    clinical: Collection[str], options: ClinicalOptions, references: Sequence[str]
) -> dict[str, Metric]:
    """Return the metrics by name: word overlap, the clinical ones with these keys, and laterality.

    A metric whose weights come from all references gets those of the stress test as a fixed corpus.

    Raises:
        ValueError: if a key is not one of `CLINICAL_METRICS`.
    """
    asked = {name: METRICS[name] for name in NINE} | clinical_metrics(clinical, options)
    if "stand-in" in clinical:
        asked[LATERALITY] = Metric(_score_laterality, "argus findings|rules on report and reference", scale=1)
    chosen = {name: metric for name, metric in asked.items() if name not in OF_MANY_REPORTS}
    return {name: metric if metric.pairwise else _fixed(name, metric, references) for name, metric in chosen.items()}


def _fixed(name: str, metric: Metric, references: Sequence[str]) -> Metric:
    if metric.with_corpus is None:
        raise ValueError(f"{name} depends on all reports at once and cannot be computed for one; leave it out")
    return metric.with_corpus(references)


def _score_laterality(predictions: Sequence[str], references: Sequence[str]) -> MetricScores:
    return score_by_rules(tuple(predictions), tuple(references))["laterality_accuracy"]


def score_pairs(
    metrics: Mapping[str, Metric], references: Sequence[str], pairs: Sequence[StressPair]
) -> dict[str, PairScores]:
    """Score references and changed reports by each metric that is not missing; equal pairs are scored once."""
    texts = [*references, *(pair.text for pair in pairs)]
    against = [*references, *(references[pair.reference] for pair in pairs)]
    scored = {}
    with progress_bar() as progress:
        for name, metric in progress.track(metrics.items(), description="scores"):
            if metric.missing() is None:
                scores = np.round(score_rows(metric, {"all": texts}, against)["all"].per_report, DECIMALS)
                scored[name] = PairScores(scores[: len(references)], scores[len(references) :])
    return scored
