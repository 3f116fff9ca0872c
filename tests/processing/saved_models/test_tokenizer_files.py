"""Tokenizers that would make a short text fill the memory, and those that are published."""

import json

import pytest

from argus_processing.saved_models.tokenizer_files import check_tokenizer_file
from argus_processing.storage.foreign_files import ForeignFileError


def replace(content: str, **pattern: str) -> dict:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(*steps: dict) -> dict:
    return {"type": "Sequence", "normalizers": list(steps)}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
SPLIT = {"type": "Split", "pattern": {"Regex": "\\p{L}+"}, "behavior": "Isolated", "invert": False}
HONEST = {
    "bytes": {"pre_tokenizer": BYTES},
    "split and bytes": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [SPLIT, BYTES]}},
    "blanks": {"normalizer": sequence({"type": "Prepend", "prepend": "▁"}, replace("▁", String=" "))},
    "quotes": {"normalizer": sequence(replace('"', String="``"), replace('"', String="''"), replace(" ", Regex=" +"))},
    "merges of a prefix": {"model": {"continuing_subword_prefix": "##", "merges": [["a", "##b"], "a ##c"]}},
    "merges of none": {"model": {"continuing_subword_prefix": "", "merges": [["a", "b"], "a c"]}},
    "none": {"normalizer": None, "pre_tokenizer": None, "model": {}},
}
HOSTILE = {
    "doubling": {"normalizer": sequence(*[replace("aa", String="a")] * 40)},
    "between letters": {"normalizer": sequence(*[replace("a", Regex="(?=.)")] * 40)},
    "long": {"normalizer": replace("a" * 1000, String="a")},
    "bytes again": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTES] * 12}},
    "bytes in both": {"normalizer": sequence(*[BYTES] * 3), "pre_tokenizer": {"pretokenizers": [BYTES] * 3}},
    "steps": {"normalizer": sequence(*[{"type": "NFC"}] * 100)},
}


@pytest.mark.parametrize("name", HONEST)
def test_published_tokenizers_are_taken(tmp_path, name):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(HONEST[name]))
    check_tokenizer_file(path)


@pytest.mark.parametrize("name", HOSTILE)
def test_steps_that_swell_a_text_are_refused(tmp_path, name):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(HOSTILE[name]))
    with pytest.raises(ForeignFileError, match="steps") as error:
        check_tokenizer_file(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("merge", [["a", "b"], "a b"])
def test_merges_without_their_prefix_are_refused(tmp_path, merge):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"continuing_subword_prefix": "##", "merges": [merge]}}))
    with pytest.raises(ForeignFileError, match="lack their continuing_subword_prefix"):
        check_tokenizer_file(path)


@pytest.mark.parametrize(
    "text", ["[1]", "{", '{"normalizer":' + "[" * 50_000, '{"normalizer":' + "[" * 99 + "]" * 99 + "}"]
)
def test_damaged_tokenizers_are_refused_in_a_line(tmp_path, text):
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(ForeignFileError) as error:
        check_tokenizer_file(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
