import numpy as np
import pytest

from argus_evaluation.floors.constant_floors import normal_report
from argus_evaluation.floors.label_sentences import is_rare, learn_writer
from argus_evaluation.floors.report_sections import sentences_of, split_sections
from argus_evaluation.metrics.labels import CT_RATE_LABELS, read_labels
from argus_processing.phantom.scans import report_of

NORMAL = "Findings: The lungs are clear. No pleural effusion. The heart is normal.\nImpression: Normal chest CT."
EFFUSION = (
    "Findings: The lungs are clear. There is a pleural effusion. The heart is normal.\nImpression: Pleural effusion."
)
EMPHYSEMA = "Findings: Both lungs show emphysema. No pleural effusion. The heart is normal.\nImpression: Emphysema."


@pytest.fixture(scope="module")
def writer():
    reports = [NORMAL] * 40 + [EFFUSION] * 10 + [EMPHYSEMA] * 10
    return learn_writer(reports, [read_labels(report) for report in reports], NORMAL)


def test_without_labels_the_normal_report_is_written(writer):
    assert writer.write(set()) == NORMAL


@pytest.mark.parametrize(
    ("labels", "report"), [({"Pleural effusion"}, EFFUSION), ({"Emphysema"}, EMPHYSEMA), ({"Hiatal hernia"}, NORMAL)]
)
def test_a_label_replaces_its_denial_in_place_and_the_normal_impression(writer, labels, report):
    assert writer.write(labels) == report


def test_two_labels_are_both_told_in_both_sections(writer):
    both = writer.write({"Emphysema", "Pleural effusion"})
    assert both == (
        "Findings: Both lungs show emphysema. There is a pleural effusion. The heart is normal.\n"
        "Impression: Emphysema. Pleural effusion."
    )


def test_what_a_label_makes_rare_is_told_from_what_it_leaves():
    # Of 100 normal reports 50 have the sentence, so of 20 with the label 10 would.
    assert is_rare(0, 20, 50, 100) and is_rare(2, 20, 50, 100) and not is_rare(3, 20, 50, 100)
    assert not is_rare(0, 20, 20, 100)  # 4 would: too few to tell
    assert not is_rare(0, 20, 0, 0)


def test_the_labels_written_are_read_back_in_the_words_of_phantoms():
    reports = [report_of(seed) for seed in range(400)]
    known = [read_labels(report) for report in reports]
    writer = learn_writer(reports, known, normal_report(reports, known).text)
    told = sorted(frozenset().union(*known))
    assert len(told) >= 13
    for label in told:
        assert read_labels(writer.write({label})) == {label}
    draw = np.random.default_rng(0)
    for _ in range(20):
        labels = set(draw.choice(told, 4, replace=False).tolist())
        assert read_labels(writer.write(labels)) == labels
    training = {sentence for report in reports for sentence in sentences_of(report)}
    assert set(sentences_of(writer.write(set(told[:5])))) <= training
    assert set(told) <= set(CT_RATE_LABELS)


def test_reports_without_sections_are_written_as_one_paragraph():
    normal, ill = "The lungs are clear. No pleural effusion.", "The lungs are clear. Pleural effusion is seen."
    reports = [normal] * 20 + [ill] * 9
    writer = learn_writer(reports, [read_labels(report) for report in reports], normal)
    assert writer.write({"Pleural effusion"}) == ill


@pytest.mark.parametrize(
    ("report", "findings", "impression"),
    [
        ("Findings: A is b. C.\nImpression: D.", "A is b. C.", "D."),
        ("CT of the chest: A. Impression: D. E.", "A.", "D. E."),
        ("FINDINGS:\nA.\nCONCLUSION:\nD.", "A.", "D."),
        ("A. The impression is of a mass.", "A. The impression is of a mass.", None),
        ("Impression: D.", "", "D."),
        ("A", "A", None),
        ("", "", None),
    ],
)
def test_findings_and_impression_are_parted_at_the_head(report, findings, impression):
    sections = split_sections(report)
    assert (sections.findings, sections.impression) == (findings, impression)
