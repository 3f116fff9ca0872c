"""The grids on CT-3DRRG against the paper: how many cells each figure has, and what each cell is trained with."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from transformers import TrainingArguments
from trl import TrlParser

import argus_training
from argus_training.ablations.ablation_grid import Cell, read_grid
from argus_training.ablations.ablation_recipes import divide_settings
from argus_training.ablations.ablation_steps import last_step
from argus_training.pretrain import PretrainArguments
from argus_training.stages.recipe import RecipeArguments
from modeling_argus import preset_config

RECIPES = Path(argus_training.__file__).parent / "recipes"
CT3DRRG = RECIPES / "ablations" / "ct3drrg.yaml"
PRETRAINING = {
    "Vox2Vec": ["vox2vec"],
    "3D-MAE": ["mae"],
    "FLIP": ["flip"],
    "Vox2Vec+FLIP": ["vox2vec", "flip"],
    "3D-MAE+FLIP": ["mae", "flip"],
}
LLMS = {
    "3B": "meta-llama/Llama-3.2-3B-Instruct",
    "8B": "meta-llama/Llama-3.1-8B-Instruct",
    "70B": "meta-llama/Llama-3.1-70B-Instruct",
}
BOTH_STAGES = [("1", ["connector"], 1e-4), ("2", ["vision", "connector", "llm"], 1e-6)]


def cells_of(name: str) -> list[Cell]:
    """The cells of the paper's panel; each must be at the resolution that its name says."""
    paper, *ours = read_grid(RECIPES / "ablations" / f"{name}.yaml", CT3DRRG).panels
    assert not paper.ours and all(panel.ours for panel in ours)
    for cell in paper.cells:
        assert cell.settings["preset"] == f"argus-8b-{cell.values['resolution']}"
    assert {Counter(cell.values["resolution"] for cell in paper.cells)[grid] for grid in ("nr", "hr")} == {
        len(paper.cells) // 2
    }
    return list(paper.cells)


def stages(cell: Cell) -> list[tuple[str, list[str], float]]:
    """Stage, trained parts and rate of every supervised training of a cell, each of which is one epoch."""
    steps = [step.settings for step in last_step(cell.settings, 0).with_needs() if step.kind == "sft"]
    said = [(step["stage"], step[f"stage{step['stage']}"], step) for step in steps]
    for _, own, step in said:
        assert (step | own)["num_train_epochs"] == 1
        assert (step["lr_scheduler_type"], step["warmup_steps"], step["weight_decay"]) == ("linear", 0.05, 0.0)
        assert step["bf16"] and step["per_device_train_batch_size"] * step["gradient_accumulation_steps"] * 8 == 16
    return [(stage, own["trainable_parts"], own["learning_rate"]) for stage, own, _ in said]


def objectives(cell: Cell) -> list[dict]:
    return [step.settings for step in last_step(cell.settings, 0).with_needs() if step.kind == "vision"]


def llm(cell: Cell) -> str:
    return cell.settings["llms"][cell.settings["llm"]]["path"]


def test_figure_3_crosses_four_axes():
    cells = cells_of("figure3")
    assert len(cells) == 5 * 3 * 2 * 2
    compressors = {"pixel shuffle": "pixel_shuffle", "average pooling": "average_pooling", "Perceiver": "perceiver"}
    for cell in cells:
        said, create = cell.values, cell.settings["create"]
        assert cell.settings["vision"] == PRETRAINING[said["pretraining"]]
        assert create["compressor"] == compressors[said["compressor"]]
        assert create.get("num_latents") == (64 if said["compressor"] == "Perceiver" else None)
        assert create["num_projector_layers"] == {"1 layer": 1, "2 layers": 2}[said["projector"]]
        assert stages(cell) == BOTH_STAGES and llm(cell) == LLMS["8B"]
        for step in objectives(cell):
            assert step["objective_options"].get("mask_ratio", 0.5) == 0.5  # half, wherever patches are masked


def test_figure_3s_towers_are_trained_once_for_all_cells():
    steps = {step.name for cell in cells_of("figure3") for step in last_step(cell.settings, 0).with_needs()}
    towers = [name for name in steps if name.startswith("vision-")]
    assert len(towers) == 2 * 5  # three objectives, and FLIP after each of the other two, at both resolutions


def test_figure_4_compares_stages_and_the_vision_tower():
    cells = cells_of("figure4")
    assert len(cells) == 2 * 2 * 2
    for cell in cells:
        last = ["vision"] * (cell.values["vision tower"] == "trained") + ["connector", "llm"]
        before = [("1", ["connector"], 1e-4)] * (cell.values["stages"] == "2-stage")
        assert stages(cell) == [*before, ("2", last, 1e-6)]
        assert cell.settings["vision"] == ["mae", "flip"] and llm(cell) == LLMS["8B"]


def test_figure_5_changes_the_mask_ratio_of_mae_before_flip():
    cells = cells_of("figure5")
    assert len(cells) == 4 * 2 and {cell.values["mask ratio"] for cell in cells} >= {"0.5"}
    for cell in cells:
        mae, flip = objectives(cell)
        assert (mae["objective"], flip["objective"]) == ("mae", "flip")
        assert mae["objective_options"]["mask_ratio"] == float(cell.values["mask ratio"])
        assert flip["objective_options"]["mask_ratio"] == 0.5
        assert stages(cell) == BOTH_STAGES and llm(cell) == LLMS["8B"]


def test_figure_6_crosses_counts_of_scans_sizes_and_resolutions():
    cells = cells_of("figure6")
    assert len(cells) == 4 * 3 * 2
    counts = {"10K": 10_000, "20K": 20_000, "30K": 30_000, "full": None}
    for cell in cells:
        sft = cell.settings["sft"]
        assert sft.get("train_count") == counts[cell.values["training scans"]] and "train_share" not in sft
        size = cell.values["language model"]
        assert llm(cell) == LLMS[size]
        adapters = (sft.get("use_peft", False), sft.get("lora_r"), sft.get("lora_alpha"), sft.get("lora_dropout"))
        assert adapters == ((True, 128, 64, 0.1) if size == "70B" else (False, None, None, None))
        assert stages(cell) == BOTH_STAGES


def test_table_2_crosses_systems_sizes_and_resolutions():
    cells = cells_of("table2")
    assert len(cells) == 4 * 3 * 2
    weights = {"M3D": "downloads/M3D-CLIP/pretrained_ViT.bin", "RadFM": "downloads/RadFM/pytorch_model.bin"}
    for cell in cells:
        system, create = cell.values["system"], cell.settings["create"]
        assert create.get("tower", "argus") == system.lower() and "compressor" not in create
        assert llm(cell) == LLMS[cell.values["size"]]
        # The paper's preprocessing for every system (section 3.2); Argus's own is that.
        assert create.get("preprocessing", "paper") == "paper" and ("preprocessing" in create) == (system != "Argus")
        published = {"convert": system.lower(), "checkpoint": weights.get(system)}
        vision = {"Argus": ["mae", "flip"], "CT2Rep": []}.get(system, published)
        assert cell.settings["vision"] == vision


def test_table_2s_argus_is_figure_6s_on_all_scans():
    def models(name: str, axis: str, value: str) -> set[str]:
        return {last_step(cell.settings, 0).name for cell in cells_of(name) if cell.values[axis] == value}

    assert models("table2", "system", "Argus") == models("figure6", "training scans", "full")


# system -> stages: trained parts, learning rate, epochs, schedule, warm-up, scans a step of 8 processes, weight decay
TABLE_2_STAGES = {
    "Argus": {
        "1": (["connector"], 1e-4, 1, "linear", 0.05, 16, 0.0),
        "2": (["vision", "connector", "llm"], 1e-6, 1, "linear", 0.05, 16, 0.0),
    },
    # LaMed/script/pretrain_llama3.sh and finetune_lora_llama3.sh: 16 and 8 scans on each of 8 GPUs.
    "M3D": {
        "1": (["connector", "token_embeddings"], 1e-4, 3, "cosine", 0.03, 128, 0.0),
        "2": (["vision", "connector", "llm", "token_embeddings", "output_layer"], 5e-5, 3, "cosine", 0.03, 64, 0.0),
    },
    "RadFM": {"2": (["vision", "connector", "llm"], 1e-6, 1, "linear", 0.05, 16, 0.0)},
    "CT2Rep": {"2": (["vision", "connector", "llm"], 1e-6, 20, "linear", 0.05, 16, 5e-5)},
}
OWN_RATES = {"RadFM": ({"connector": 1e-4}, None), "CT2Rep": ({"vision": 5e-5, "connector": 1e-4}, 0.8)}
TEXT_TOKENS = {"M3D": 512, "RadFM": 2048}


@pytest.mark.parametrize("system", TABLE_2_STAGES)
def test_a_system_of_table_2_trains_as_its_code_or_the_paper_says(system):
    for cell in cells_of("table2"):
        if cell.values["system"] != system:
            continue
        steps = [step.settings for step in last_step(cell.settings, 0).with_needs() if step.kind == "sft"]
        assert [step["stage"] for step in steps] == list(TABLE_2_STAGES[system])
        for step in steps:
            own = step | step[f"stage{step['stage']}"]
            at_once = own["per_device_train_batch_size"] * own["gradient_accumulation_steps"] * 8
            rates = (own["learning_rate"], own["num_train_epochs"], own["lr_scheduler_type"], own["warmup_steps"])
            said = (own["trainable_parts"], *rates, at_once, own["weight_decay"])
            assert said == TABLE_2_STAGES[system][step["stage"]]
            assert (own.get("learning_rates", {}), own.get("epoch_decay")) == OWN_RATES.get(system, ({}, None))
            recipe, _ = divide_settings(step, RecipeArguments)
            recipe = RecipeArguments(model_name_or_path="", **recipe)
            assert recipe.max_text_tokens == TEXT_TOKENS.get(system, 1024)
            # M3D's own adapters at every size; of the others, 70B has the paper's.
            adapters = (recipe.use_peft, recipe.lora_r, recipe.lora_alpha, recipe.lora_dropout)
            papers = (cell.values["size"] == "70B", 128, 64, 0.1)
            assert adapters == ((True, 16, 32, 0.05) if system == "M3D" else papers)


@pytest.mark.parametrize("name", ["figure3", "figure4", "figure5", "figure6", "table2"])
def test_the_score_is_the_mean_clinical_metric_over_subsets(name):
    grid = read_grid(RECIPES / "ablations" / f"{name}.yaml", CT3DRRG)
    assert grid.score == "Avg. clinical"
    for cell in grid.cells():
        evaluation = cell.settings["evaluation"]
        assert evaluation["subsets"] == ["ct-rate", "bimcv-r", "inspect"] and evaluation["split"] == "test"
        assert set(evaluation["clinical"]) == {"green", "rate", "radgraph"}
        assert cell.settings["data"]["subset"] == "all"  # trained on all of them together


@pytest.mark.parametrize("name", ["mae", "flip", "vox2vec", "mae_flip", "vox2vec_flip"])
def test_pretraining_at_hr_differs_in_grid_and_batch_only(name):
    normal, high = (
        yaml.safe_load((RECIPES / "pretrain" / f"{stem}.yaml").read_text()) for stem in (name, f"{name}_hr")
    )
    differing = {key for key in normal | high if normal.get(key) != high.get(key)}
    assert differing <= {
        "preset",
        "output_dir",
        "start_from",
        "objective_options",
        "per_device_train_batch_size",
        "per_device_eval_batch_size",
        "gradient_accumulation_steps",
        "learning_rate",
    }
    assert (normal["preset"], high["preset"]) == ("argus-8b-nr", "argus-8b-hr")
    assert high["output_dir"] == f"{normal['output_dir']}_hr"
    arguments = ["--config", str(RECIPES / "pretrain" / f"{name}_hr.yaml"), "--bf16", "false", "--use_cpu", "true"]
    recipe, _ = TrlParser((PretrainArguments, TrainingArguments)).parse_args_and_config(arguments)
    assert recipe.start_from in (None, f"{normal.get('start_from')}_hr")


def test_the_tiny_presets_differ_as_the_papers_resolutions_do():
    for system in ("argus", "m3d", "radfm", "ct2rep"):
        normal, high = (preset_config(name, system).vision_config for name in ("argus-tiny", "argus-tiny-hr"))
        assert [b / a for a, b in zip(normal.image_size, high.image_size, strict=True)] == [4, 2, 2]
        assert high.num_tokens == 2 * normal.num_tokens
