import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from nltk.translate.bleu_score import corpus_bleu
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from rouge_score.rouge_scorer import RougeScorer

from argus_evaluation.benchmark.scoring import score_nlp
from argus_evaluation.metrics.nlp_metrics import AVERAGES, METRICS
from argus_evaluation.metrics.report_words import split_words

COMPUTED = [name for name in METRICS if name != "METEOR"]
EXAMPLE = json.loads((Path(__file__).parent / "coco_caption_example.json").read_text())["captions"]
CLAUSES = (
    "no pleural effusion",
    "a 4.5 mm nodule in the right upper lobe",
    "heart size is normal",
    "ground-glass opacity in the left lower lobe",
    "mild emphysema",
    "calcified plaques in the aorta and the coronary arteries",
    "lymph nodes up to 12 mm in the mediastinum",
    "no pericardial effusion",
)


def made_pairs(count: int) -> tuple[list[str], list[str]]:
    """Reports of 1 to 8 clauses, and other drafts of them: clauses left out, added and out of order."""
    draw = random.Random(3)
    references = [draw.sample(CLAUSES, draw.randint(1, 8)) for _ in range(count)]
    predictions = [draw.sample(CLAUSES, draw.randint(1, 3)) + draw.sample(r, (len(r) + 1) // 2) for r in references]
    predictions[5] = references[5]
    return [". ".join(clauses) for clauses in predictions], [". ".join(clauses) + "." for clauses in references]


def coco_pairs(reference: int) -> tuple[list[str], list[str]]:
    return [row["candidate"] for row in EXAMPLE], [row["references"][reference] for row in EXAMPLE]


PAIRS = {"made": made_pairs(50), **{f"coco {reference}": coco_pairs(reference) for reference in range(4)}}


def values(predictions: list[str], references: list[str]) -> dict[str, float]:
    return {name: METRICS[name].score(predictions, references).value for name in COMPUTED}


def by_image(texts: list[str]) -> dict[int, list[str]]:
    return {index: [" ".join(split_words(text))] for index, text in enumerate(texts)}


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
    assert scores["ROUGE-L"] == scores["ROUGE-L (F1)"] == pytest.approx(100 * 5 / 6)
    assert scores["CIDEr"] == 0.0  # in a set of one no n-gram tells reports apart


def test_rouge_l_with_beta_favours_recall():
    short, long = values(["a b"], ["a b c d"]), values(["a b c d"], ["a b"])
    assert short["ROUGE-L"] == pytest.approx(100 * (1 + 1.44) * 0.5 / (0.5 + 1.44))
    assert long["ROUGE-L"] > short["ROUGE-L"] and long["ROUGE-L (F1)"] == pytest.approx(short["ROUGE-L (F1)"])


def test_a_short_prediction_pays_the_brevity_penalty():
    assert values(["a b"], ["a b c d"])["BLEU-1"] == pytest.approx(100 * math.exp(1 - 4 / 2))


def test_corpus_bleu_sums_counts_and_mean_bleu_averages_scores():
    scores = values(["a b c d", "x"], ["a b c d", "y"])
    assert scores["BLEU-1"] == pytest.approx(100 * 4 / 5)
    assert scores["BLEU-1 (mean)"] == pytest.approx(50)


def test_cider_of_true_reports_worked_out_by_hand():
    # Every n-gram is in one of two references; two words have no 3-grams and 4-grams: (1 + 1 + 0 + 0) / 4 * 10 * 100.
    assert values(["a b", "c d"], ["a b", "c d"])["CIDEr"] == pytest.approx(500)
    # One 2-gram too many: the penalty exp(-1 / 72), and a 2-gram cosine of 1 / sqrt 2.
    scores = METRICS["CIDEr"].score(["a b a", "c d"], ["a b", "c d"]).per_report
    cosines = [(1 * 1 + 1 * 1) / (math.sqrt(5) * math.sqrt(2)), 1 / math.sqrt(2), 0, 0]
    assert scores[0] == pytest.approx(1000 * sum(cosines) / 4 * math.exp(-1 / 72))


@pytest.mark.parametrize("name", PAIRS)
def test_bleu_rouge_l_and_cider_equal_pycocoevalcap_on_the_same_words(name):
    predictions, references = PAIRS[name]
    true, said = by_image(references), by_image(predictions)
    corpus, each = Bleu(4).compute_score(true, said, verbose=0)
    for order in (1, 2, 3, 4):
        # Where an order has no match, pycocoevalcap's tiny constants give up to 1e-4 in place of zero.
        assert METRICS[f"BLEU-{order}"].score(predictions, references).value / 100 == pytest.approx(
            corpus[order - 1], abs=1e-4
        )
        mean = METRICS[f"BLEU-{order} (mean)"].score(predictions, references).value
        assert mean / 100 == pytest.approx(np.mean(each[order - 1]), abs=1e-4)
    for metric, scorer in (("ROUGE-L", Rouge()), ("CIDEr", Cider())):
        expected, per_report = scorer.compute_score(true, said)
        scores = METRICS[metric].score(predictions, references)
        assert scores.value / 100 == pytest.approx(expected, abs=1e-9)
        np.testing.assert_allclose(scores.per_report / 100, per_report, atol=1e-9)


@pytest.mark.parametrize("name", ["made", "coco 0"])
def test_rouge_equals_rouge_score_and_bleu_equals_sacrebleu(name):
    from sacrebleu.metrics import BLEU

    predictions, references = PAIRS[name]
    said, true = ([" ".join(split_words(text)) for text in texts] for texts in PAIRS[name])
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    expected = [scorer.score(reference, report) for reference, report in zip(true, said, strict=True)]
    names = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L (F1)": "rougeL"}
    for metric, kind in names.items():
        # Its own tokenizer parts decimals, so only the captions, which have none, must agree with it.
        if name != "made":
            mean = 100 * np.mean([score[kind].fmeasure for score in expected])
            assert METRICS[metric].score(predictions, references).value == pytest.approx(mean)
    sacre = BLEU(tokenize="none", smooth_method="none").corpus_score(said, [true])
    assert METRICS["BLEU-4"].score(predictions, references).value == pytest.approx(sacre.score)


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
    same = values([report], [report])
    assert all(same[name] == pytest.approx(100.0) for name in COMPUTED if name != "CIDEr")
    assert set(values(["", " . "], [report, report]).values()) == {0.0}


LONG = "no nodule in the left lung " * 900
ODD = [
    "",
    " \n\t",
    "...",
    "|||",
    "\x00\x07\x1b[0m",
    "肺结节 3 mm",
    "Плевральный выпот",
    "لا يوجد انصباب",
    "न\u0940 e\u0301",
]


@pytest.mark.parametrize("odd", [*ODD, "\u2028\u2029\x85\r\n a", "\ud800", "🫁", LONG], ids=range(len(ODD) + 4))
def test_odd_reports_have_defined_scores(odd):
    for predictions, references in (
        ([odd, "a b"], ["a b", "a b"]),
        (["a b", "a b"], [odd, "a b"]),
        ([odd] * 2, [odd] * 2),
    ):
        for name in COMPUTED:
            scores = METRICS[name].score(predictions, references)
            assert math.isfinite(scores.value) and 0 <= scores.value <= 1000
            assert np.isfinite(scores.per_report).all() and len(scores.per_report) == 2


def test_a_missing_meteor_names_its_extra_and_removes_its_averages():
    scored = score_nlp(["a"], ["a"])
    assert set(scored) == set(METRICS) | set(AVERAGES)
    for name in ("METEOR", *AVERAGES):
        assert scored[name].scores is None and "Java" in scored[name].missing
    assert all(not scored[name].missing and len(scored[name].scores.per_report) == 1 for name in COMPUTED)


def test_every_signature_names_version_tokenizer_and_level():
    signatures = [metric.signature for metric in METRICS.values()]
    assert len(set(signatures)) == len(METRICS)
    for signature in signatures:
        assert all(part in signature for part in ("version:", "tok:argus-words-v1", "level:"))


@pytest.mark.parametrize(("predictions", "references"), [([], []), (["a"], ["a", "b"])])
def test_uneven_or_no_reports_are_refused(predictions, references):
    with pytest.raises(ValueError, match="as many predictions as references"):
        score_nlp(predictions, references)
