"""Compute word-overlap metrics between predicted and reference reports, each with its signature.

All metrics use the same words (`split_words`). Every value is 100 times pycocoevalcap's: 0 to 100, and 0 to 1,000 for
CIDEr. To add a metric, write a function of (predictions, references) and add its line to `METRICS`.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.metadata import version

import numpy as np

from .cider import MAX_ORDER, SIGMA, cider_d
from .meteor import MAX_WORDS, meteor, missing_meteor
from .metric import Metric, MetricScores, divide, mean_of_reports, score_of_sums
from .report_words import TOKENIZER, split_words

_CIDER = f"argus cider-d|version:1|tok:{TOKENIZER}|level:mean of reports|sigma:{SIGMA:g}|x100"
ROUGE_L_BETA = 1.2  # as in pycocoevalcap; the F1 of rouge_score has 1


def bleu(predictions: Sequence[str], references: Sequence[str], order: int) -> MetricScores:
    """Compute corpus BLEU up to `order`-grams with equal weights, no smoothing, one reference for each report."""
    return score_of_sums(_bleu_counts(tuple(predictions), tuple(references)), partial(_bleu_of_counts, order=order))


def mean_bleu(predictions: Sequence[str], references: Sequence[str], order: int) -> MetricScores:
    """Compute the mean over reports of each report's own BLEU, without smoothing: zero if an order has no match."""
    return mean_of_reports(bleu(predictions, references, order).per_report)


@lru_cache(maxsize=4)
def _bleu_counts(predictions: tuple[str, ...], references: tuple[str, ...]) -> np.ndarray:
    """Count words and n-grams of each report: `(N, 10)`.

    Columns: words of the report, words of the reference, matched n-grams of each order, the report's n-grams of each
    order.
    """
    from sacrebleu.metrics import BLEU

    # force: the words are split already. effective_order changes only the score, which is not used.
    scorer = BLEU(tokenize="none", max_ngram_order=MAX_ORDER, force=True, effective_order=True)
    rows = []
    for prediction, reference in zip(predictions, references, strict=True):
        found = scorer.sentence_score(" ".join(split_words(prediction)), [" ".join(split_words(reference))])
        rows.append([found.sys_len, found.ref_len, *found.counts, *found.totals])
    return np.array(rows, dtype=np.float64)


def _bleu_of_counts(sums: np.ndarray, order: int) -> np.ndarray:
    """Compute BLEU (Papineni et al. 2002) times 100 from summed counts `(..., 10)`."""
    written, true = sums[..., 0], sums[..., 1]
    precisions = divide(sums[..., 2 : 2 + order], sums[..., 2 + MAX_ORDER : 2 + MAX_ORDER + order])
    with np.errstate(divide="ignore"):
        mean = np.exp(np.log(precisions).mean(axis=-1))  # without a match in one order, the whole score is zero
    brevity = np.where(written < true, np.exp(1 - divide(true, np.maximum(written, 1))), 1.0)
    return 100.0 * brevity * mean


class _Words:
    """The tokenizer object that rouge_score needs."""

    def tokenize(self, text: str) -> list[str]:
        """Split `text` in the same way as all other metrics here."""
        return split_words(text)


def rouge(predictions: Sequence[str], references: Sequence[str], kind: str) -> MetricScores:
    """Compute the mean over reports of the F1 of shared n-grams; `kind` is rouge1 or rouge2 (Lin 2004)."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], tokenizer=_Words())
    pairs = zip(references, predictions, strict=True)
    return mean_of_reports(
        [100.0 * scorer.score(reference, prediction)[kind].fmeasure for reference, prediction in pairs]
    )


def rouge_l(predictions: Sequence[str], references: Sequence[str], beta: float) -> MetricScores:
    """Compute the mean over reports of the F-score of the longest common subsequence (Lin 2004).

    `beta` above 1 favours recall. rapidfuzz finds the same length as rouge_score, a thousand times faster.
    """
    from rapidfuzz.distance import LCSseq

    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        said, true = split_words(prediction), split_words(reference)
        common = LCSseq.similarity(said, true)
        scores.append(100.0 * (1 + beta**2) * common / (len(true) * beta**2 + len(said)) if common else 0.0)
    return mean_of_reports(scores)


def _sign(library: str, rest: str) -> str:
    return f"{library}|version:{version(library)}|tok:{TOKENIZER}|{rest}"


def _bleu_metric(order: int) -> Metric:
    return Metric(partial(bleu, order=order), _sign("sacrebleu", f"level:corpus|order:{order}|smooth:none"))


def _mean_bleu_metric(order: int) -> Metric:
    signature = _sign("sacrebleu", f"level:mean of reports|order:{order}|smooth:none")
    return Metric(partial(mean_bleu, order=order), signature)


def _rouge_metric(kind: str) -> Metric:
    return Metric(partial(rouge, kind=kind), _sign("rouge-score", f"level:mean of reports|{kind}|f1|stem:no"))


def _rouge_l_metric(beta: float) -> Metric:
    return Metric(partial(rouge_l, beta=beta), _sign("rapidfuzz", f"level:mean of reports|lcs|beta:{beta:g}"))


def _cider_metric(corpus: Sequence[str]) -> Metric:
    """Return CIDEr-D with the weights of a corpus: equal pairs then have equal scores, whatever is scored beside."""
    return Metric(partial(cider_d, corpus=corpus), f"{_CIDER}|idf:{len(corpus)} fixed texts")


METRICS: dict[str, Metric] = {
    "BLEU-1": _bleu_metric(1),
    "BLEU-2": _bleu_metric(2),
    "BLEU-3": _bleu_metric(3),
    "BLEU-4": _bleu_metric(4),
    "ROUGE-1": _rouge_metric("rouge1"),
    "ROUGE-2": _rouge_metric("rouge2"),
    "ROUGE-L": _rouge_l_metric(ROUGE_L_BETA),
    "METEOR": Metric(
        meteor, f"meteor|version:1.5|tok:{TOKENIZER}|level:corpus|en|norm|max words:{MAX_WORDS}", missing_meteor
    ),
    "CIDEr": Metric(
        cider_d,
        f"{_CIDER}|idf:these references",
        pairwise=False,
        with_corpus=_cider_metric,
    ),
    "BLEU-1 (mean)": _mean_bleu_metric(1),
    "BLEU-2 (mean)": _mean_bleu_metric(2),
    "BLEU-3 (mean)": _mean_bleu_metric(3),
    "BLEU-4 (mean)": _mean_bleu_metric(4),
    "ROUGE-L (F1)": _rouge_l_metric(1.0),
}
EIGHT = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L", "METEOR")
# The paper says "eight metrics" but lists nine; the mean of eight agrees with its tables.
AVERAGES: dict[str, tuple[str, ...]] = {"Avg. NLP": EIGHT, "Avg. NLP (9)": (*EIGHT, "CIDEr")}
