"""A step in a process of its own gives what it gives in this one, and does not outlive what it runs beside."""

import multiprocessing
from dataclasses import replace

import pytest
import torch

from argus_training.ablations.ablation_steps import last_step, model_of, run_step
from argus_training.ablations.step_beside import step_beside

SETTINGS = {
    "data": {"subset": "phantom", "subset_options": {"num_train": 2, "num_test": 0, "spacing_mm": [16.0, 12.0, 12.0]}},
    "preset": "argus-tiny",
    "llm": "tiny",
    "llms": {"tiny": {"train": {"max_steps": 1, "text_model": {"hidden_size": 64}}}},
    "vision": [],
    "sft": {},
    "trainer": {"use_cpu": True, "learning_rate": 0.5, "report_to": "none", "save_strategy": "no"},
}


def test_it_writes_the_model_of_one_process_while_the_block_runs(tmp_path):
    language, *_ = last_step(SETTINGS, 0).with_needs()
    here = run_step(language, tmp_path / "here")
    threads = torch.get_num_threads()
    with step_beside(language, tmp_path / "beside"):
        assert len(multiprocessing.active_children()) == 1
    beside = model_of(language, tmp_path / "beside")
    assert (beside / "model.safetensors").read_bytes() == (here / "model.safetensors").read_bytes()
    assert torch.get_num_threads() == threads


def test_its_error_is_raised_after_the_block(tmp_path):
    language, *_ = last_step(SETTINGS, 0).with_needs()
    wrong = replace(language, settings=language.settings | {"max_steps": "many"})
    finished = []
    with pytest.raises((TypeError, ValueError)), step_beside(wrong, tmp_path):
        finished.append(True)
    assert finished


def test_an_interruption_of_the_block_stops_it(tmp_path):
    language, *_ = last_step(SETTINGS, 0).with_needs()
    endless = replace(language, settings=language.settings | {"max_steps": 10**6})
    with pytest.raises(KeyboardInterrupt), step_beside(endless, tmp_path):
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()
    assert not (model_of(endless, tmp_path) / "config.json").exists()
