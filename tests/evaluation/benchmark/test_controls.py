import numpy as np
import pytest

from argus_evaluation.benchmark.controls import blank_image, derange, most_frequent_report, shuffle_images
from argus_inference.generation import Prediction
from argus_processing import ArgusImageProcessor


@pytest.mark.parametrize("resampling", ["paper", "direct"])
def test_a_blank_image_is_all_zeros_after_preprocessing(resampling):
    pixels = ArgusImageProcessor(image_size=(16, 32, 32), resampling=resampling)(blank_image({}))["pixel_values"]
    assert pixels.shape == (1, 1, 16, 32, 32)
    assert np.count_nonzero(pixels) == 0


@pytest.mark.parametrize("count", [2, 3, 10, 101])
def test_no_scan_keeps_its_own_report_and_none_is_lost(count):
    shuffled = derange(range(count), seed=3)
    assert sorted(shuffled) == list(range(count))
    assert all(own != other for own, other in enumerate(shuffled))
    assert shuffled == derange(range(count), seed=3)


def test_one_scan_cannot_be_shuffled():
    with pytest.raises(ValueError, match="at least 2 scans, got 1"):
        derange([1])


def test_shuffled_images_keep_ids_and_references_and_move_only_the_reports():
    lines = [Prediction(f"s{i}", f"report {i}", f"truth {i}", i, False) for i in range(5)]
    shuffled = shuffle_images(lines)
    assert [(line.scan_id, line.reference) for line in shuffled] == [(line.scan_id, line.reference) for line in lines]
    assert all(own.prediction != other.prediction for own, other in zip(lines, shuffled, strict=True))


def test_most_frequent_is_the_commonest_wording_of_the_commonest_findings():
    # "n" is the single most frequent text, but findings "e" come four times, in three wordings.
    reports = ["n", "n", "n", "e1", "e2", "e2", "e3"]
    assert most_frequent_report(reports, lambda report: report[0]) == "e2"
    assert most_frequent_report(reports[::-1], lambda report: report[0]) == "e2"


def test_ties_go_to_what_sorts_first_whatever_the_order():
    assert most_frequent_report(["b", "a"], lambda report: "same") == "a"
    assert most_frequent_report(["b", "a"], lambda report: report) == "a"


def test_no_training_reports_are_refused():
    with pytest.raises(ValueError, match="at least one training report"):
        most_frequent_report([], len)
