import json

import pytest

from argus_evaluation.metrics.clinical.clinical_findings import GreenFindings, RadGraphFindings
from argus_evaluation.metrics.clinical.green_metric import list_findings
from argus_evaluation.metrics.named_findings import DIFFERENT, INVENTED, MATCHED, MISSED
from argus_processing.storage.answer_store import answer_once

REFERENCE = "Nodule in the right upper lobe (5 mm).\nNo effusion."
REPORT = "There is a nodule in the left upper lobe. Effusion is seen."
PRESENT, ABSENT = "Observation::definitely present", "Observation::definitely absent"
ANATOMY = "Anatomy::definitely present"


def entity(tokens, label, first, last):
    return {"tokens": tokens, "label": label, "start_ix": first, "end_ix": last, "relations": []}


def graph(*entities):
    return {"entities": {str(place): one for place, one in enumerate(entities, start=1)}}


GRAPHS = {
    REFERENCE: graph(
        entity("Nodule", PRESENT, 0, 0),
        entity("right upper lobe", ANATOMY, 3, 5),
        entity("effusion", ABSENT, 12, 12),
    ),
    REPORT: graph(
        entity("nodule", PRESENT, 3, 3), entity("left upper lobe", ANATOMY, 6, 8), entity("Effusion", PRESENT, 10, 10)
    ),
}
ANSWER = """[Explanation]:
The place is wrong.

[Clinically Significant Errors]:
(a) False report of a finding in the candidate: 1. Effusion is seen.
(b) Missing a finding present in the reference: 0.
(c) Misidentification of a finding's anatomic location/position: 1. Nodule in the left  lung.

[Clinically Insignificant Errors]:
(d) Misassessment of the severity of a finding: 1. Not told.

[Matched Findings]:
2. nodule; upper lobe.</s>"""


def keep(path, asked, answers):
    answer_once(
        path, asked, [json.dumps(question) for question in answers], lambda _: map(json.dumps, answers.values())
    )


def words(text, marks):
    return [(text[mark.start : mark.end], mark.status) for mark in marks]


@pytest.fixture
def entities(tmp_path):
    pytest.importorskip("radgraph")
    keep(tmp_path / "answers.sqlite", "radgraph|version:1", dict.fromkeys(GRAPHS, graph()))
    keep(tmp_path / "answers.sqlite", "radgraph|version:2", GRAPHS)
    keep(tmp_path / "answers.sqlite", "green|other", {("a", "b"): {"text": "", "cut": False}})
    return RadGraphFindings(tmp_path / "answers.sqlite")


def test_entities_are_right_by_words_and_label(entities):
    found = entities.compare(REFERENCE, REFERENCE)
    assert words(REFERENCE, found.report) == [
        ("Nodule", MATCHED),
        ("right upper lobe", MATCHED),
        ("effusion", MATCHED),
    ]
    assert found.findings[MATCHED][2] == "effusion (definitely absent)"
    found = entities.compare(REFERENCE, REPORT)
    assert words(REPORT, found.report) == [
        ("nodule", MATCHED),
        ("left upper lobe", INVENTED),
        ("Effusion", DIFFERENT),
    ]
    assert words(REFERENCE, found.reference) == [
        ("Nodule", MATCHED),
        ("right upper lobe", MISSED),
        ("effusion", DIFFERENT),
    ]
    assert found.findings == {
        MATCHED: ("nodule (definitely present)",),
        DIFFERENT: ("Effusion (definitely present)",),
        INVENTED: ("left upper lobe (definitely present)",),
        MISSED: ("right upper lobe (definitely present)",),
    }


def test_an_entity_of_a_long_reports_second_part_has_its_place(tmp_path):
    pytest.importorskip("radgraph")
    text = "Clear lungs. " * 200 + "Right nodule."
    graphs = {text: graph(entity("lungs", ANATOMY, 1, 1), entity("nodule", PRESENT, 91, 91))}
    keep(tmp_path / "answers.sqlite", "radgraph|version:1", graphs)
    found = RadGraphFindings(tmp_path / "answers.sqlite").compare(text, text)
    assert words(text, found.report) == [("lungs", MATCHED), ("nodule", MATCHED)]
    assert (found.report[0].start, found.report[1].end) == (6, len(text) - 1)


def test_findings_of_green_are_marked_where_the_text_holds_them(tmp_path):
    keep(tmp_path / "answers.sqlite", "green|words:all", {(REPORT, REFERENCE): {"text": ANSWER, "cut": False}})
    found = GreenFindings(tmp_path / "answers.sqlite").compare(REFERENCE, REPORT)
    assert found.findings == {
        MATCHED: ("nodule", "upper lobe"),
        DIFFERENT: ("Nodule in the left  lung",),
        INVENTED: ("Effusion is seen",),
        MISSED: (),
    }
    assert words(REPORT, found.report) == [
        ("nodule", MATCHED),
        ("upper lobe", MATCHED),
        ("Effusion is seen", INVENTED),
    ]
    assert words(REFERENCE, found.reference) == [("Nodule", MATCHED), ("upper lobe", MATCHED)]


def test_an_answer_on_reports_cut_as_published_is_found(tmp_path):
    long = " ".join(["word"] * 400)
    cut = " ".join(["word"] * 300)
    keep(tmp_path / "answers.sqlite", "green|words:300", {(cut, cut): {"text": ANSWER, "cut": False}})
    assert GreenFindings(tmp_path / "answers.sqlite").compare(long, long).findings[MATCHED] == ("nodule", "upper lobe")


def test_every_kind_of_error_is_listed_by_letter_or_number():
    answer = "[Clinically Significant Errors]:\n(2) Missing: 2. x; y.\n(6) Omitted: 1. z\n\n[Matched Findings]:\nNone."
    assert list_findings(answer) == ([], {"b": ["x", "y"], "f": ["z"]})


def test_what_was_not_asked_is_told_in_a_line(tmp_path):
    keep(tmp_path / "answers.sqlite", "green|words:all", {("other", REFERENCE): {"text": ANSWER, "cut": False}})
    with pytest.raises(ValueError, match="holds no answer on a report; run argus evaluate --clinical green"):
        GreenFindings(tmp_path / "answers.sqlite").compare(REFERENCE, REPORT)
    with pytest.raises(ValueError, match="holds no answer of radgraph"):
        RadGraphFindings(tmp_path / "answers.sqlite")
