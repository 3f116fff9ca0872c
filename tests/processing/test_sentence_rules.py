from pathlib import Path

import pytest

from argus_evaluation.measure_rules import HALVES, measure, read_sentences
from argus_processing.sentence_rules import NAMES, RULES, judge_sentence, read_rules

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
    assert judge_sentence("The nodule measures 4 mm and is stable.") == ("measurement", "measures 4")
    assert judge_sentence("The heart is enlarged.") is None
    assert judge_sentence("") is None


def _vocabulary(folder, words, topic, harmless="nothing at all;"):
    (folder / "words.yaml").write_text(words, encoding="utf-8")
    for name in NAMES:
        text = f"reason: why\ntopic: >-\n  {topic}\nharmless: >-\n  {harmless}\n"
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return read_rules(folder)[0].pattern, read_rules(folder)[0].exempt


@pytest.mark.parametrize(
    ("phrase", "found", "not_found"),
    [
        ("cough*;", "he coughs", "hiccoughs"),
        ("d dimer;", "d-dimer", "d or dimer"),
        ("since ... ct;", "since his last ct", "since the old scan was an mri and not a ct"),
        ("{earlier} scan;", "the prior scan", "the scan"),
        ("(red|white) cells?;", "white cell", "blue cells"),
        ("fe(ver|brile);", "febrile", "fe"),
        ("(show|find)* it;", "showing it", "ing it"),
    ],
)
def test_the_notation_of_the_vocabulary(tmp_path, phrase, found, not_found):
    pattern, _ = _vocabulary(tmp_path, "earlier: last; prior;\n", phrase)
    assert pattern.search(found) and not pattern.search(not_found)


def test_a_harmless_phrase_hides_only_itself():
    assert judge_sentence("Persistent left superior vena cava.") is None
    assert judge_sentence("Persistent left superior vena cava, unchanged.") == ("comparison", "unchanged")
