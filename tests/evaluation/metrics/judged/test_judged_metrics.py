from importlib.metadata import PackageNotFoundError

import pytest

from argus_evaluation.metrics.clinical.clinical_metrics import CLINICAL_METRICS, clinical_metrics
from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions
from argus_evaluation.metrics.judged import chat_judge
from argus_evaluation.metrics.judged.chat_judge import ChatJudge, JudgedMetric, reach, read_judge
from argus_evaluation.metrics.judged.crimson_metric import CRIMSON
from argus_evaluation.metrics.judged.radmatch_metric import CORRECT, ERRORS, RADMATCH

JUDGE = "http://127.0.0.1:9/v1#google/medgemma-4b-it"


class Answers:
    """A model with known answers."""

    def __init__(self, answers):
        self._answers = answers

    def answer(self, questions):
        return self._answers[: len(questions)]


def test_a_judge_is_an_address_and_a_model():
    assert read_judge(JUDGE) == ChatJudge("http://127.0.0.1:9/v1", "google/medgemma-4b-it")


@pytest.mark.parametrize("text", ["medgemma", "http://127.0.0.1:9/v1", "ftp://a#b", "#b", ""])
def test_a_judge_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match="a judge is given as http://ADDRESS/v1#MODEL"):
        read_judge(text)


def test_an_address_that_does_not_answer_is_named():
    with pytest.raises(ValueError, match="http://127.0.0.1:9/v1: the judge google/medgemma-4b-it did not answer"):
        reach(read_judge(JUDGE))


def test_crimson_counts_answers_that_cannot_be_read():
    scores = CRIMSON.scores["CRIMSON"](["a"] * 3, ["b"] * 3, Answers([1.0, -0.5, None]))
    assert scores.value == pytest.approx(0.5 / 3) and scores.counts == {"unparsed": 1}


def test_radmatch_is_summed_over_readable_answers():
    counts = [dict.fromkeys(("COR", "PAR", "INC", "MIS", "SPU"), 0) | {"COR": 2, "MIS": 1}, {"COR": 1, "PAR": 1,
              "INC": 0, "MIS": 0, "SPU": 4}]  # fmt: skip
    answers = Answers([{"errors": 1, "counts": counts[0]}, {"errors": 4, "counts": counts[1]}, None])
    errors, correct = (RADMATCH.scores[name](["a"] * 3, ["b"] * 3, answers) for name in (ERRORS, CORRECT))
    assert (errors.value, errors.counts) == (2.5, {"unparsed": 1})
    assert correct.value == pytest.approx(3 / 5)
    assert not RADMATCH.scores[ERRORS](["a"], ["b"], Answers([None])).is_defined


def test_without_package_or_judge_each_metric_says_what_to_do(monkeypatch):
    def no_package(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(chat_judge, "version", no_package)
    metrics = clinical_metrics(["crimson", "radmatch"], ClinicalOptions(judge=JUDGE))
    assert {metric.missing() for metric in metrics.values()} == {
        "crimson-score is not installed: pip install '.[judged]'",
        "radmatch is not installed: pip install '.[judged]'",
    }
    monkeypatch.setattr(chat_judge, "version", lambda name: "1.0")
    (metric,) = JudgedMetric("crimson-score", CRIMSON.load, CRIMSON.scores).metrics(ClinicalOptions()).values()
    assert metric.missing() == "no judge: give --clinical-judge http://ADDRESS/v1#MODEL"


def test_metrics_made_on_x_rays_say_so_wherever_they_are_signed():
    told = {
        key: all("made on X-rays" in metric.signature for metric in entry.metrics(ClinicalOptions()).values())
        for key, entry in CLINICAL_METRICS.items()
    }
    assert {key for key, says in told.items() if says} == {"radgraph", "green", "rate", "crimson"}
