"""Run training in several processes on this machine."""

import itertools
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
import two_processes


@pytest.fixture
def train_together(model_dir, tmp_path, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "two-processes-data"

    meetings = itertools.count()

    def start(strategy, world, max_steps, kill_at=None, save="no", **changes):
        recipe = {
            "model_name_or_path": str(model_dir),
            "subset_options": two_processes.SUBSET | {"cache_dir": str(cache)},
            "stage": "2",
            "stage2": {"trainable_parts": ["vision", "connector", "llm"], "learning_rate": 1e-3},
            "global_batch_size": 2,
        } | changes
        out = tmp_path / f"{strategy}-{world}-{save}-{bool(changes)}"
        config = {"output_dir": str(out), "per_device_train_batch_size": 2 // world, "max_steps": max_steps}
        config |= {"save_strategy": save, "save_steps": 1, "logging_steps": 1, "use_cpu": strategy == "ddp"}
        config |= {"bf16": False, "gradient_checkpointing": False, "report_to": "none", "disable_tqdm": True}
        # A file of its own for every run: processes that find an old one wait for partners that are gone.
        meeting = tmp_path / f"meeting{next(meetings)}"
        codes = two_processes.run(strategy, world, meeting, recipe, config | {"seed": 0}, kill_at)
        return out / "stage2", codes

    return start
