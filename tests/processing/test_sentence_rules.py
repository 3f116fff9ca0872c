from pathlib import Path

import pytest

from argus_evaluation.measure_rules import HALVES, measure, read_sentences
from argus_processing.sentence_rules import RULES, judge_sentence

LABELLED = Path(__file__).parent / "labelled_sentences.csv"


@pytest.mark.parametrize("half", HALVES)
def test_every_rule_is_precise_and_complete_on_either_half(half):
    results = measure(read_sentences(LABELLED))[half]
    assert set(results) == {rule.name for rule in RULES}
    for name, row in results.items():
        assert row["support"] >= 20
        assert min(row["precision"], row["recall"]) >= 0.95, name


def test_the_labelled_set_is_large_and_no_sentence_is_in_both_halves():
    rows = read_sentences(LABELLED)
    sentences = [row["sentence"].lower() for row in rows]
    assert len(set(sentences)) == len(sentences) >= 200
    assert sum(row["rule"] == "keep" for row in rows) >= 100


def test_the_first_rule_that_fits_is_named_with_what_it_found():
    assert judge_sentence("The nodule measures 4 mm and is stable.") == ("measurement", "4 mm")
    assert judge_sentence("The heart is enlarged.") is None
    assert judge_sentence("") is None
