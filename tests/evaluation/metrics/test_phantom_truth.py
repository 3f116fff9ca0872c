import pytest

from argus_evaluation.metrics.phantom_truth import TWO_SIDED, score_findings
from argus_evaluation.metrics.report_findings import LABEL_PATTERNS, PLACE_PATTERNS, extract_findings
from argus_processing.phantom.findings import FINDING_KINDS, Finding
from argus_processing.phantom.scans import report_of, truth_of
from argus_processing.phantom.wording import WORDINGS, wording_of

EFFUSION_LEFT, EFFUSION_RIGHT = Finding("Pleural effusion", "left"), Finding("Pleural effusion", "right")
NODULE = Finding("Lung nodule", "right", "upper lobe")


def test_every_report_reads_back_as_its_truth():
    for seed in range(1500):
        assert extract_findings(report_of(seed)) == set(truth_of(seed)), report_of(seed)


def test_every_wording_reads_back_alone():
    for kind in FINDING_KINDS.values():
        for side, place in set(kind.locations):
            finding = Finding(kind.label, side, place)
            wording = wording_of(finding)
            for text in wording.present + wording.short:
                assert extract_findings(text.format(side=side, lobe=place, place=place)) == {finding}, text
    for wording in WORDINGS.values():
        for text in wording.absent:
            assert extract_findings(text) == set(), text


def test_every_label_and_place_has_a_pattern():
    assert set(LABEL_PATTERNS) == set(FINDING_KINDS)
    assert set(PLACE_PATTERNS) == {place for kind in FINDING_KINDS.values() for _, place in kind.locations if place}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("\n\n...; ??? 123 \x00 ünïcode", set()),
        ("the the the lung lung left right", set()),
        ("No pleural effusion, but a nodule in the right upper lobe.", {NODULE}),
        ("Nodule in the right upper lobe without pleural effusion.", {NODULE}),
        ("Neither consolidation nor atelectasis is seen", set()),
        ("Pleural effusion is not seen.", set()),
        ("LEFT-SIDED PLEURAL EFFUSION", {EFFUSION_LEFT}),
        ("Left pleural effusion. Pleural effusion.", {EFFUSION_LEFT}),
        ("Left pleural effusion. Right pleural effusion.", {EFFUSION_LEFT, EFFUSION_RIGHT}),
        ("Pleural effusions on the left and on the right.", {Finding("Pleural effusion", "bilateral")}),
        ("Cardiomegaly on the left.", {Finding("Cardiomegaly")}),
        ("Mosaic attenuation, but no bronchiectasis or scars.", {Finding("Mosaic attenuation pattern")}),
        ("Thickening of the interlobular septa.", {Finding("Interlobular septal thickening")}),
        ("Scarring of the left upper lobe.", {Finding("Pulmonary fibrotic sequela", "left", "upper lobe")}),
        ("The bronchi are dilated in the left lower lobe.", {Finding("Bronchiectasis", "left", "lower lobe")}),
        ("No peribronchial wall thickening.", set()),
    ],
)
def test_reads_text_the_phantom_never_wrote(text, expected):
    assert extract_findings(text) == expected


def test_perfect_reports_score_one():
    truths = [truth_of(seed) for seed in range(60)]
    scores = score_findings([report_of(seed) for seed in range(60)], truths)
    for name in (
        "finding_f1",
        "precision",
        "recall",
        "macro_f1",
        "finding_side_f1",
        "finding_place_f1",
        "laterality_accuracy",
    ):
        assert scores[name].value == 1.0
    # Emphysema is always in both lungs: its side is no achievement.
    sided = [finding for truth in truths for finding in truth if finding.label in TWO_SIDED and finding.side]
    assert scores["laterality_accuracy"].counts == {"sided": len(sided)}


def test_known_scores():
    truths = [[EFFUSION_LEFT, NODULE], [EFFUSION_RIGHT], [Finding("Cardiomegaly")]]
    reports = ["Right pleural effusion. Nodule in the right upper lobe.", "Pleural effusion. Emphysema.", "Clear."]
    scores = score_findings(reports, truths)
    assert scores["precision"].value == 3 / 4  # emphysema is not there
    assert scores["recall"].value == 3 / 4  # cardiomegaly is missed
    assert scores["finding_f1"].value == 3 / 4
    assert scores["finding_side_f1"].value == pytest.approx(2 * 1 / (4 + 4))  # only the nodule has label and side right
    laterality = scores["laterality_accuracy"]
    assert (laterality.counts["sided"], laterality.value) == (2, 0.5)  # one effusion is told without a side
    for name in ("precision", "recall", "finding_f1"):
        effusion = scores[name].parts["Pleural effusion"]
        assert (effusion.value, effusion.counts) == (1.0, {"present": 2})
    assert scores["recall"].parts["Cardiomegaly"].counts == {"present": 1}
    assert scores["macro_f1"].value == pytest.approx((1 + 1 + 0) / 3)


def test_a_label_on_both_sides_in_every_scan_is_not_two_sided():
    assert {"Emphysema", "Mosaic attenuation pattern", "Peribronchial thickening"}.isdisjoint(TWO_SIDED)
    assert {"Pleural effusion", "Bronchiectasis", "Pulmonary fibrotic sequela"} <= TWO_SIDED


def test_a_label_that_is_always_on_both_sides_does_not_raise_laterality():
    truth = [Finding("Emphysema", "bilateral", None), Finding("Pleural effusion", "left", None)]
    scores = score_findings(["There is emphysema in both lungs. A pleural effusion is seen on the right."], [truth])
    laterality = scores["laterality_accuracy"]
    assert (laterality.counts["sided"], laterality.value, laterality.is_defined) == (1, 0.0, True)


def test_no_sided_finding_gives_no_laterality():
    scores = score_findings(["Cardiomegaly."], [[Finding("Cardiomegaly")]])
    assert not scores["laterality_accuracy"].is_defined


def test_unequal_or_empty_lists_are_refused():
    for reports, truths in ((["a"], []), ([], [])):
        with pytest.raises(ValueError, match="one report for each truth"):
            score_findings(reports, truths)
