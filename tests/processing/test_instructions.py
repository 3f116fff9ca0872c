from collections import Counter

import pytest

from argus_processing.instructions import INSTRUCTION, INSTRUCTIONS, VARIANTS, instruction_for


def test_the_papers_instruction_comes_first_word_for_word():
    paper = "Please generate a detailed description for the given 3D CT scan, "
    paper += "including both normal and abnormal patterns."
    assert INSTRUCTIONS[0] == paper == INSTRUCTION


def test_there_are_thirty_other_instructions_besides():
    assert len(VARIANTS) == 30 and len(set(INSTRUCTIONS)) == len(INSTRUCTIONS) == 31


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_asks_for_a_full_description_of_normal_and_abnormal(variant):
    words = variant.lower().replace(",", "").replace(".", "").replace("?", "").split()
    assert "ct" in words and "normal" in words
    assert {"abnormal", "abnormalities"} & set(words)
    assert {"describe", "describes", "description", "account", "report"} & set(words)
    assert {"detail", "detailed", "thorough", "thoroughly", "full", "comprehensive", "complete"} & set(words) or (
        "in-depth" in words or "at length" in variant
    )


def test_a_scan_always_gets_the_same_instruction():
    assert instruction_for("train_1_a") == instruction_for("train_1_a")
    assert instruction_for("train_1_a") == INSTRUCTIONS[14]  # does not change between versions


def test_instructions_are_about_equally_common():
    counts = Counter(instruction_for(f"scan {number}") for number in range(3000))
    assert len(counts) == 31
    assert 60 < min(counts.values()) and max(counts.values()) < 150


def test_an_empty_id_is_refused():
    with pytest.raises(ValueError, match="scan id"):
        instruction_for("")
