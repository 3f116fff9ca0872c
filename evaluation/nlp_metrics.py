"""Word-overlap metrics between predicted and reference reports, each with its signature.

All metrics see the same words: `split_words` is the one tokenisation. Values are on 0 to 100. To add a metric, write a
function of (predictions, references) and add its line to `METRICS`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")
TOKENIZER = "argus-words-v1"  # lower case; words and numbers (decimals whole), each apart; punctuation dropped


def split_words(text: str) -> list[str]:
    """Split a report into lower-case words and numbers; punctuation is dropped.

    "A 3.5mm nodule (LUL)." gives a, 3.5, mm, nodule, lul.
    """
    return WORD.findall(text.lower())


def bleu(predictions: Sequence[str], references: Sequence[str], order: int) -> float:
    """Corpus BLEU up to `order`-grams with equal weights, no smoothing, one reference a report."""
    from sacrebleu.metrics import BLEU

    scorer = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    hypotheses = [" ".join(split_words(text)) for text in predictions]
    targets = [" ".join(split_words(text)) for text in references]
    result = scorer.corpus_score(hypotheses, [targets])
    # Without smoothing an order with no match makes the geometric mean zero.
    return 0.0 if 0 in result.counts else float(result.score)


class _Words:
    """The tokenizer object that rouge_score asks for."""

    def tokenize(self, text: str) -> list[str]:
        """Split `text` as every other metric here does."""
        return split_words(text)


def rouge(predictions: Sequence[str], references: Sequence[str], kind: str) -> float:
    """Mean over reports of ROUGE F1 (beta 1); `kind` is rouge1, rouge2 or rougeL (longest common subsequence)."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], tokenizer=_Words())
    pairs = zip(references, predictions, strict=True)
    scores = [scorer.score(reference, prediction)[kind].fmeasure for reference, prediction in pairs]
    return 100.0 * sum(scores) / len(scores)


@dataclass(frozen=True)
class Metric:
    """One metric: how it is computed and the signature that is printed with its values."""

    score: Callable[[Sequence[str], Sequence[str]], float]
    signature: str


def _bleu_metric(order: int) -> Metric:
    signature = f"sacrebleu|version:{version('sacrebleu')}|tok:{TOKENIZER}|level:corpus|order:{order}|smooth:none"
    return Metric(partial(bleu, order=order), signature)


def _rouge_metric(kind: str) -> Metric:
    signature = f"rouge_score|version:{version('rouge-score')}|tok:{TOKENIZER}|level:mean of reports|f1|stem:no"
    return Metric(partial(rouge, kind=kind), signature)


METRICS: dict[str, Metric] = {
    "BLEU-1": _bleu_metric(1),
    "BLEU-2": _bleu_metric(2),
    "BLEU-3": _bleu_metric(3),
    "BLEU-4": _bleu_metric(4),
    "ROUGE-1": _rouge_metric("rouge1"),
    "ROUGE-2": _rouge_metric("rouge2"),
    "ROUGE-L": _rouge_metric("rougeL"),
}


def score_nlp(predictions: Sequence[str], references: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return `{name: {"value", "signature"}}` for every metric of `METRICS`; an empty prediction matches nothing.

    Raises:
        ValueError: if there are no reports, or not as many predictions as references.
    """
    if not predictions or len(predictions) != len(references):
        raise ValueError(
            f"expected as many predictions as references, at least one; got {len(predictions)} and {len(references)}"
        )
    return {
        name: {"value": metric.score(predictions, references), "signature": metric.signature}
        for name, metric in METRICS.items()
    }
