"""The script that trains a grid, in two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from argus_training import ablate
from argus_training.ablations import ablation_steps

SCRIPT = Path(ablate.__file__)
DATA = {"num_train": 4, "num_validation": 1, "num_test": 1, "spacing_mm": [20.0, 12.0, 12.0]}
BASE = {
    "score": "report_loss",
    "data": {"subset": "phantom", "subset_options": DATA},
    "preset": "argus-tiny",
    "llm": "given",
    "vision": [],
    "create": {"dtype": "float32"},
    "trainer": {"per_device_train_batch_size": 2, "max_steps": 1, "use_cpu": True, "bf16": False, "report_to": "none"},
    "sft": {"gradient_checkpointing": False, "stage": "2", "learning_rate": 1e-2},
}
GRID = {"name": "g", "base": "base.yaml", "seeds": [0], "panels": [{"axes": {"x": {"a": {}}}}]}


ARGUMENTS = ["--config", "grid.yaml", "--output_dir", "out"]


def run_in_two_processes(folder: Path) -> subprocess.CompletedProcess:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launch, str(SCRIPT), *ARGUMENTS]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_two_processes_train_a_cell_together_and_one_finds_it_done(model_dir, tmp_path, monkeypatch):
    base = BASE | {"llms": {"given": {"path": str(model_dir.parent / "llm")}}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(GRID))
    ran = run_in_two_processes(tmp_path)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stderr.count("stage 2: ") == 1  # two that each took itself for the only one would both say it
    (trained,) = tmp_path.glob("out/steps/sft-*/stage2/model/model.safetensors")
    assert load_file(trained)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ablate.py", *ARGUMENTS])
    monkeypatch.setattr(ablation_steps, "RUNNERS", {})  # nothing can be run
    ablate.main()


def test_a_grid_that_trains_nothing_is_refused(tmp_path, monkeypatch, capsys):
    resampling = SCRIPT.parent / "recipes" / "ablations" / "resampling.yaml"
    monkeypatch.setattr(sys, "argv", ["ablate.py", "--config", str(resampling), "--output_dir", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        ablate.main()
    assert stopped.value.code == 2
    assert "nothing to train" in capsys.readouterr().err


def test_one_step_is_trained_with_those_that_it_needs_and_no_other(tmp_path, monkeypatch, capsys):
    ran: list[str] = []

    def leave_a_model(step, own, needs, folder):
        ran.append(step.name)
        model = ablation_steps.model_of(step, folder)
        model.mkdir(parents=True)
        (model / "config.json").write_text("{}")

    monkeypatch.setattr(ablation_steps, "RUNNERS", dict.fromkeys(ablation_steps.RUNNERS, leave_a_model))
    monkeypatch.chdir(tmp_path)
    base = BASE | {"llms": {"given": {"path": "llm"}}, "sft": BASE["sft"] | {"stage": "both"}}
    Path("base.yaml").write_text(yaml.safe_dump(base))
    Path("grid.yaml").write_text(yaml.safe_dump(GRID | {"seeds": [0, 1]}))
    names = list(ablate.steps_of(ablate.read_grid(Path("grid.yaml"))))
    assert [name.split("-")[0] for name in names] == ["create", "sft", "sft"] * 2
    monkeypatch.setattr(sys, "argv", ["ablate.py", *ARGUMENTS, "--step", names[4]])
    ablate.main()
    assert ran == names[3:5]
    monkeypatch.setattr(sys, "argv", ["ablate.py", *ARGUMENTS, "--step", "sft-0"])
    with pytest.raises(SystemExit):
        ablate.main()
    assert "grid.yaml: has no step sft-0 with this base recipe" in capsys.readouterr().err
