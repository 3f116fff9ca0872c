"""Real training of a tiny model with TRL's own trainer, on phantoms."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import local_hub as local_hub_module
import pytest
import torch
from local_hub import TOKEN
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig

from argus_inference.generation import generate_batch
from argus_inference.model_folder import load_model
from argus_processing.instructions import INSTRUCTION
from argus_processing.saved_models.provenance import PHANTOMS, TrainedSubset, read_provenance
from argus_training import sft
from argus_training.stages.recipe import RecipeArguments
from argus_training.stages.report_examples import count_cut_reports, report_examples
from argus_training.stages.report_trainer import make_trainer
from argus_training.stages.run_upload import HubArguments

SUBSET = {"num_train": 4, "num_validation": 1, "num_test": 1, "spacing_mm": [20.0, 12.0, 12.0]}


def recipe_for(model_dir, cache, **changes) -> RecipeArguments:
    return RecipeArguments(
        model_name_or_path=str(model_dir),
        subset_options=SUBSET | {"cache_dir": str(cache)},
        stage1={"trainable_parts": ["connector"], "learning_rate": 1e-2},
        stage2={"trainable_parts": ["vision", "connector", "llm"], "learning_rate": 1e-3},
        **changes,
    )


def config_for(output_dir, **changes) -> SFTConfig:
    return SFTConfig(
        output_dir=str(output_dir),
        per_device_train_batch_size=2,
        max_steps=3,
        save_steps=1,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        seed=0,
        **changes,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("sft-data")


@pytest.fixture(scope="module")
def trained(model_dir, cache, tmp_path_factory):
    """The folder of a run of both stages that nothing interrupted."""
    output_dir = tmp_path_factory.mktemp("sft")
    sft.train(recipe_for(model_dir, cache), config_for(output_dir))
    return output_dir


def changed_parts(before, after) -> set[str]:
    first, second = (load_file(folder / "model.safetensors") for folder in (before, after))
    assert first.keys() == second.keys()
    return {name.split(".")[1] for name in first if not torch.equal(first[name], second[name])}


def test_stage_1_changes_the_connector_alone_and_stage_2_everything(model_dir, trained):
    assert changed_parts(model_dir, trained / "stage1" / "model") == {"connector"}
    assert changed_parts(trained / "stage1" / "model", trained / "stage2" / "model") == {
        "vision_tower",
        "connector",
        "language_model",
    }


@pytest.mark.parametrize("folder", ["stage1/checkpoint-2", "stage2/model"])
def test_checkpoints_are_model_folders_for_the_auto_classes(trained, folder):
    for auto_class in (AutoModel, AutoModelForImageTextToText):
        assert type(auto_class.from_pretrained(trained / folder)).__name__ == "ArgusForConditionalGeneration"
    assert AutoProcessor.from_pretrained(trained / folder).num_image_tokens == 8


def test_the_final_folder_holds_nothing_pickled(trained):
    names = {path.suffix for path in (trained / "stage2" / "model").iterdir()}
    assert not names & {".bin", ".pt", ".pth", ".pkl"}


def test_the_record_and_the_card_tell_the_start_and_the_stages(model_dir, trained):
    model = trained / "stage2" / "model"
    provenance = read_provenance(model)
    assert replace(provenance, stages=(), runs=()) == read_provenance(model_dir)
    first, second = provenance.stages
    assert (first.name, first.parts, second.parts) == ("stage 1", ("connector",), ("vision", "connector", "llm"))
    for stage in provenance.stages:
        assert stage.subsets == (TrainedSubset("phantom", 4, PHANTOMS),)
        assert (stage.num_steps, stage.num_epochs, stage.batch_size) == (3, 1.5, 2)
    assert (first.learning_rate, second.learning_rate) == (1e-2, 1e-3)
    assert first.recipe_sha256 != second.recipe_sha256 and first.data_sha256 == second.data_sha256
    assert all(run.seconds > 0 and run.hardware.startswith("1 x cpu") for run in provenance.runs)
    assert provenance.knows_only_phantoms and read_provenance(trained / "stage1" / "model").stages == (first,)
    assert str(trained) not in (model / "argus.json").read_text()
    card = (model / "README.md").read_text()
    assert "| vision tower (argus) | random weights |" in card
    assert f"| stage 1 | connector | 4 phantoms | `{first.data_sha256[:16]}` | 1.5 | 3 | 2 | 0.01 |" in card
    assert "| stage 2 | vision, connector, llm | 4 phantoms |" in card


KILLED_RUN = """
import os, signal, sys
sys.path[:0] = {path!r}
import torch
torch.set_num_threads(1)
from argus_inference.generation import generate_batch
from argus_inference.model_folder import load_model
from argus_processing.instructions import INSTRUCTION
from argus_training import sft
from argus_training.stages import stage_training
from transformers import TrainerCallback
from test_sft import config_for, recipe_for

class Killer(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if "stage2" in args.output_dir and state.global_step == 2:
            os.kill(os.getpid(), signal.SIGKILL)

make_trainer = stage_training.make_trainer
def make_doomed_trainer(*arguments):
    trainer = make_trainer(*arguments)
    trainer.add_callback(Killer())
    return trainer
stage_training.make_trainer = make_doomed_trainer
sft.train(recipe_for({model!r}, {cache!r}), config_for({out!r}))
"""


def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(model_dir, cache, trained, tmp_path):
    folders = [os.path.dirname(path) for path in (__file__, local_hub_module.__file__)]
    script = KILLED_RUN.format(path=folders, model=str(model_dir), cache=str(cache), out=str(tmp_path / "run"))
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr[-2000:]
    assert (tmp_path / "run" / "stage1" / "model").exists() and not (tmp_path / "run" / "stage2" / "model").exists()
    # A checkpoint that was cut off while it was written must be passed over.
    torn = tmp_path / "run" / "stage2" / "checkpoint-9"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_step": ')
    resumed = sft.train(recipe_for(model_dir, cache), config_for(tmp_path / "run"))
    expected = load_file(trained / "stage2" / "model" / "model.safetensors")
    actual = load_file(resumed / "model.safetensors")
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    records = [read_provenance(folder) for folder in (resumed, trained / "stage2" / "model")]
    assert records[0].without_runs() == records[1].without_runs()
    assert records[0].runs[1].seconds > 0  # with those of the checkpoint


def test_another_runs_folder_is_refused(model_dir, cache, trained):
    other = config_for(trained)
    other.learning_rate = 0.5
    with pytest.raises(ValueError, match="other settings.*learning_rate"):
        sft.train(recipe_for(model_dir, cache), other)


@pytest.fixture
def batch(model_dir, phantoms, tmp_path):
    examples = report_examples(phantoms["train"])
    processor = AutoProcessor.from_pretrained(model_dir)
    model = AutoModelForImageTextToText.from_pretrained(model_dir)
    trainer = make_trainer(model, processor, config_for(tmp_path), {"train": examples})
    return next(iter(trainer.get_train_dataloader())), processor, phantoms["train"]["report"]


def test_the_loss_is_on_the_report_and_its_end_alone(batch):
    inputs, processor, reports = batch
    for ids, labels in zip(inputs["input_ids"], inputs["labels"], strict=True):
        taught = processor.tokenizer.decode(labels[labels != -100])
        assert taught in {report + "<|eot_id|>" for report in reports}
        assert (ids[labels != -100] == labels[labels != -100]).all()
        assert (labels[ids == processor.image_token_id] == -100).all()


def test_training_preprocesses_bit_for_bit_as_inference(batch, phantoms):
    inputs, processor, reports = batch
    text = processor.tokenizer.decode(inputs["labels"][0][inputs["labels"][0] != -100]).removesuffix("<|eot_id|>")
    image = phantoms["train"][reports.index(text)]["image"]
    assert torch.equal(inputs["pixel_values"][0], processor.image_processor(image)["pixel_values"][0])


def test_reports_that_would_be_cut_are_counted(model_dir, phantoms):
    examples = report_examples(phantoms["train"])
    processor = AutoProcessor.from_pretrained(model_dir)
    assert count_cut_reports(examples, processor, 10_000) == 0
    assert count_cut_reports(examples, processor, 10) == len(examples)


UPLOAD = {"push_to_hub": True, "hub_model_id": "lab/argus-tiny", "hub_token": TOKEN}
WITHOUT_ARGUS = """
import sys
for name in ("argus_processing", "modeling_argus", "argus_inference", "argus_training", "argus_evaluation"):
    sys.modules[name] = None
"""


def test_a_run_uploads_its_last_model_once(local_hub, model_dir, cache, trained):
    """The run is finished: the same command only uploads, and the folder still counts as its own."""
    last = sft.train(recipe_for(model_dir, cache), config_for(trained, **UPLOAD), HubArguments("v1.0", hub_stages=True))
    repository = local_hub.repositories["models", "lab/argus-tiny"]
    assert last == trained / "stage2" / "model" and repository.private
    assert len(repository.messages) == 3 and repository.tags == {"v1.0": repository.branches["main"]}
    for revision, stage in (("main", "stage2"), ("stage1", "stage1")):
        files = local_hub.files("lab/argus-tiny", revision)
        folder = trained / stage / "model"
        assert files.keys() == {path.name for path in folder.iterdir()} | {".gitattributes"}
        assert all(files[path.name] == path.read_bytes() for path in folder.iterdir() if path.name != "README.md")
        assert 'from_pretrained("lab/argus-tiny"' in files["README.md"].decode()
    assert len(local_hub.sent) == 2  # the weights of each stage, once


def test_the_published_cards_example_writes_the_same_report_without_argus(
    local_hub, hub_environment, model_dir, cache, trained, scans, tmp_path
):
    last = sft.train(recipe_for(model_dir, cache), config_for(trained, **UPLOAD))
    example = re.search(r"```python\n(.*?)```", local_hub.files("lab/argus-tiny")["README.md"].decode(), re.DOTALL)[1]
    shutil.copy(scans[0], tmp_path / "scan.nii.gz")
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_ARGUS + example.replace("max_new_tokens=512", "max_new_tokens=12")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=hub_environment,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    report = generate_batch(*load_model(last), scans[:1], [INSTRUCTION], 12)[0].text
    assert report and ran.stdout.removesuffix("\n").endswith(report)


def test_the_trainer_gets_no_settings_of_uploads(local_hub, model_dir, cache, tmp_path, monkeypatch):
    seen = []

    def train_nothing(stage, model_path, recipe, config, *data):
        seen.append((config.push_to_hub, config.hub_token, config.hub_model_id))
        return model_dir

    monkeypatch.setattr(sft, "train_stage", train_nothing)
    sft.train(recipe_for(model_dir, cache), config_for(tmp_path / "run", **UPLOAD))
    assert seen == [(False, None, None)] * 2
    assert TOKEN not in (tmp_path / "run" / "recipe.json").read_text()


def test_a_token_that_may_not_write_is_told_before_the_training(local_hub, model_dir, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(sft, "train_stage", None)
    with pytest.raises(ValueError, match="does not let this token write"):
        sft.train(recipe_for(model_dir, cache), config_for(tmp_path, **UPLOAD | {"hub_token": "another"}))


def test_a_failed_upload_keeps_the_model_and_says_how_to_go_on(local_hub, model_dir, cache, trained):
    local_hub.refuse_after = 0
    with pytest.raises(ValueError, match=r"argus publish model .*stage2/model lab/argus-tiny uploads it"):
        sft.train(recipe_for(model_dir, cache), config_for(trained, **UPLOAD))


def test_merged_adapters_come_back_from_the_hub_with_equal_logits(local_hub, model_dir, cache, tmp_path):
    recipe = recipe_for(model_dir, cache, stage="2", use_peft=True, lora_r=4, lora_alpha=8, lora_dropout=0.0)
    config = config_for(tmp_path / "run", **UPLOAD)
    config.max_steps = 1
    last = sft.train(recipe, config)
    names = local_hub.files("lab/argus-tiny").keys()
    assert "model.safetensors" in names and not any("adapter" in name for name in names)
    base = AutoModelForImageTextToText.from_pretrained(model_dir).eval()
    merged = AutoModelForImageTextToText.from_pretrained("lab/argus-tiny").eval()
    ids = torch.arange(10, 20)[None]
    with torch.no_grad():
        before, found = base(input_ids=ids).logits, merged(input_ids=ids).logits
        adapted = PeftModel.from_pretrained(base, last.parent / "adapter").eval()
        torch.testing.assert_close(found, adapted(input_ids=ids).logits, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found, before, atol=1e-4)
