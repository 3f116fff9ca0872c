import pytest

from argus_evaluation.benchmark.evaluated_split import load_split


def test_an_unknown_split_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ValueError, match="unknown split 'tset'; choose from train, validation, test"):
        load_split("phantom", "tset")


def test_an_unknown_subset_is_refused():
    with pytest.raises(ValueError, match="ct-rat"):
        load_split("ct-rat", "test")
