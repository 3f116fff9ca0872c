"""A folder keeps its first owner: the same settings go on, others are refused in one line."""

import json
from functools import partial
from pathlib import Path

import pytest

from argus_processing.storage.folder_owner import claim_for_settings
from argus_processing.storage.whole_files import write_json


def claim(path: Path, settings: dict, **more) -> None:
    claim_for_settings(path, settings, write=partial(write_json, path, settings), **more)


def test_the_first_settings_are_written_and_the_same_go_on(tmp_path):
    path = tmp_path / "run.json"
    claim(path, {"seed": 1, "sides": (4, 1, 1)})
    before = path.read_bytes()
    claim(path, {"sides": (4, 1, 1), "seed": 1})
    assert path.read_bytes() == before and json.loads(before)["sides"] == [4, 1, 1]


def test_without_a_writer_a_folder_stays_without_an_owner(tmp_path):
    claim_for_settings(tmp_path / "run.json", {"seed": 1})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 2}, "(seed 1, not 2)"),
        ({"seed": 1, "split": "test"}, "(split None, not test)"),
        ({"seed": [1]}, "(seed)"),
        ({"seed": 1, "a": 1, "b": 1, "c": 1, "d": 1}, "(a None, not 1, b None, not 1, c None, not 1, 1 more)"),
    ],
)
def test_other_settings_are_refused_and_named_and_the_file_stays(tmp_path, other, named):
    path = tmp_path / "run.json"
    claim(path, {"seed": 1})
    before = path.read_bytes()
    with pytest.raises(ValueError) as refused:
        claim(path, other, advice="remove it")
    assert str(refused.value) == f"{tmp_path}: was made with other settings {named}; remove it"
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["{", "[]", '{"other": 1}', '{"settings": 1}'])
def test_a_file_of_something_else_is_refused_in_a_line(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"run\.json: ") as refused:
        claim_for_settings(path, {"seed": 1}, settings_in=lambda said: said["settings"])
    assert "\n" not in str(refused.value)
