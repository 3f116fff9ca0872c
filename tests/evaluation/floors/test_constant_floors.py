from fractions import Fraction

import numpy as np
import pytest

from argus_evaluation.floors.constant_floors import MostFrequentReport, NormalReport, UsualNormal, normal_report
from argus_evaluation.floors.floor_material import FloorMaterial
from argus_evaluation.floors.usual_report import mean_overlaps, usual_report
from argus_evaluation.metrics.labels import read_labels
from argus_inference.generation import Prediction

LINES = [Prediction(f"s{i}", f"own {i}", f"true {i}", 3, False) for i in range(3)]
A, B, C = (
    "The lungs are clear. No nodule.",
    "The lungs are clear. No mass.",
    "The lungs are clear. No nodule. Bones normal.",
)


def test_overlaps_are_the_mean_f1_of_sentences_worked_out_by_hand():
    # A and B share one of 2 + 2 sentences, A and C two of 2 + 3, B and C one of 2 + 3; each has 1 with itself.
    ab, ac, bc = Fraction(2, 4), Fraction(4, 5), Fraction(2, 5)
    by_hand = [(1 + ab + ac) / 3, (ab + 1 + bc) / 3, (ac + bc + 1) / 3]
    assert mean_overlaps([A, B, C], np.ones(3)) == pytest.approx([float(each) for each in by_hand])
    assert usual_report([C, A, B]) == A
    # Three times B: its own overlap of 1 counts three times.
    assert usual_report([C, A, B, B, B]) == B


def test_overlaps_equal_a_comparison_pair_by_pair_of_many_reports():
    draw = np.random.default_rng(0)
    reports = sorted({" ".join(f"Sentence {n} is here." for n in sorted(draw.choice(9, 4, False))) for _ in range(60)})
    sets = [frozenset(report.split(". ")) for report in (f"{each} " for each in reports)]
    slow = [np.mean([2 * len((a - {""}) & b) / len([*(a - {""}), *(b - {""})]) for b in sets]) for a in sets]
    assert mean_overlaps(reports, np.ones(len(reports))) == pytest.approx(slow)


def test_of_equals_the_usual_report_is_the_more_frequent_then_the_first():
    assert usual_report(["Same b.", "Same a."]) == "Same a."
    assert usual_report(["Same b.", "Same a.", "Same b."]) == "Same b."
    assert usual_report(["", ""]) == ""
    with pytest.raises(ValueError, match="no reports"):
        usual_report([])


def test_the_normal_report_is_a_training_report_without_a_label():
    reports = ["There is a nodule in the right lung.", A, C, "There is emphysema. No nodule."]
    normal = normal_report(reports, list(map(read_labels, reports)))
    assert normal == UsualNormal(A, 2, 0) and not read_labels(normal.text)
    written = NormalReport().write(FloorMaterial(LINES, LINES, reports))
    assert written.reports == [A] * 3 and written.signature.startswith("the most usual of 2 training reports normal|")


def test_where_no_report_is_normal_those_with_the_fewest_labels_count():
    reports = ["A lung nodule. Emphysema.", "There is a lung nodule.", "There is a lung nodule."]
    assert normal_report(reports, list(map(read_labels, reports))) == UsualNormal("There is a lung nodule.", 2, 1)
    assert "none is normal" in NormalReport().write(FloorMaterial(LINES, LINES, reports)).signature


def test_the_most_frequent_report_goes_to_every_scan():
    reports = ["There is a pleural effusion on the left.", A, A, B]
    assert MostFrequentReport().write(FloorMaterial(LINES, LINES, reports)).reports == [A] * 3


@pytest.mark.parametrize("floor", [NormalReport(), MostFrequentReport()])
def test_without_training_reports_there_is_no_constant_floor(floor):
    with pytest.raises(ValueError, match="at least one training report"):
        floor.write(FloorMaterial(LINES, LINES, []))
