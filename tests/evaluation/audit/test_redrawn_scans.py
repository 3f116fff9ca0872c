"""Scans of an audit: nothing but the finding changes, and a moved change keeps the image's mean."""

import numpy as np
import pytest

from argus_evaluation.audit.audit_plan import COARSE_MM, Drawing
from argus_evaluation.audit.redrawn_scans import NEAREST_MM, best_shift, draw_scan, scan_key
from argus_processing.phantom.findings import Finding
from argus_processing.phantom.scans import make_phantom

NODULE = Finding("Lung nodule", "right", "upper lobe")
EFFUSION = Finding("Pleural effusion", "left")


def window(volume):
    return np.clip(volume.hu.astype(np.float32), -1000, 1000)


def test_a_drawing_is_the_phantom_of_its_findings():
    volume = draw_scan(Drawing(7, (EFFUSION,)), COARSE_MM)
    np.testing.assert_array_equal(volume.hu, make_phantom(7, COARSE_MM, [EFFUSION]).hu)
    assert volume.spacing_mm == COARSE_MM


@pytest.mark.parametrize("finding", [NODULE, EFFUSION])
def test_a_moved_change_keeps_the_mean_and_lies_elsewhere(finding):
    bare, drawn = (draw_scan(Drawing(7, own), COARSE_MM) for own in ((), (finding,)))
    moved = draw_scan(Drawing(7, (), finding), COARSE_MM)
    change = window(drawn).mean() - window(bare).mean()
    assert window(moved).mean() - window(bare).mean() == pytest.approx(change, rel=0.1) and change > 0.1
    places = [np.abs(window(one) - window(bare)) > 50 for one in (drawn, moved)]
    assert places[0].any() and places[1].any()
    # A nodule's change keeps its distance; an effusion is larger than that.
    assert finding is EFFUSION or not (places[0] & places[1]).any()


@pytest.mark.parametrize("finding", [NODULE, EFFUSION])
def test_scattered_values_keep_the_histogram_but_not_the_place(finding):
    bare, drawn = (draw_scan(Drawing(7, own), COARSE_MM) for own in ((), (finding,)))
    scattered = draw_scan(Drawing(7, (), scattered=finding), COARSE_MM)
    told = [np.histogram(window(volume), np.arange(-1000, 1001, 50))[0] for volume in (bare, drawn, scattered)]
    assert (told[1] == told[2]).all() and (told[0] != told[2]).any()
    places = [window(one) != window(bare) for one in (drawn, scattered)]
    assert 0.5 < places[1].sum() / places[0].sum() <= 1
    # As thinly in the finding's place as elsewhere, where the tissue is alike.
    assert places[1][places[0]].mean() < 0.5


def test_the_shift_brings_a_change_onto_the_wanted_place():
    weight = np.zeros((20, 20, 20))
    weight[2:4, 2:4, 2:4] = 1
    wanted = np.zeros((20, 20, 20), dtype=bool)
    wanted[12:14, 15:17, 9:11] = True
    assert best_shift(weight, wanted, (10.0, 10.0, 10.0)) == (10, 13, 7)


def test_the_shift_is_never_a_short_one():
    weight = np.zeros((30, 30, 30))
    weight[14:16, 14:16, 14:16] = 1
    shift = best_shift(weight, weight > 0, (8.0, 8.0, 8.0))
    steps = [min(step, 30 - step) * 8.0 for step in shift]
    assert np.hypot(np.hypot(*steps[:2]), steps[2]) >= NEAREST_MM


def test_a_key_tells_everything_that_decides_a_scan():
    drawings = [Drawing(7, ()), Drawing(8, ()), Drawing(7, (NODULE,)), Drawing(7, (), NODULE)]
    drawings += [Drawing(7, (), scattered=NODULE)]
    keys = {scan_key(drawing, spacing) for drawing in drawings for spacing in (None, COARSE_MM)}
    assert len(keys) == 10
