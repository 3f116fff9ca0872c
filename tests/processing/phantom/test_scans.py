import hashlib

import numpy as np
import pytest

from argus_processing.phantom.findings import FINDING_KINDS, Finding, draw_findings
from argus_processing.phantom.scans import make_phantom, report_of, truth_of

COARSE = (8.0, 6.0, 6.0)
CT_RATE_LABELS = {
    "Medical material",
    "Arterial wall calcification",
    "Cardiomegaly",
    "Pericardial effusion",
    "Coronary artery wall calcification",
    "Hiatal hernia",
    "Lymphadenopathy",
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
    "Pleural effusion",
    "Mosaic attenuation pattern",
    "Peribronchial thickening",
    "Consolidation",
    "Bronchiectasis",
    "Interlobular septal thickening",
}
SIDED = [
    Finding(kind.label, side, place)
    for kind in FINDING_KINDS.values()
    for side, place in sorted(set(kind.locations), key=str)
    if side in ("left", "right")
]


def change_by_half(finding: Finding, seed: int) -> tuple[int, int]:
    """Voxels that a finding changes by more than noise, in the patient's right and left half of the array."""
    with_it, without = (make_phantom(seed, COARSE, findings=given).hu for given in ([finding], []))
    changed = np.abs(with_it.astype(int) - without) > 60
    middle = changed.shape[2] // 2
    return int(changed[:, :, :middle].sum()), int(changed[:, :, middle:].sum())


def test_the_same_seed_gives_the_same_phantom():
    first, second = make_phantom(11), make_phantom(11)
    assert np.array_equal(first.hu, second.hu)
    assert (first.findings, first.report, first.spacing_mm) == (second.findings, second.report, second.spacing_mm)
    assert not np.array_equal(first.hu[:20, :90, :90], make_phantom(12).hu[:20, :90, :90])


def test_truth_and_report_come_without_painting():
    phantom = make_phantom(5, COARSE)
    assert set(phantom.findings) == set(truth_of(5))
    assert phantom.report == report_of(5)


def test_labels_are_all_of_ct_rates():
    assert set(FINDING_KINDS) == CT_RATE_LABELS


def test_findings_are_as_common_as_the_table_says_and_sides_are_even():
    truths = [draw_findings(np.random.default_rng(seed)) for seed in range(3000)]
    for kind in FINDING_KINDS.values():
        share = np.mean([any(f.label == kind.label for f in truth) for truth in truths])
        assert share == pytest.approx(kind.prevalence, abs=0.03)
    for label in {finding.label for finding in SIDED}:
        sides = [f.side for truth in truths for f in truth if f.label == label and f.side in ("left", "right")]
        assert sides.count("left") / len(sides) == pytest.approx(0.5, abs=0.08)
    assert 3 < np.mean([len(truth) for truth in truths]) < 5
    assert 0.01 < np.mean([not truth for truth in truths]) < 0.05


def test_leaving_labels_out_changes_nothing_else():
    some = list(FINDING_KINDS)[:13]
    for seed in range(50):
        assert truth_of(seed, some) == tuple(found for found in truth_of(seed) if found.label in some)
    seed = next(seed for seed in range(50) if truth_of(seed, some) == truth_of(seed))
    assert np.array_equal(make_phantom(seed, COARSE, labels=some).hu, make_phantom(seed, COARSE).hu)


def test_a_phantom_of_the_first_labels_stays_what_it_was():
    # Recipes whose results are published name these thirteen: the same voxels, report and findings for a seed.
    phantom = make_phantom(7, COARSE, labels=list(FINDING_KINDS)[:13])
    assert phantom.hu.sum(dtype=np.int64) == -69787832
    assert hashlib.sha256(phantom.report.encode()).hexdigest()[:16] == "bc9e1b89d574e39e"


def test_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match="unknown finding 'Broken rib'"):
        truth_of(0, ["Broken rib"])


@pytest.mark.parametrize("finding", SIDED, ids=str)
def test_column_0_is_the_patients_right(finding):
    right, left = change_by_half(finding, seed=3)
    own, other = (right, left) if finding.side == "right" else (left, right)
    # A pacemaker's lead crosses to the heart, hence not all.
    assert own > 4 * other
    assert own >= 8


def test_a_right_pleural_effusion_mirrored_is_a_left_one():
    volumes = {
        side: make_phantom(4, COARSE, findings=[Finding("Pleural effusion", side)] if side else []).hu
        for side in ("right", "left", None)
    }
    mirrored = np.abs(volumes["right"].astype(int) - volumes[None])[:, :, ::-1] > 300
    left = np.abs(volumes["left"].astype(int) - volumes[None]) > 300
    assert (mirrored & left).sum() > 0.7 * min(mirrored.sum(), left.sum())


@pytest.mark.parametrize("label", FINDING_KINDS)
def test_every_finding_shows_in_the_volume(label):
    kind = FINDING_KINDS[label]
    side, place = kind.locations[0]
    with_it, without = (make_phantom(21, findings=given) for given in ([Finding(label, side, place)], []))
    changed = np.abs(with_it.hu.astype(int) - without.hu) > 60
    volume_ml = changed.sum() * np.prod(with_it.spacing_mm) / 1000
    assert volume_ml > 1.0


def test_one_finding_does_not_move_another():
    nodule, effusion = Finding("Lung nodule", "right", "upper lobe"), Finding("Pleural effusion", "left")
    alone = make_phantom(8, COARSE, findings=[nodule]).hu
    both = make_phantom(8, COARSE, findings=[effusion, nodule]).hu
    middle = alone.shape[2] // 2
    assert np.array_equal(alone[:, :, : middle - 1], both[:, :, : middle - 1])


def test_a_phantom_has_the_same_anatomy_on_a_finer_grid():
    coarse, fine = make_phantom(9, (6.0, 6.0, 6.0), findings=[]), make_phantom(9, (3.0, 3.0, 3.0), findings=[])
    lung_ml = [((p.hu > -930) & (p.hu < -700)).sum() * np.prod(p.spacing_mm) / 1000 for p in (coarse, fine)]
    assert lung_ml[0] == pytest.approx(lung_ml[1], rel=0.06)
    assert 2000 < lung_ml[1] < 7000


def test_hounsfield_units_are_those_of_a_chest():
    hu = make_phantom(2, findings=[]).hu
    assert hu.dtype == np.int16
    assert (hu.min() >= -1024) and (hu.max() <= 3071)
    assert np.median(hu[:, 0, :]) == -1000
    depth, height, _ = hu.shape
    assert 0 < np.median(hu[3, height // 2 - 8 : height // 2, 30:45]) < 150  # liver, on the patient's right


@pytest.mark.parametrize(
    ("findings", "message"),
    [
        ([Finding("Broken rib")], "unknown finding"),
        ([Finding("Lung nodule", "left", "middle lobe")], "cannot be at"),
        ([Finding("Cardiomegaly"), Finding("Cardiomegaly")], "twice"),
    ],
)
def test_findings_the_phantom_cannot_paint_are_refused(findings, message):
    with pytest.raises(ValueError, match=message):
        make_phantom(0, COARSE, findings=findings)


@pytest.mark.parametrize("spacing", [(5.0, 3.0), (0.0, 3.0, 3.0), (5.0, -3.0, 3.0), (90.0, 3.0, 3.0)])
def test_an_unusable_spacing_is_refused(spacing):
    with pytest.raises(ValueError, match="spacing_mm"):
        make_phantom(0, spacing)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        make_phantom(-1)
