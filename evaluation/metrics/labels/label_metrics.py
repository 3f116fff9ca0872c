"""Make the metrics of CT-RATE's labels, as papers on CT-RATE are ranked by: F1 and CRG; and of their details."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ..clinical.clinical_weights import ClinicalOptions, MissingWeightsError, missing_metric
from ..metric import Metric, MetricScores
from .label_agreement import AGREEMENTS, score_details
from .label_backends import LabelReader, label_reader
from .label_details import DETAIL_RULES
from .label_scores import LABEL_SCORES, score_labels
from .rule_reader import RULES

NAMES = (*LABEL_SCORES, *AGREEMENTS)


def label_metrics(options: ClinicalOptions) -> dict[str, Metric]:
    """Return the metrics, on labels read in both texts by the backend that the options name.

    Sides, lobes and sizes are read by rules, which tell where in the text a label stands; the backend does not matter.

    Raises:
        ValueError: if there is no such backend.
    """
    return {**_set_metrics(options), **_detail_metrics()}


def _set_metrics(options: ClinicalOptions) -> dict[str, Metric]:
    """Return the metrics of each report's set of labels."""
    try:
        reader = label_reader(options.label_backend, options)
    except MissingWeightsError as error:
        reason = str(error)
        return {name: missing_metric(f"ct-rate labels|{options.label_backend}", reason) for name in LABEL_SCORES}

    @lru_cache(maxsize=4)  # every metric asks for the same pairs
    def scores_of(reports: tuple[str, ...], references: tuple[str, ...]) -> dict[str, MetricScores]:
        return score_reports(reports, references, reader)

    def metric(name: str) -> Metric:
        return Metric(
            lambda reports, references: scores_of(tuple(reports), tuple(references))[name],
            f"ct-rate labels|{reader.signature}|{LABEL_SCORES[name]}",
            scale=1,
        )

    return {name: metric(name) for name in LABEL_SCORES}


def _detail_metrics() -> dict[str, Metric]:
    """Return the metrics of what both texts tell of a label."""

    @lru_cache(maxsize=4)
    def scores_of(reports: tuple[str, ...], references: tuple[str, ...]) -> dict[str, MetricScores]:
        return score_details(reports, references)

    def metric(name: str) -> Metric:
        return Metric(
            lambda reports, references: scores_of(tuple(reports), tuple(references))[name],
            f"ct-rate labels|{RULES}|{DETAIL_RULES}|{AGREEMENTS[name][2]}",
            scale=1,
        )

    return {name: metric(name) for name in AGREEMENTS}


def score_reports(
    predictions: Sequence[str], references: Sequence[str], reader: LabelReader
) -> dict[str, MetricScores]:
    """Read both sides' labels and score them; `cut` counts the reports of a pair that were not read to their end."""
    read = reader.read([*predictions, *references])
    told, true = read[: len(predictions)], read[len(predictions) :]
    scores = score_labels([each.labels for each in told], [each.labels for each in true])
    cut = np.array([one.is_cut + other.is_cut for one, other in zip(told, true, strict=True)])
    return {name: replace(each, flags={**each.flags, "cut": cut}) for name, each in scores.items()}
