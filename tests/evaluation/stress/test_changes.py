"""Planted errors are errors, harmless changes are none: by hand, and as invariants over hundreds of reports."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_evaluation.metrics.labels import read_labels
from argus_evaluation.metrics.report_findings import extract_findings
from argus_evaluation.metrics.report_words import split_words
from argus_evaluation.stress.changes import ERRORS, HARMLESS, Change
from argus_evaluation.stress.report_facts import read_facts
from argus_evaluation.stress.stress_pairs import StressPair, make_pairs
from argus_evaluation.stress.stress_references import phantom_references
from argus_evaluation.stress.vocabulary_files import read_vocabulary


def all_changes(kind: str, report: str, tries: int = 40) -> set[str]:
    """Return the different changes of a report that a few dozen draws give."""
    change = (ERRORS | HARMLESS)[kind]
    made = (change.make(report, np.random.default_rng([7, number])) for number in range(tries))
    return {text for text in made if text is not None}


@pytest.mark.parametrize(
    ("kind", "report", "changed"),
    [
        ("negation", "There is a consolidation in the left lung.", {"There is no consolidation in the left lung."}),
        ("negation", "No pleural effusion was detected.", {"Pleural effusion was detected."}),
        ("negation", "The heart is enlarged.", {"The heart is not enlarged."}),
        ("side", "A nodule in the right upper lobe.", {"A nodule in the left upper lobe."}),
        ("side", "Atelectasis in the right middle lobe.", set()),
        ("lobe", "A nodule in the right upper lobe.", {"A nodule in the right lower lobe."}),
        ("lobe", "Nodules in the upper and lower lobes.", set()),
        ("severity", "There is a mild pleural effusion.", {"There is a severe pleural effusion."}),
        ("severity", "There is an extensive pleural effusion.", {"There is a minimal pleural effusion."}),
        ("size", "There is an 8 mm nodule in the left lung.", {"There is a 24 mm nodule in the left lung."}),
        ("size", "A 17x34 mm lung nodule is seen.", {"A 8x17 mm lung nodule is seen."}),
        ("size", "A lung nodule of 1.4 cm.", {"A lung nodule of 4.2 cm."}),
        ("omission", "The bones are intact. The heart is enlarged.", {"The bones are intact."}),
        ("wrong organ", "The heart is enlarged.", {"The liver is enlarged."}),
        ("wrong organ", "A nodule in the left upper lobe.", {"A nodule in the left thyroid lobe."}),
        ("paraphrase", "The left upper lobe shows atelectasis.", {"Atelectasis is seen in the left upper lobe."}),
        ("sentence order", "The heart is enlarged. No nodule.", {"No nodule. The heart is enlarged."}),
        ("synonyms", "A mild atelectasis.", {"A slight atelectasis.", "A mild atelectatic change."}),
    ],
)
def test_changes_by_hand(kind, report, changed):
    assert all_changes(kind, report) == changed


def test_an_error_is_planted_wherever_the_finding_is_told():
    report = "There is a nodule in the left upper lobe. The bones are intact.\nImpression: Left upper lobe nodule."
    assert all_changes("side", report) == {report.replace("left", "right").replace("Left", "Right")}
    assert all_changes("negation", report) == {
        "There is no nodule in the left upper lobe. The bones are intact.\nImpression: No left upper lobe nodule."
    }
    assert all_changes("omission", report) == {"The bones are intact."}


def test_a_finding_is_invented_in_the_place_of_its_denial():
    changed = all_changes("invention", "The bones are intact. No consolidation.", tries=200)
    there = [text for text in changed if "onsolidation" in text and "No consolidation" not in text]
    assert there and all(text.startswith("The bones are intact. There is a consolidation in the ") for text in there)


@cache
def phantom_pairs() -> tuple[tuple[str, ...], tuple[StressPair, ...]]:
    reports = phantom_references(200, seed=11).reports
    return reports, tuple(make_pairs(reports, 200, seed=3))


@pytest.mark.parametrize("kind", HARMLESS)
def test_harmless_changes_leave_all_that_is_read(kind):
    reports, pairs = phantom_pairs()
    own = [pair for pair in pairs if pair.kind == kind]
    assert len(own) == 200
    for pair in own:
        before, after = reports[pair.reference], pair.text
        assert after != before
        assert read_labels(after) == read_labels(before)
        assert read_facts(after) == read_facts(before)


@pytest.mark.parametrize("kind", ["sentence order", "whitespace"])
def test_order_and_blanks_keep_every_word(kind):
    reports, pairs = phantom_pairs()
    for pair in pairs:
        if pair.kind == kind:
            words, before = split_words(pair.text), split_words(reports[pair.reference])
            assert (words == before) if kind == "whitespace" else (sorted(words) == sorted(before))


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_change_what_they_claim_and_nothing_else(kind):
    reports, pairs = phantom_pairs()
    own = [pair for pair in pairs if pair.kind == kind]
    assert len(own) == 200
    for pair in own:
        before, after = read_facts(reports[pair.reference]), read_facts(pair.text)
        differing = {name for name in vars(before) if getattr(before, name) != getattr(after, name)}
        assert ERRORS[kind].changes <= differing, pair.text
        if kind in ("side", "lobe", "severity", "size"):
            assert differing == ERRORS[kind].changes
            assert len(split_words(pair.text)) == len(split_words(reports[pair.reference]))
        if kind == "omission":
            assert read_labels(pair.text) < read_labels(reports[pair.reference])
        if kind == "invention":
            assert read_labels(pair.text) > read_labels(reports[pair.reference])


def test_the_reader_of_phantoms_sees_sides_and_lobes_change():
    reports, pairs = phantom_pairs()
    for kind, kept in (("side", "place"), ("lobe", "side")):
        own = [pair for pair in pairs if pair.kind == kind]
        seen = 0
        for pair in own:
            before, after = extract_findings(reports[pair.reference]), extract_findings(pair.text)
            assert {finding.label for finding in before} == {finding.label for finding in after}
            assert sorted(str(getattr(each, kept)) for each in before) == sorted(
                str(getattr(each, kept)) for each in after
            )
            seen += before != after
        assert seen >= 0.95 * len(own)


@pytest.mark.parametrize(
    ("change", "report"),
    [
        (Change(lambda report, rng: report.replace("left", "right"), frozenset({"lobes"})), "A left lung nodule."),
        (Change(lambda report, rng: report.replace("left ", "")), "A left lung nodule."),
        (Change(lambda report, rng: report.replace("4", "5")), "A 4 mm nodule of the lung."),
        (Change(lambda report, rng: report.replace("No ", "A ")), "No pleural effusion."),
        (Change(lambda report, rng: report), "No pleural effusion."),
    ],
)
def test_a_change_that_is_not_what_it_claims_is_refused(change, report):
    assert change.make(report, np.random.default_rng(0)) is None


def test_equal_seeds_give_equal_pairs_and_others_do_not():
    reports = phantom_references(20, seed=2).reports
    first = make_pairs(reports, 20, seed=5)
    assert first == make_pairs(reports, 20, seed=5)
    assert first != make_pairs(reports, 20, seed=6)


def test_every_reference_is_changed_once_before_any_is_again():
    reports = phantom_references(20, seed=2).reports
    pairs = make_pairs(reports, 30, changes={"whitespace": HARMLESS["whitespace"]})
    assert len({pair.reference for pair in pairs[:20]}) == 20
    assert len({pair.text for pair in pairs}) == len(pairs) == 30


def test_a_class_is_smaller_if_the_references_hold_no_more():
    pairs = make_pairs(["The heart is enlarged.", "No nodule."], 50, changes={"size": ERRORS["size"]})
    assert pairs == []


@pytest.mark.parametrize("label", read_vocabulary("errors")["invented"])
def test_an_invented_finding_is_read_as_its_label_alone(label):
    for wording in read_vocabulary("errors")["invented"][label]:
        assert read_labels(wording.format(side="left", lobe="upper")) == {label}


def test_every_grade_has_an_opposite_of_another_level():
    words = read_vocabulary("words")
    level = {word: name for name, listed in words["grades"].items() for word in listed}
    assert level.keys() == words["other_grade"].keys()
    assert all(level[word] != level[other] for word, other in words["other_grade"].items())


@pytest.mark.parametrize("group", read_vocabulary("harmless")["synonyms"], ids=lambda group: group[0])
def test_synonyms_say_the_same_facts(group):
    first, *others = [read_facts(f"There is {word} in the left lower lobe.") for word in group]
    assert others and all(other == first for other in others)


PIECES = [
    "No ",
    "There is a ",
    "mild ",
    "8 mm ",
    "nodule ",
    "in the right upper lobe",
    ". ",
    ";",
    "\n",
    "Impression: ",
    "{x}",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=14).map("".join), st.integers(0, 99))
def test_any_text_is_changed_as_claimed_or_not_at_all(report, seed):
    for change in (ERRORS | HARMLESS).values():
        changed = change.make(report, np.random.default_rng(seed))
        assert changed is None or change.is_kept(read_facts(report), read_facts(changed))
