"""Every baseline is created, trained, saved, loaded and evaluated by the same code as Argus."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor
from trl import SFTConfig

from argus_inference.generation import generate_batch
from argus_inference.model_folder import load_model
from argus_training import sft
from argus_training.ablations.ablation_grid import overlay, read_base
from argus_training.ablations.ablation_recipes import divide_settings
from argus_training.assembly.create import create_model
from argus_training.stages.recipe import RecipeArguments
from modeling_argus import TOWERS

BASELINES = {"m3d": 8, "radfm": 8, "ct2rep": 64}  # visual tokens of the tiny preset
CT3DRRG = read_base(Path(sft.__file__).parent / "recipes" / "ablations" / "ct3drrg.yaml")


@pytest.fixture(scope="module")
def folders(model_dir, tmp_path_factory):
    """A tiny model folder of each baseline."""
    root = tmp_path_factory.mktemp("baselines")
    return {
        name: create_model("argus-tiny", root / name, llm=model_dir.parent / "llm", dtype="float32", tower=name)
        for name in BASELINES
    }


def stages_of(system: str) -> dict:
    """Settings of a system's training on CT-3DRRG, as table 2 has them."""
    return overlay(CT3DRRG.recipe["sft"], CT3DRRG.choices["system"][system]["sft"])


# system -> parts that each stage changes; embeddings are the language model's
CHANGED = {
    "M3D": [{"connector", "language_model"}, {"vision_tower", "connector", "language_model"}],
    "RadFM": [{"vision_tower", "connector", "language_model"}],
    "CT2Rep": [{"vision_tower", "connector", "language_model"}],
}


@pytest.mark.parametrize("system", CHANGED)
def test_a_baseline_trains_as_table_2_says_and_writes_reports(system, folders, scans, tmp_path):
    own, settings = divide_settings(stages_of(system), RecipeArguments)
    recipe = RecipeArguments(
        model_name_or_path=str(folders[system.lower()]),
        subset_options={"num_train": 2, "num_validation": 1, "num_test": 1, "spacing_mm": [20.0, 12.0, 12.0]}
        | {"cache_dir": str(tmp_path / "data")},
        **own,
    )
    fast = {"max_steps": 2, "save_strategy": "no", "use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    config = SFTConfig(
        output_dir=str(tmp_path / "run"),
        per_device_train_batch_size=2,
        report_to="none",
        disable_tqdm=True,
        **settings | fast,
    )
    trained = sft.train(recipe, config)
    stages = [tmp_path / "run" / f"stage{stage}" / "model" for stage in recipe.stages_to_run()]
    weights = [load_file(folder / "model.safetensors") for folder in (folders[system.lower()], *stages)]
    changed = [{key for key in a if not torch.equal(a[key], b[key])} for a, b in itertools.pairwise(weights)]
    assert [{key.split(".")[1] for key in names} for names in changed] == CHANGED[system]
    if system == "M3D":  # its first stage changes of the language model the embeddings alone
        first = {key for key in changed[0] if ".language_model." in key}
        assert first == {"model.language_model.embed_tokens.weight"} and first < changed[1]
    model, processor = load_model(trained)
    assert model.config.tie_word_embeddings and model.lm_head.weight is model.get_input_embeddings().weight
    assert type(model.model.vision_tower) is TOWERS[system.lower()].model_class
    assert processor.num_image_tokens == BASELINES[system.lower()]
    model.generation_config.min_new_tokens = 4  # after two steps it may want to end at once
    reports = generate_batch(model, processor, scans[:2], ["Write the report."] * 2, max_new_tokens=8)
    assert [4 <= report.num_tokens <= 8 for report in reports] == [True, True]


def test_a_trained_tower_is_taken_by_its_own_name_alone(folders, model_dir, tmp_path):
    tower = load_model(folders["m3d"])[0].model.vision_tower
    tower.save_pretrained(tmp_path / "tower")
    llm = model_dir.parent / "llm"
    made = create_model("argus-tiny", tmp_path / "m", llm, tmp_path / "tower", seed=9, dtype="float32", tower="m3d")
    before, after = tower.state_dict(), load_model(made)[0].model.vision_tower.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    with pytest.raises(ValueError, match="model_type differ"):
        create_model("argus-tiny", tmp_path / "n", llm, tmp_path / "tower", tower="radfm")


REMOTE = """
import sys
for name in ("argus_processing", "modeling_argus", "argus_training", "argus_evaluation"):
    sys.modules[name] = None
import torch
from transformers import AutoModel, AutoProcessor
for folder in sys.argv[2:]:
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules")
    pixel_values = processor.image_processor(sys.argv[1])["pixel_values"]
    torch.save((pixel_values, model.get_image_features(pixel_values).pooler_output.detach()), folder + "/remote.pt")
"""


def test_every_baseline_loads_without_argus_and_sees_the_same(folders, scans, tmp_path):
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", REMOTE, str(scans[0]), *map(str, folders.values())]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr[-2000:]
    for folder in folders.values():
        pixel_values, features = torch.load(folder / "remote.pt")
        processor, model = AutoProcessor.from_pretrained(folder), load_model(folder)[0]
        assert torch.equal(processor.image_processor(scans[0])["pixel_values"], pixel_values)
        with torch.no_grad():
            torch.testing.assert_close(model.get_image_features(pixel_values).pooler_output, features)
