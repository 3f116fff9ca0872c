"""Training tells a bar on a terminal, short lines elsewhere, and whole logs to whoever keeps them."""

import ast
import json
import logging
import os
import pty
import re
import select
import subprocess
import sys
import termios
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback, TrainingArguments
from trl import SFTConfig

import argus_training
from argus_training import training_progress
from argus_training.stages.report_examples import report_examples
from argus_training.stages.report_trainer import make_trainer

TRAINING = Path(argus_training.__file__).parent
NUM_STEPS = 3


@pytest.fixture
def command(model_dir, tmp_path) -> list[str]:
    """Return the command that trains a stage of three steps, each one logged."""
    recipe = {
        "model_name_or_path": str(model_dir),
        "subset_options": {"num_train": 4, "num_validation": 2, "num_test": 1, "spacing_mm": [20.0, 12.0, 12.0]}
        | {"cache_dir": str(tmp_path / "data")},
        "stage": "1",
        "stage1": {"trainable_parts": ["connector"], "learning_rate": 1e-2},
        "per_device_train_batch_size": 2,
        "max_steps": NUM_STEPS,
        "logging_steps": 1,
        "eval_strategy": "epoch",
        "lr_scheduler_type": "constant",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "output_dir": str(tmp_path / "run"),
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return [sys.executable, str(TRAINING / "sft.py"), "--config", str(tmp_path / "recipe.yaml")]


def on_a_terminal(command: list[str]) -> str:
    """Run a command with a terminal on every side; return what it says."""
    pid, terminal = pty.fork()
    if pid == 0:
        termios.tcsetwinsize(1, (50, 200))  # a bar takes no room on a terminal of no columns
        os.execv(command[0], command)
    said = b""
    while select.select([terminal], [], [], 120)[0]:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # the other side has ended
            break
        if not part:
            break
        said += part
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, said.decode(errors="replace")[-2000:]
    return said.decode(errors="replace")


def test_elsewhere_each_logged_step_is_a_short_line_and_there_is_no_bar(command, tmp_path):
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout == "" and "{" not in ran.stderr and "\r" not in ran.stderr and "%|" not in ran.stderr
    told = [line.removeprefix("[transformers] ") for line in ran.stderr.splitlines()]
    (stage,) = (line for line in told if line.startswith("stage "))
    assert re.fullmatch(r"stage 1: [\d,]+ parameters train on 4 scans, 0 reports cut", stage)
    steps = [line for line in told if line.startswith("step ") and "learning rate" in line]
    assert len(steps) == NUM_STEPS
    for number, line in enumerate(steps, 1):
        assert re.fullmatch(rf"step {number}/{NUM_STEPS}: loss \d\.\d+, learning rate 1\.0e-02, \d+ s", line)
    assert any(re.fullmatch(r"step 2/3: validation loss \d\.\d+, \d+ s", line) for line in told)
    assert re.fullmatch(r"step 3/3: mean loss \d\.\d+, \d+ s", [line for line in told if line.startswith("step ")][-1])
    kept = json.loads((tmp_path / "run" / "stage1" / "checkpoint-3" / "trainer_state.json").read_text())["log_history"]
    assert [entry["step"] for entry in kept if "grad_norm" in entry] == [1, 2, 3]


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_on_a_terminal_a_bar_holds_steps_losses_and_learning_rate(command):
    said = on_a_terminal(command)
    assert "{" not in said and "step 1/3" not in said
    bars = [line for line in re.split(r"[\r\n]", said) if f"{NUM_STEPS}/{NUM_STEPS} " in line]
    assert bars and re.search(r"loss=\d\.\d+, learning rate=1\.0e-02", bars[-1]), said
    assert "validation loss=" in bars[-1]


@pytest.mark.parametrize(
    ("is_terminal", "turned_off", "level", "bar"),
    [
        (True, False, logging.WARNING, True),
        (True, True, logging.WARNING, False),
        (True, True, logging.ERROR, True),  # by `argus demo`, which turns messages off
        (False, False, logging.WARNING, False),
    ],
)
def test_a_bar_is_for_terminals_unless_a_recipe_turns_it_off(
    is_terminal, turned_off, level, bar, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: is_terminal))
    monkeypatch.setattr(training_progress.transformers_logging, "get_verbosity", lambda: level)
    assert training_progress.wants_bar(TrainingArguments(str(tmp_path), disable_tqdm=turned_off, use_cpu=True)) is bar


def test_the_log_goes_whole_to_other_callbacks(model_dir, phantoms, tmp_path):
    kept = []

    class Tracker(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            kept.append(dict(logs))

    model, processor = AutoModelForImageTextToText.from_pretrained(model_dir), AutoProcessor.from_pretrained(model_dir)
    config = SFTConfig(str(tmp_path), max_steps=2, logging_steps=1, use_cpu=True, bf16=False, report_to="none")
    trainer = make_trainer(model, processor, config, {"train": report_examples(phantoms["train"])})
    trainer.add_callback(Tracker())
    trainer.train()
    assert len(kept) == 3
    assert all(
        {"loss", "grad_norm", "learning_rate", "mean_token_accuracy", "epoch"} <= entry.keys() for entry in kept[:2]
    )
    assert {"train_loss", "train_runtime", "total_flos"} <= kept[2].keys()


def test_only_the_errors_of_commands_are_printed():
    printing = {
        path.relative_to(TRAINING).as_posix()
        for path in TRAINING.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert printing == {"recipe_command.py", "threads.py"}
