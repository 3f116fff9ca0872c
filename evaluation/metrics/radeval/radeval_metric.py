"""Compute RadEval's metrics by its authors' package, in a second Python: BLEU and ROUGE, and those by models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..clinical.clinical_answers import ClinicalModel, KeptModel, pair_up
from ..clinical.clinical_weights import ClinicalOptions, missing_metric
from ..metric import Metric, MetricScores, mean_of_reports, score_of_sums
from .radeval_process import NoRadEvalError, RadEvalPython, find_radeval

PAIRS_AT_A_TIME = 2048  # in one process, which imports torch first
ORDERS = (1, 2, 3, 4)
# RadEval's BLEU adds these to counts, so that nothing is divided by zero.
TINY, SMALL = 1e-15, 1e-9
ROUNDED = 0.6e-4  # RadEval gives totals with four digits
BLEU_ROWS = {f"RadEval BLEU-{order}": order for order in ORDERS}
ROUGE_ROWS = {f"RadEval ROUGE-{kind}": f"rouge{kind}" for kind in ("1", "2", "L")}


@dataclass(frozen=True)
class ModelMetric:
    """A metric of RadEval that needs a model.

    Attributes:
        rows: the scores that it gives for each report, by the name of our row.
        weights: those that it searches.
        made_on: kind of images whose reports it was made on, if any.
    """

    rows: Mapping[str, str]
    weights: str
    made_on: str = "X-rays"


# Left out: those that ask a vendor's model by its address, and those whose value is not a mean over reports that are
# scored each alone.
MODEL_METRICS: dict[str, ModelMetric] = {
    "bertscore": ModelMetric({"RadEval BERTScore": "bertscore"}, "distilbert-base-uncased", made_on=""),
    "radeval_bertscore": ModelMetric({"RadEval RadEvalBERTScore": "radeval_bertscore"}, "IAMJB/RadEvalModernBERT"),
    "radgraph": ModelMetric(
        {f"RadEval RadGraph {level}": f"radgraph_{level}" for level in ("simple", "partial", "complete")},
        "radgraph-xl.tar.gz of StanfordAIMI/RRG_scorers and the model that it names",
    ),
    "ratescore": ModelMetric(
        {"RadEval RaTEScore": "ratescore"}, "Angelakeke/RaTE-NER-Deberta and FremyCompany/BioLORD-2023-C"
    ),
    "temporal": ModelMetric({"RadEval temporal F1": "temporal_f1"}, "the package radiology of stanza"),
    "green": ModelMetric({"RadEval GREEN": "green"}, "StanfordAIMI/GREEN-radllama2-7b"),
}
NAMES = (*BLEU_ROWS, *ROUGE_ROWS)
MODEL_NAMES = tuple(row for metric in MODEL_METRICS.values() for row in metric.rows)


class WordScorer:
    """RadEval's BLEU and ROUGE."""

    def __init__(self, radeval: RadEvalPython):
        self._radeval = radeval

    def answer(self, questions: Sequence[Any]) -> list[Any]:
        """Return for each (prediction, reference) the counts of BLEU and ROUGE's scores.

        Raises:
            ValueError: if RadEval's totals do not follow from what it told about each report.
        """
        found = self._radeval.ask("words", questions)
        check_words(found)
        rouge = zip(*(found["per_report"][kind] for kind in ROUGE_ROWS.values()), strict=True)
        return [
            {"counts": counts, **dict(zip(ROUGE_ROWS.values(), scores, strict=True))}
            for counts, scores in zip(found["counts"], rouge, strict=True)
        ]


def check_words(found: Mapping[str, Any]) -> None:
    """Compare RadEval's totals, and its BLEU-4 of each report, with what its counts and scores give.

    Raises:
        ValueError: if one differs, as with a release that computes otherwise.
    """
    counts, per_report, totals = np.array(found["counts"], dtype=float), found["per_report"], found["totals"]
    highest = ORDERS[-1]
    ours = {f"bleu_{order}": bleu_of_counts(counts.sum(axis=0), order) for order in ORDERS[:-1]}
    ours |= {"bleu": bleu_of_counts(counts.sum(axis=0), highest)}
    ours |= {kind: np.mean(per_report[kind]) for kind in ROUGE_ROWS.values()}
    for name, value in ours.items():
        if abs(value - totals[name]) > ROUNDED:
            raise ValueError(f"RadEval's total {name} is {totals[name]}, its scores of the reports give {value:.6f}")
    if np.abs(bleu_of_counts(counts, highest) - per_report["bleu"]).max() > SMALL:
        raise ValueError("RadEval's BLEU-4 of the reports is not what its counts of n-grams give")


def bleu_of_counts(sums: np.ndarray, order: int) -> np.ndarray:
    """Compute RadEval's BLEU, 0 to 1, from counts `(..., 10)`.

    Columns: words of the report, words of the reference, matched n-grams of each order, the report's n-grams of each
    order.
    """
    most = len(ORDERS)
    precisions = (sums[..., 2 : 2 + order] + TINY) / (sums[..., 2 + most : 2 + most + order] + SMALL)
    ratio = (sums[..., 0] + TINY) / (sums[..., 1] + SMALL)
    return np.exp(np.log(precisions).mean(axis=-1) + np.minimum(0.0, 1 - 1 / ratio))


class ModelScorer:
    """One metric of RadEval that needs a model."""

    def __init__(self, radeval: RadEvalPython, name: str):
        self._radeval, self._name = radeval, name

    def answer(self, questions: Sequence[Any]) -> list[Any]:
        """Return for each (prediction, reference) its scores by RadEval's names."""
        found = self._radeval.ask("metric", questions, metric=self._name)
        keys = MODEL_METRICS[self._name].rows.values()
        return [dict(zip(keys, scores, strict=True)) for scores in zip(*(found[key] for key in keys), strict=True)]


def score_bleu(predictions: Sequence[str], references: Sequence[str], model: ClinicalModel, order: int) -> MetricScores:
    """Compute RadEval's corpus BLEU times 100."""
    counts = [answer["counts"] for answer in model.answer(pair_up(predictions, references))]
    return score_of_sums(np.array(counts), lambda sums: 100.0 * bleu_of_counts(sums, order))


def score_mean(
    predictions: Sequence[str], references: Sequence[str], model: ClinicalModel, key: str, factor: float
) -> MetricScores:
    """Compute the mean of RadEval's scores of the reports, times `factor`."""
    return mean_of_reports([factor * answer[key] for answer in model.answer(pair_up(predictions, references))])


def radeval_metrics(options: ClinicalOptions) -> dict[str, Metric]:
    """Return RadEval's BLEU and ROUGE, or each with the reason why it is missing.

    Raises:
        ValueError: if the Python that the options name cannot be started.
    """
    try:
        radeval = find_radeval(options)
    except NoRadEvalError as error:
        return _missing(NAMES, str(error))
    signature = f"radeval|version:{radeval.version}"
    rouge = f"{signature}|rouge-score:{radeval.rouge_version}"
    model = _kept(options, f"{rouge}|words", partial(WordScorer, radeval))
    metrics = {
        row: Metric(
            partial(score_bleu, model=model, order=order), f"{signature}|bleu:{order}|tok:blanks|case:kept|level:corpus"
        )
        for row, order in BLEU_ROWS.items()
    }
    for row, key in ROUGE_ROWS.items():
        score = partial(score_mean, model=model, key=key, factor=100.0)
        metrics[row] = Metric(score, f"{rouge}|{key}|f1|stem:yes|level:mean of reports")
    return metrics


def radeval_model_metrics(options: ClinicalOptions) -> dict[str, Metric]:
    """Return RadEval's metrics by models; each that RadEval cannot make has the reason why it is missing.

    Raises:
        ValueError: if the Python that the options name cannot be started, or its RadEval cannot be imported.
    """
    try:
        radeval = find_radeval(options)
    except NoRadEvalError as error:
        return _missing(MODEL_NAMES, str(error))
    metrics: dict[str, Metric] = {}
    for name, reason in radeval.ask("check", metrics=list(MODEL_METRICS)).items():
        rows, weights = MODEL_METRICS[name].rows, MODEL_METRICS[name].weights
        if reason:
            told = f"RadEval cannot make {name}, which searches {weights}: {reason} ({radeval.python})"
            metrics |= _missing(rows, told)
            continue
        signature = f"radeval|version:{radeval.version}|{name}"
        model = _kept(options, signature, partial(ModelScorer, radeval, name))
        made_on = MODEL_METRICS[name].made_on
        level = f"level:mean of reports{f'|made on {made_on}' if made_on else ''}"
        for row, key in rows.items():
            score = partial(score_mean, model=model, key=key, factor=1.0)
            metrics[row] = Metric(score, f"{signature}|{key}|{level}", scale=1)
    return metrics


def _kept(options: ClinicalOptions, signature: str, load: Callable[[], ClinicalModel]) -> KeptModel:
    return KeptModel(options.answers, signature, "RadEval", load, PAIRS_AT_A_TIME)


def _missing(rows: Sequence[str] | Mapping[str, str], reason: str) -> dict[str, Metric]:
    return {row: missing_metric("radeval", reason) for row in rows}
