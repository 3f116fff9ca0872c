"""Cards: made from what is recorded, for a model and for a preset, with examples that run as they are written."""

import re
import shlex
import shutil
import sys
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from argus_inference.console.plain_text import plain_lines
from argus_processing.publishing.published_card import card_of_repository
from argus_processing.saved_models.model_folders import REPORT_WRITER
from argus_processing.saved_models.pretrained import load_config, load_image_processor
from argus_processing.saved_models.provenance import (
    PATIENTS,
    PHANTOMS,
    PRETRAINED,
    LanguagePart,
    Provenance,
    TrainedSubset,
    TrainingRun,
    TrainingStage,
    VisionPart,
    read_provenance,
)
from argus_training.assembly.model_card import (
    CardSubject,
    continue_model,
    model_subject,
    preset_subject,
    render_card,
    write_model_card,
)
from argus_training.assembly.part_origins import BY_SIZE
from modeling_argus.presets_argus import PRESETS

RUN = TrainingRun("8 x NVIDIA H100 80GB HBM3", {"torch": "2.13.0"}, 5400.0)


def stage(kind: str = PHANTOMS, subset: str = "phantom", **changes) -> TrainingStage:
    own = {"name": "stage 1", "parts": ("connector",), "subsets": (TrainedSubset(subset, 3000, kind),)}
    own |= {"data_sha256": "da7a" * 16, "recipe_sha256": "4ec1" * 16, "num_epochs": 1.0, "num_steps": 188}
    return TrainingStage(**own | {"batch_size": 16, "learning_rate": 1e-4} | changes)


def made_of(folder):
    return load_config(folder, REPORT_WRITER), load_image_processor(folder)


def with_provenance(model_dir, provenance: Provenance | None) -> str:
    subject = model_subject(model_dir)
    return render_card(CardSubject(subject.config, subject.pixels, provenance))


def eight_b(*stages: TrainingStage) -> Provenance:
    return Provenance(
        vision=VisionPart("argus", PRETRAINED, 768, 86_000_000),
        language=LanguagePart("llama", 8_030_261_248, "meta-llama/Llama-3.1-8B-Instruct", "llama3.1", "its card"),
        preset="argus-8b-hr",
        has_presets_size=True,
        preprocessing="paper",
        stages=stages,
        runs=(RUN,) * len(stages),
    )


def test_a_new_models_card_tells_its_parts_and_hides_no_random_tower(model_dir):
    card = (model_dir / "README.md").read_text()
    assert "**The vision tower was not pretrained:**" in card and "# argus-tiny\n" in card
    assert "| grid | 32 x 64 x 64 voxels (D, H, W) in patches of 8 x 16 x 16 |" in card
    assert "| visual tokens | 64 of the tower, 8 read with the text |" in card
    pixels = "-1000 to 1000 HU, linear to 4 x 1 x 1 mm, then to the grid, scaled to 0 to 1"
    assert f"| pixels | {pixels} |" in card and "its reports mean nothing" in card
    assert "Trained on phantoms only" not in card and "Built with Llama" not in card
    assert ModelCard(card).data.to_dict().keys() == {"language", "library_name", "pipeline_tag", "tags"}


def test_trainings_are_told_with_data_recipe_machine_and_time(model_dir):
    card = with_provenance(model_dir, read_provenance(model_dir).with_stage(stage(has_adapters=True), RUN))
    data, recipe = "da7ada7ada7ada7a", "4ec14ec14ec14ec1"
    row = f"| stage 1 | connector (adapters) | 3,000 phantoms | `{data}` | 1 | 188 | 16 | 0.0001 | `{recipe}` |"
    assert row in card and "**Trained on phantoms only:**" in card
    assert "| stage 1 | 8 x NVIDIA H100 80GB HBM3 | 1.5 h | torch 2.13.0 |" in card


def test_llamas_licence_brings_its_terms_and_its_name(model_dir):
    card = ModelCard(with_provenance(model_dir, eight_b(stage())))
    assert (card.data.license, card.data.base_model) == ("llama3.1", "meta-llama/Llama-3.1-8B-Instruct")
    assert "# Llama-3.1-argus-8b-hr\n" in card.text and "**Built with Llama.**" in card.text
    assert "licensed under the Llama 3.1 Community License, Copyright © Meta" in card.text


def test_a_licence_that_only_the_size_tells_is_no_fact(model_dir):
    language = replace(eight_b().language, name="", licence_from=BY_SIZE)
    card = ModelCard(with_provenance(model_dir, replace(eight_b(stage()), language=language)))
    assert card.data.license is None and card.data.base_model is None
    assert "**Built with Llama.**" not in card.text and "does not name its licence" in card.text
    assert "| its licence | not recorded; its size and vocabulary are those of a Llama under llama3.1 |" in card.text
    assert "# Llama-argus-8b-hr\n" in card.text


def test_a_tower_from_elsewhere_does_not_hide_that_reports_are_of_phantoms(model_dir):
    provenance = eight_b(stage())
    vision = replace(provenance.vision, source="published weights of m3d")
    card = with_provenance(model_dir, replace(provenance, vision=vision))
    assert "**Taught to report on phantoms only:**" in card and "**Trained on phantoms only:**" not in card


def test_terms_of_real_data_are_told_and_nothing_is_called_a_phantom(model_dir):
    card = with_provenance(model_dir, eight_b(stage(PATIENTS, "ct-rate")))
    assert "3,000 scans of patients (ct-rate)" in card and "- CT-RATE (CC BY-NC-SA, gated" in card
    assert "Trained on phantoms only" not in card


def test_weights_made_of_phantoms_and_nothing_else_have_argus_own_licence(model_dir):
    own = LanguagePart("llama", 5, is_trained_here=True)
    vision = VisionPart("argus", PRETRAINED, 192, 5)
    for kind, licence in ((PHANTOMS, "apache-2.0"), (PATIENTS, None)):
        provenance = Provenance(vision=vision, language=own, stages=(stage(kind),), runs=(RUN,))
        assert ModelCard(with_provenance(model_dir, provenance)).data.license == licence


def test_a_folder_of_before_says_that_nothing_is_recorded(model_dir):
    card = with_provenance(model_dir, None)
    assert "# Argus\n" in card and "Nothing is recorded of how this model was trained." in card
    for false in ("not pretrained", "phantoms only", "Built with Llama", "| vision tower ("):
        assert false not in card


def test_a_model_trained_from_one_of_before_claims_nothing(model_dir, tmp_path):
    start, trained = shutil.copytree(model_dir, tmp_path / "start"), tmp_path / "trained"
    (start / "argus.json").unlink()
    (start / "README.md").write_text("# argus-tiny\n\n| part | from |\n")
    trained.mkdir()
    continue_model(start, trained, (stage(), RUN), *made_of(start))
    assert [path.name for path in trained.iterdir()] == ["README.md"]
    assert (trained / "README.md").read_text().splitlines()[-1] == "| stage 1 | trained connector |"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_presets_card_says_that_there_are_no_weights_yet(preset):
    card = ModelCard(render_card(preset_subject(preset)))
    assert "**No weights yet:**" in card.text and "None yet." in card.text
    assert "not pretrained" not in card.text and "random weights:" not in card.text
    tiny = preset.startswith("argus-tiny")
    assert (f"# {preset}\n" if tiny else f"# Llama-{'3.2' if '3b' in preset else '3.1'}-{preset}\n") in card.text
    assert card.data.license == (None if tiny else "llama3.2" if "3b" in preset else "llama3.1")
    if preset == "argus-8b-hr":
        assert "| grid | 256 x 512 x 512 voxels (D, H, W) in patches of 16 x 32 x 32 |" in card.text
        assert "| visual tokens | 4,096 of the tower, 512 read with the text |" in card.text


def test_figures_of_audit_and_evidence_are_shown_if_there_are_some(model_dir, tmp_path):
    model = shutil.copytree(model_dir, tmp_path / "model")
    assert "no figures" in (model / "README.md").read_text()
    for name in ("audit_sides.png", "evidence.png", "other.png"):
        (model / name).write_bytes(b"")
    write_model_card(model, *made_of(model))
    card = (model / "README.md").read_text()
    assert "![audit sides](audit_sides.png)" in card and "![evidence](evidence.png)" in card
    assert "other.png" not in card and "no figures" not in card


@pytest.fixture
def beside(model_dir, scans, tmp_path, monkeypatch):
    """A working folder with a model and a scan as the card's examples name them."""
    shutil.copytree(model_dir, tmp_path / "argus-tiny")
    shutil.copy(scans[0], tmp_path / "scan.nii.gz")
    monkeypatch.chdir(tmp_path)
    # Code that travels with the folder is copied into this cache and imported from there.
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    for name in [name for name in sys.modules if name.split(".")[0] == "transformers_modules"]:
        monkeypatch.delitem(sys.modules, name)
    before = set(sys.modules)
    yield (tmp_path / "argus-tiny" / "README.md").read_text()
    for name in [name for name in set(sys.modules) - before if name.split(".")[0] == "transformers_modules"]:
        del sys.modules[name]


def test_the_examples_run_as_they_are_written(beside, argus, capsys):
    first, second = re.findall(r"```python\n(.*?)```", beside, re.DOTALL)
    (command,) = re.findall(r"```\n(argus .*?)\n```", beside)
    reports = []
    for code in (first, second):
        exec(compile(code.replace("max_new_tokens=512", "max_new_tokens=6"), "README.md", "exec"), {})
        reports.append(capsys.readouterr().out.strip())
    code, stdout, _ = argus(*shlex.split(command)[1:], "--max-new-tokens", 6)
    assert code == 0 and stdout.strip()
    assert reports[0].endswith(reports[1]) and stdout.strip() == plain_lines(reports[1])


def test_what_is_published_is_the_card_of_its_repository(model_dir):
    for subject in (model_subject(model_dir), preset_subject("argus-8b-hr")):
        card = render_card(subject)
        assert card_of_repository(card, "lab/argus-1") == render_card(subject, name="lab/argus-1") != card
        assert card_of_repository(render_card(subject, name="lab/argus-1"), "lab/b") == render_card(
            subject, name="lab/argus-1"
        )
        assert card_of_repository(card, "argus-1") == card


def test_provenance_and_card_of_a_trained_model_go_on_from_its_starts(model_dir, tmp_path):
    trained = shutil.copytree(model_dir, tmp_path / "trained")
    continue_model(model_dir, trained, (stage(), RUN), *made_of(model_dir))
    provenance = read_provenance(trained)
    assert provenance.stages == (stage(),) and provenance.vision == read_provenance(model_dir).vision
    assert "| stage 1 | connector |" in (trained / "README.md").read_text()
