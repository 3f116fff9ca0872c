from collections import Counter

import pytest

from argus_processing.instructions import INSTRUCTIONS, instruction_for


def test_there_are_thirty_different_instructions():
    assert len(set(INSTRUCTIONS)) == len(INSTRUCTIONS) == 30


def test_a_scan_always_gets_the_same_instruction():
    assert instruction_for("train_1_a") == instruction_for("train_1_a")
    assert instruction_for("train_1_a") == INSTRUCTIONS[24]  # does not change between versions


def test_instructions_are_about_equally_common():
    counts = Counter(instruction_for(f"scan {number}") for number in range(3000))
    assert len(counts) == 30
    assert 60 < min(counts.values()) and max(counts.values()) < 150


def test_an_empty_id_is_refused():
    with pytest.raises(ValueError, match="scan id"):
        instruction_for("")
