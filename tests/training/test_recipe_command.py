"""Recipes and run folders that cannot be used: one line and exit code 2 from every training command."""

import json
import sys
import zipfile

import pytest
import torch

from argus_processing.storage.foreign_files import ForeignFileError
from argus_training import ablate, pretrain, sft
from argus_training.stages.checkpoints import last_whole_checkpoint

COMMANDS = {"sft.py": sft, "pretrain.py": pretrain, "ablate.py": ablate}
RECIPES = {
    "deep": "a: " + "[" * 2000,
    "aliases": "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)),
    "object": "a: !!python/object/apply:os.system ['true']",
    "wrong kind": "model_name_or_path: m\nstage1: 5\npreset: argus-tiny\nobjective: []",
}


def run(module, monkeypatch, capsys, *arguments) -> str:
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        module.main()
    said = capsys.readouterr().err.strip()
    assert stop.value.code == 2 and "\n" not in said and len(said) < 700
    return said


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_that_cannot_be_used_is_refused_in_a_line(name, recipe, tmp_path, monkeypatch, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPES[recipe])
    said = run(COMMANDS[name], monkeypatch, capsys, "--config", path, "--output_dir", tmp_path / "out")
    assert said.startswith(f"{name}: ")


def test_a_hostile_start_is_refused_in_a_line_unless_the_recipe_trusts_it(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}')
    (folder / "processor_config.json").write_text('{"processor_class": "Evil"}')
    (folder / "model.safetensors").write_bytes(b"")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model_name_or_path: {folder}\nsubset_options: {{num_train: 1, num_validation: 1, num_test: 1}}\n"
    )
    monkeypatch.setattr(sft, "load_dataset", lambda *args, **kwargs: {"train": None})
    monkeypatch.setattr(sft, "draw_share", lambda *args: [])
    monkeypatch.setattr(sft, "report_examples", lambda split: split)
    monkeypatch.setattr(sft.datasets, "DatasetDict", dict)
    options = ("--config", recipe, "--output_dir", tmp_path / "out", "--bf16", "false", "--use_cpu", "true")
    said = run(sft, monkeypatch, capsys, *options)
    assert "its own code, which is not run" in said and "trust_remote_code: true" in said


def test_an_inflating_checkpoint_is_refused_and_a_damaged_one_skipped(tmp_path):
    for step in (1, 2, 3):
        (tmp_path / f"checkpoint-{step}").mkdir()
    first, second, third = (tmp_path / f"checkpoint-{step}" for step in (1, 2, 3))
    (first / "trainer_state.json").write_text(json.dumps({"global_step": 1}))
    torch.save({"state": torch.zeros(2)}, first / "optimizer.pt")
    (second / "trainer_state.json").write_text("[" * 100_000)
    assert last_whole_checkpoint(tmp_path) == str(first)
    (third / "trainer_state.json").write_text(json.dumps({"global_step": 3}))
    with zipfile.ZipFile(third / "optimizer.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 20))
    with pytest.raises(ForeignFileError, match="compressed"):
        last_whole_checkpoint(tmp_path)
