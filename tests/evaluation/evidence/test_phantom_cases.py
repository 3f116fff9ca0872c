"""Cases of phantoms: exact masks, statements of their findings, moved fields of view."""

import numpy as np
import pytest

from argus_evaluation.evidence.phantom_cases import MOVES, finding_mask, moved, phantom_case
from argus_processing.phantom.findings import Finding
from argus_processing.phantom.scans import make_phantom

SPACING = (8.0, 5.0, 5.0)
NODULE, EFFUSION = Finding("Lung nodule", "left", "upper lobe"), Finding("Pleural effusion", "right", None)


@pytest.fixture(scope="module")
def case():
    seed = next(seed for seed in range(50) if len(make_phantom(seed, (40.0, 40.0, 40.0)).findings) >= 3)
    return phantom_case(seed, SPACING)


def test_a_mask_holds_the_finding_and_nothing_of_the_others():
    phantom = make_phantom(3, SPACING, [NODULE, EFFUSION])
    mask = finding_mask(phantom, SPACING, NODULE)
    # a ball of 10 to 16 mm, in the left half, and dense
    volume_ml = mask.sum() * np.prod(SPACING) / 1000
    assert 3 < volume_ml < 25 and not mask[:, :, : mask.shape[2] // 2].any()
    assert phantom.hu[mask].mean() > -400
    assert not (mask & finding_mask(phantom, SPACING, EFFUSION)).any()


def test_statements_are_those_of_true_findings_with_their_side():
    case = phantom_case(3, SPACING)
    report = make_phantom(3, SPACING).report
    stated = case.statements_in(report)
    assert {each.finding.name for each in stated} == {finding.name for finding in case.findings}
    sided = make_phantom(3, SPACING, [NODULE])
    assert sided.report and case.statements_in("The weather is fine.") == []


def test_the_wrong_side_is_no_statement_of_a_finding():
    seeds = (
        seed for seed in range(200) if any(f.label == "Lung nodule" for f in make_phantom(seed, (40.0,) * 3).findings)
    )
    seed = next(seeds)
    side = next(f.side for f in make_phantom(seed, (40.0,) * 3).findings if f.label == "Lung nodule")
    wrong = {"left": "right", "right": "left"}[side]
    case = phantom_case(seed, SPACING)
    assert [len(case.statements_in(f"There is a nodule in the {told} upper lobe.")) for told in (side, wrong)] == [1, 0]


def test_moves_keep_the_content_and_the_masks_together(case):
    kinds = set()
    for seed in range(12):
        other = moved(case, seed)
        kind = other.scan_id.rpartition(", ")[2]
        kinds.add(kind)
        assert all(finding.mask.shape == other.volume.hu.shape and finding.mask.any() for finding in other.findings)
        sizes = np.subtract(other.volume.hu.shape, case.volume.hu.shape)
        assert {"shifted": (sizes == 0).all(), "cropped": (sizes <= 0).all(), "enlarged": (sizes >= 0).all()}[kind]
        assert (np.abs(sizes) * np.array(SPACING) <= 2 * 40).all()
        if kind == "enlarged":
            for before, after in zip(case.findings, other.findings, strict=True):
                assert np.array_equal(case.volume.hu[before.mask], other.volume.hu[after.mask])
        again = moved(case, seed)
        assert np.array_equal(again.volume.hu, other.volume.hu) and again.scan_id == other.scan_id
    assert kinds == set(MOVES)


def test_statements_of_a_moved_case_are_of_its_own_masks(case):
    report = make_phantom(int(case.scan_id.split()[1]), SPACING).report
    other = moved(case, 1)
    owned = {id(finding) for finding in other.findings}
    stated = other.statements_in(report)
    assert stated and all(id(each.finding) in owned or each.finding.mask.any() for each in stated)
    assert all(each.finding.mask.shape == other.volume.hu.shape for each in stated)
