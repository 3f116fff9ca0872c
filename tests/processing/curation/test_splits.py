from collections import Counter

import pytest

from argus_processing.curation.splits import fraction_of, split_of
from argus_processing.sources.registry import SOURCES

FIXED = {"sub-S010000": 0.4700867890065723, "PE45248da": 0.3469037379114397}


def test_the_hash_is_the_same_on_every_machine():
    # Computed once with hashlib and kept: another value here means that published splits no longer hold.
    assert fraction_of("bimcv-r", "sub-S010000") == pytest.approx(FIXED["sub-S010000"], abs=1e-12)
    assert fraction_of("inspect", "PE45248da") == pytest.approx(FIXED["PE45248da"], abs=1e-12)


@pytest.mark.parametrize("source", SOURCES)
def test_shares_come_out(source):
    counts = Counter(split_of(source, f"patient-{number}", "train") for number in range(20_000))
    train, validation = SOURCES[source].shares
    assert counts["train"] / 20_000 == pytest.approx(train, abs=0.01)
    assert counts["validation"] / 20_000 == pytest.approx(validation, abs=0.01)


def test_an_official_test_set_stays_and_no_other_patient_joins_it():
    assert {split_of("ct-rate", f"valid_{number}", "test") for number in range(500)} == {"test"}
    assert {split_of("ct-rate", f"train_{number}", "train") for number in range(5000)} == {"train", "validation"}
    assert {split_of("inspect", f"p{number}", "test") for number in range(500)} == {"train", "validation", "test"}


def test_an_unknown_source_is_named():
    with pytest.raises(ValueError, match="'mimic'"):
        split_of("mimic", "p")
