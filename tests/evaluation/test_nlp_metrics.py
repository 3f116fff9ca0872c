import math
import random

import pytest
from nltk.translate.bleu_score import corpus_bleu

from argus_evaluation.nlp_metrics import METRICS, score_nlp, split_words


def values(predictions: list[str], references: list[str]) -> dict[str, float]:
    return {name: scored["value"] for name, scored in score_nlp(predictions, references).items()}


def test_words_are_lower_case_without_punctuation_and_decimals_stay_whole():
    assert split_words("A 3.5mm nodule (LUL).\nStable, T12-L1.") == [
        *("a", "3.5", "mm", "nodule", "lul"),
        *("stable", "t", "12", "l", "1"),
    ]


def test_scores_of_one_pair_match_those_worked_out_by_hand():
    scores = values(["the cat sat on the mat"], ["the cat is on the mat"])
    # 1-grams 5/6, 2-grams 3/5, 3-grams 1/4, no 4-gram; same length, so no brevity penalty.
    assert scores["BLEU-1"] == pytest.approx(100 * 5 / 6)
    assert scores["BLEU-2"] == pytest.approx(100 * math.sqrt(5 / 6 * 3 / 5))
    assert scores["BLEU-3"] == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4) ** (1 / 3))
    assert scores["BLEU-4"] == 0.0
    # The longest common subsequence is "the cat on the mat".
    assert scores["ROUGE-1"] == pytest.approx(100 * 5 / 6)
    assert scores["ROUGE-2"] == pytest.approx(100 * 3 / 5)
    assert scores["ROUGE-L"] == pytest.approx(100 * 5 / 6)


def test_a_short_prediction_pays_the_brevity_penalty():
    assert values(["a b"], ["a b c d"])["BLEU-1"] == pytest.approx(100 * math.exp(1 - 4 / 2))


@pytest.mark.filterwarnings(r"ignore:\s*The hypothesis contains 0 counts")
def test_corpus_bleu_equals_nltks_on_random_reports():
    draw = random.Random(0)
    predictions = [" ".join(draw.choices("abcdef", k=draw.randint(4, 15))) for _ in range(30)]
    references = [" ".join(draw.choices("abcdef", k=draw.randint(4, 15))) for _ in range(30)]
    scores = values(predictions, references)
    for order in (1, 2, 3, 4):
        expected = corpus_bleu([[r.split()] for r in references], [p.split() for p in predictions], [1 / order] * order)
        assert scores[f"BLEU-{order}"] == pytest.approx(100 * expected, abs=1e-6)


def test_the_same_report_scores_100_and_an_empty_one_0():
    report = "No pleural effusion, no nodule."
    assert all(value == pytest.approx(100.0) for value in values([report], [report]).values())
    assert set(values(["", " . "], [report, report]).values()) == {0.0}


def test_every_signature_names_version_tokenizer_and_level():
    scored = score_nlp(["a"], ["a"])
    assert set(scored) == set(METRICS)
    for metric in scored.values():
        assert all(part in metric["signature"] for part in ("version:", "tok:argus-words-v1", "level:"))


@pytest.mark.parametrize(("predictions", "references"), [([], []), (["a"], ["a", "b"])])
def test_uneven_or_no_reports_are_refused(predictions, references):
    with pytest.raises(ValueError, match="as many predictions as references"):
        score_nlp(predictions, references)
