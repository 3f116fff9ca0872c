"""Regions elsewhere, deleted voxels, and results of a known set of sentences."""

import numpy as np
import pytest

from argus_evaluation.evidence.deletion import elsewhere, without
from argus_evaluation.evidence.evidence_measures import MeasuredCase, PointedSentence
from argus_evaluation.evidence.evidence_results import seconds_per_sentence, share_of_counts, summarize
from argus_processing.ct_volume import CTVolume
from argus_processing.phantom.scans import make_phantom


def test_deleted_voxels_are_those_of_the_mean_and_no_others_change():
    volume = CTVolume.from_array(make_phantom(1, (20.0, 10.0, 10.0)).hu, (20.0, 10.0, 10.0))
    region = np.zeros(volume.hu.shape, dtype=bool)
    region[3:5, 10:14, 12:18] = True
    mean = np.full(volume.hu.shape, -123.4, dtype=np.float32)
    deleted = without(volume, region, mean)
    assert (deleted.hu[region] == -123).all() and np.array_equal(deleted.hu[~region], volume.hu[~region])
    assert deleted.hu.dtype == volume.hu.dtype


def test_elsewhere_is_the_same_shape_in_the_body_and_off_the_finding():
    region, kept, body = (np.zeros((12, 30, 30), dtype=bool) for _ in range(3))
    region[4:6, 5:9, 5:8] = region[4, 9, 5] = True
    kept[4:7, 5:10, 20:24] = True
    body[2:10, 3:27, 3:27] = True
    for seed in range(5):
        other = elsewhere(region, kept, body, seed)
        assert other.sum() == region.sum() and not (other & (region | kept)).any()
        assert (other & body).sum() >= 0.9 * region.sum()
        own, found = np.argwhere(region), np.argwhere(other)
        assert np.array_equal(own - own[0], found - found[0])
        assert np.array_equal(other, elsewhere(region, kept, body, seed))
    assert elsewhere(np.zeros_like(region), kept, body, 0) is None
    assert elsewhere(region, ~region, body, 0) is None  # there is no other place


def sentence(**changes) -> PointedSentence:
    told = {
        "scan_id": "a",
        "finding": "Lung nodule",
        "sentence": "A nodule.",
        "support": 3.0,
        "within_a_voxel": True,
        "distance_mm": 0.0,
        "overlap": 0.5,
        "other_sentence": False,
        "no_model": False,
        "share_of_body": 0.01,
        "chance": 0.02,
    }
    return PointedSentence(**told | changes)


def test_shares_are_over_sentences_with_a_map_and_tell_how_many():
    miss = sentence(within_a_voxel=False, distance_mm=9.0, overlap=0.1, deletion=True)
    unmapped = sentence(within_a_voxel=None, distance_mm=None, overlap=None, other_sentence=None)
    cases = [
        MeasuredCase("a", 0.9, 2.0, 4, (sentence(deletion=True), miss)),
        MeasuredCase("b", 0.9, 1.0, 2, (sentence(deletion=False), unmapped)),
        MeasuredCase("c", 0.4, 9.0, 0, (sentence(share_of_body=0.2),)),  # as large as both lungs
    ]
    shares = summarize(cases)
    assert (shares["pointing"].value, shares["pointing"].n) == (pytest.approx(2 / 3), 3)
    assert shares["within_8_mm"].value == pytest.approx(2 / 3) and shares["overlap"].value == pytest.approx(1.1 / 3)
    assert shares["has_map"].value == 0.75 and shares["deletion"].value == pytest.approx(2 / 3)
    assert "deletion_elsewhere" not in shares  # it was not tried
    assert shares["pointing"].low <= shares["pointing"].value <= shares["pointing"].high
    assert seconds_per_sentence(cases) == pytest.approx(0.5)
    assert share_of_counts([(0, 0)]) is None and seconds_per_sentence(cases[2:]) is None
