"""Compute CRIMSON by its authors' package: a chat model lists errors, weighted by what they mean for the patient."""

from collections.abc import Sequence
from typing import Any

from ..clinical.clinical_answers import ClinicalModel, pair_up
from ..metric import MetricScores, mean_of_reports
from .chat_judge import ChatJudge, JudgedMetric, errors_of, reach

NAME = "CRIMSON"


class CrimsonJudge:
    """The package's scorer, which asks the judge one question a pair."""

    def __init__(self, judge: ChatJudge, batch_size: int):
        del batch_size  # the package asks an address one pair at a time
        from CRIMSON.generate_score import CRIMSONScore

        self._judge = judge
        # Its constructor takes address and key from the environment alone.
        self._scorer: Any = CRIMSONScore.__new__(CRIMSONScore)
        self._scorer.api, self._scorer.model_name = "openai", judge.model
        self._scorer.client = reach(judge)

    def answer(self, questions: Sequence[Any]) -> list[Any]:
        """Return for each (prediction, reference) its score, -1 to 1, or None if the answer cannot be read."""
        with errors_of(self._judge):
            return [self._score(prediction, reference) for prediction, reference in questions]

    def _score(self, prediction: str, reference: str) -> float | None:
        try:
            return float(self._scorer.evaluate(reference, prediction)["crimson_score"])
        except (ValueError, KeyError, TypeError, AttributeError):  # what its reader raises at an answer of another form
            return None


def score_crimson(predictions: Sequence[str], references: Sequence[str], model: ClinicalModel) -> MetricScores:
    """Compute the mean CRIMSON; a pair whose answer cannot be read scores 0 and is counted as `unparsed`."""
    scores = model.answer(pair_up(predictions, references))
    return mean_of_reports([score or 0.0 for score in scores], {"unparsed": [score is None for score in scores]})


CRIMSON = JudgedMetric("crimson-score", CrimsonJudge, {NAME: score_crimson})
