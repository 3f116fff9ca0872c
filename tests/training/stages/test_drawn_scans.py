"""The training scans of a run that uses only some of them."""

import datasets
import pytest

from argus_training.stages.report_examples import draw_scans, draw_share

TRAIN = datasets.Dataset.from_dict({"scan_id": list(range(40))})


def test_fewer_scans_are_a_part_of_more_with_the_same_seed():
    ten, twenty = (draw_scans(TRAIN, count, seed=0)["scan_id"] for count in (10, 20))
    assert len(set(twenty)) == 20 and list(ten) == list(twenty)[:10]
    assert set(draw_scans(TRAIN, 10, seed=1)["scan_id"]) != set(ten)
    assert list(draw_share(TRAIN, 0.25, seed=0)["scan_id"]) == list(ten)


def test_more_scans_than_there_are_is_refused():
    with pytest.raises(ValueError, match="train_count is 41, but there are only 40 training scans"):
        draw_scans(TRAIN, 41, seed=0)
