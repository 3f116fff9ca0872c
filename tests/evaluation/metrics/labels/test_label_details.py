import pytest

from argus_evaluation.metrics.labels.label_details import read_details
from argus_processing.phantom.scans import report_of, truth_of

NODULE, EFFUSION, OPACITY = "Lung nodule", "Pleural effusion", "Lung opacity"
SIDES = {"left": {"left"}, "right": {"right"}, "bilateral": {"left", "right"}}


@pytest.mark.parametrize(
    ("text", "label", "sides", "lobes", "sizes_mm"),
    [
        ("There is a 6 mm nodule in the right upper lobe.", NODULE, {"right"}, {"right upper lobe"}, {6}),
        ("A nodule is seen in the upper lobe of the left lung.", NODULE, {"left"}, {"left upper lobe"}, set()),
        ("Nodules in the lower lobe of the right lung and in the upper lobe of the left lung.", NODULE,
         {"left", "right"}, {"right lower lobe", "left upper lobe"}, set()),
        ("Nodules in the middle lobe and in the lingula.", NODULE, {"left"}, {"right middle lobe", "left upper lobe"},
         set()),
        ("Nodules in both lower lobes, the largest 1.4 cm.", NODULE, {"left", "right"},
         {"left lower lobe", "right lower lobe"}, {14}),
        ("Nodule in the RUL measuring 12 x 8 mm.", NODULE, {"right"}, {"right upper lobe"}, {12, 8}),
        ("Several nodules are seen in both lungs. The largest measures 9 mm in the left lower lobe.", NODULE,
         {"left", "right"}, {"left lower lobe"}, {9}),
        ("A few nodules. The aorta measures 41 mm.", NODULE, set(), set(), set()),
        ("Nodule in the right and left upper lobes.", NODULE, {"left", "right"},
         {"right upper lobe", "left upper lobe"}, set()),
        ("Left-sided pleural effusion of 2,5 cm.", EFFUSION, {"left"}, set(), {25}),
        ("Right upper lobe nodule, left pleural effusion.", EFFUSION, {"left"}, set(), set()),
        ("Right upper lobe nodule, left pleural effusion.", NODULE, {"right"}, {"right upper lobe"}, set()),
        ("Nodule of 5 mm in the left upper lobe and effusion in the right pleural space.", NODULE, {"left"},
         {"left upper lobe"}, {5}),
        ("In the right lower lobe, consolidation and ground-glass opacity are seen.", OPACITY, {"right"},
         {"right lower lobe"}, set()),
        ("Left ventricle is dilated. Nodule in the right lung.", NODULE, {"right"}, set(), set()),
        ("Nodule of 30 HU.", NODULE, set(), set(), set()),
    ],
)  # fmt: skip
def test_details_are_read_at_their_label(text, label, sides, lobes, sizes_mm):
    details = read_details(text)[label]
    assert (details.sides, details.lobes, details.sizes_mm) == (sides, lobes, sizes_mm)


def test_a_denied_label_has_no_details():
    assert read_details("No nodule larger than 6 mm in the right lung.") == {}
    details = read_details("No effusion on the left; nodule in the right lung.")
    assert set(details) == {NODULE} and details[NODULE].sides == {"right"}


def test_a_heart_has_no_side_and_a_calcified_aorta_no_size():
    details = read_details("Left-sided cardiomegaly. Calcified plaques in the aorta, which is 42 mm wide.")
    assert not details["Cardiomegaly"].sides
    assert not details["Arterial wall calcification"].sizes_mm


def test_the_sides_and_lobes_of_every_phantom_are_read():
    for seed in range(200):
        details = read_details(report_of(seed))
        for finding in truth_of(seed):
            found = details[finding.label]
            assert found.sides == SIDES.get(finding.side, set()), report_of(seed)
            if finding.place and finding.place.endswith("lobe") and finding.side:
                assert found.lobes == {f"{finding.side} {finding.place}"}, report_of(seed)
