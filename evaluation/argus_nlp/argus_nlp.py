"""Argus's word-overlap metrics for the `evaluate` library: `evaluate.load("evaluation/argus_nlp")`.

`evaluate` copies this file to its own cache and runs it there, so it imports the installed package.
"""

import datasets
import evaluate

from argus_evaluation.score_reports import score_nlp

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
    predictions: reports, one a scan.
    references: the true reports, one a scan, in the same order.
    per_report: whether to give each report's own scores too.
Returns:
    by metric a dictionary with `value` (None if missing, and then `missing` says what to install), `signature`, and on
    demand `per_report`.
"""


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

    def _compute(self, predictions: list[str], references: list[str], per_report: bool = False) -> dict[str, dict]:
        scores = score_nlp(predictions, references)
        if not per_report:
            for metric in scores.values():
                metric.pop("per_report", None)
        return scores
