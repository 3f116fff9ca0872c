"""Offer the metrics of CT-RATE's labels to `evaluate`: `evaluate.load("./evaluation/metrics/argus_labels")`.

`evaluate` copies this file to its own cache and runs it there, so the file imports the installed package.
"""

from pathlib import Path

import datasets
import evaluate

from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions
from argus_evaluation.metrics.labels.label_metrics import label_metrics
from argus_evaluation.metrics.reference_hash import references_hash

INPUTS = """
Args:
    predictions: reports, one a scan.
    references: the true reports, one a scan, in the same order.
    backend: what reads the labels: "rules", or "radbert" for CT-CLIP's classifier.
    models: folder with the classifier's weights.
    details: whether to tell by metric how it was computed, in place of its number.
Returns:
    by metric its number from 0 to 1. With `details` a dictionary for every metric with `value`, `signature`,
    `per_report`, each report's own scores, `labels`, the value for each label where the metric has one, and
    `references_sha256`, which tells what it was computed against.
"""


class ArgusLabels(evaluate.Metric):
    """F1, precision, recall and CRG of CT-RATE's 18 labels, read from reports, each with its signature."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=self.__doc__,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(
        self,
        predictions: list[str],
        references: list[str],
        backend: str = "rules",
        models: str | None = None,
        details: bool = False,
    ) -> dict:
        metrics = label_metrics(ClinicalOptions(folder=models and Path(models), label_backend=backend))
        scored = {name: (metric, metric.score(predictions, references)) for name, metric in metrics.items()}
        if not details:
            return {name: scores.value for name, (_, scores) in scored.items()}
        against = references_hash(references)
        return {
            name: {
                "value": scores.value,
                "signature": metric.signature,
                "per_report": scores.per_report.tolist(),
                "labels": {label: part.value for label, part in scores.parts.items()},
                "references_sha256": against,
            }
            for name, (metric, scores) in scored.items()
        }
