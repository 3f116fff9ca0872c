"""Offer Argus's word-overlap metrics to the `evaluate` library: `evaluate.load("./evaluation/metrics/argus_nlp")`.

`evaluate` copies this file to its own cache and runs it there, so the file imports the installed package.
"""

import datasets
import evaluate

from argus_evaluation.benchmark.scoring import ScoredMetric, score_nlp
from argus_evaluation.metrics.reference_hash import references_hash

CITATION = """\
@inproceedings{liu2025argus,
  title = {Argus: Benchmarking and Enhancing Vision-Language Models for 3D Radiology Report Generation},
  author = {Liu, Che and Wan, Zhongwei and Wang, Yuqi and Shen, Hui and Wang, Haozhe and Zheng, Kangyu and Zhang, Mi
            and Arcucci, Rossella},
  booktitle = {Findings of the Association for Computational Linguistics: ACL 2025},
  year = {2025}
}
"""
INPUTS = """
Args:
    predictions: reports, one for each scan.
    references: the true reports, one for each scan, in the same order.
    details: whether to return more than the value of each metric, see below.
Returns:
    the value of each metric by name; a metric that cannot be computed here is left out, and a warning says what to
    install. With `details`, a dictionary for every metric with `value` (None if missing, and then `missing` says what
    to install), `signature`, `per_report`, the scores of the single reports, and `references_sha256`, which tells what
    they were computed against.
"""
logger = evaluate.logging.get_logger(__name__)


class ArgusNLP(evaluate.Metric):
    """BLEU, ROUGE, METEOR and CIDEr-D between reports, each with its signature."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=self.__doc__,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str], details: bool = False) -> dict:
        scores = score_nlp(predictions, references)
        if details:
            against = {"references_sha256": references_hash(references)}
            return {name: _details(metric) | against for name, metric in scores.items()}
        for name, metric in scores.items():
            if metric.missing:
                logger.warning(f"{name} is left out: {metric.missing}")
        return {name: metric.scores.value for name, metric in scores.items() if metric.scores}


def _details(metric: ScoredMetric) -> dict:
    if metric.scores is None:
        return {"value": None, "signature": metric.signature, "missing": metric.missing}
    per_report = metric.scores.per_report.tolist()
    return {"value": metric.scores.value, "signature": metric.signature, "per_report": per_report}
