"""Trainings named by their settings, shared where cells begin alike."""

import json
from pathlib import Path

import pytest

from argus_training.ablations import ablation_steps
from argus_training.ablations.ablation_grid import overlay, read_grid
from argus_training.ablations.ablation_steps import last_step, model_of, run_step

SETTINGS = {
    "data": {"subset": "phantom", "subset_options": {"num_train": 4}},
    "preset": "argus-tiny",
    "llm": "tiny",
    "llms": {"tiny": {"train": {"max_steps": 1, "text_model": {"hidden_size": 64}}}},
    "vision": ["labels", "more"],
    "objectives": {"labels": {"max_steps": 1}, "more": {"max_steps": 2, "learning_rate": 0.1}},
    "create": {"compressor": "pixel_shuffle"},
    "trainer": {"use_cpu": True, "learning_rate": 0.5},
    "sft": {
        "stage1": {"trainable_parts": ["connector"]},
        "stage2": {"trainable_parts": ["llm"]},
    },
}


def names(settings: dict, seed: int = 0) -> dict[str, str]:
    steps = last_step(settings, seed).with_needs()
    kinds = ["language", "vision 1", "vision 2", "create", "stage 1", "stage 2"]
    return dict(zip(kinds, (step.name for step in steps), strict=True))


def changed(override: dict, seed: int = 0) -> set[str]:
    before, after = names(SETTINGS), names(overlay(SETTINGS, override), seed)
    return {kind for kind in before if before[kind] != after[kind]}


def test_a_change_renames_the_step_it_belongs_to_and_those_after_it_only():
    assert changed({"sft": {"stage2": {"trainable_parts": ["vision"]}}}) == {"stage 2"}
    assert changed({"sft": {"stage1": {"max_steps": 5}}}) == {"stage 1", "stage 2"}
    assert changed({"create": {"compressor": "perceiver"}}) == {"create", "stage 1", "stage 2"}
    assert changed({"objectives": {"more": {"max_steps": 3}}}) == {"vision 2", "create", "stage 1", "stage 2"}
    assert changed({"llms": {"tiny": {"train": {"max_steps": 2}}}}) == {"language", "create", "stage 1", "stage 2"}
    assert changed({}, seed=1) == {"create", "stage 1", "stage 2"}
    assert changed({"evaluation": {"limit": 3}}) == set()


def test_the_demos_steps_keep_their_folders_from_one_version_to_the_next():
    grid = read_grid(Path(ablation_steps.__file__).parents[1] / "recipes" / "ablations" / "demo.yaml")
    assert [step.name for step in last_step(grid.cells()[0].settings, 0).with_needs()] == [
        "language-e59d517461291392",
        "vision-ba2dbe1bec8063b5",
        "create-11e33ac8086c7f93",
        "sft-0f51f4139aeb65a7",
        "sft-534613ec4c58af68",
    ]


def test_a_language_model_may_learn_from_other_data_than_the_cells():
    data = {"subset": "phantom", "subset_options": {"num_train": 9}}
    other = overlay(SETTINGS, {"data": {"subset": "all"}, "llms": {"tiny": {"train": {"data": data}}}})
    language, vision, *_ = last_step(other, 0).with_needs()
    assert language.settings["data"] == data and vision.settings["subset"] == "all"


def test_the_trainers_common_settings_are_under_each_trainings_own():
    steps = {step.name.split("-")[0] + str(n): step for n, step in enumerate(last_step(SETTINGS, 3).with_needs())}
    assert steps["vision1"].settings["learning_rate"] == 0.5
    assert steps["vision2"].settings["learning_rate"] == 0.1
    assert steps["vision2"].settings["objective"] == "more" and steps["vision2"].settings["seed"] == 0
    assert steps["create3"].settings == {"compressor": "pixel_shuffle", "preset": "argus-tiny", "seed": 3}
    assert steps["sft5"].settings["seed"] == 3 and steps["sft5"].settings["stage"] == "2"


def test_an_objective_may_set_the_tower_but_not_its_grid():
    assert changed({"objectives": {"labels": {"vision": {"initializer_range": 0.05}}}}) == {
        *("vision 1", "vision 2", "create", "stage 1", "stage 2")
    }
    for setting in ("image_size", "patch_size", "colour"):
        with pytest.raises(ValueError, match=f"objectives.labels.vision: no such setting: {setting}"):
            last_step(overlay(SETTINGS, {"objectives": {"labels": {"vision": {setting: 8}}}}), 0)


def test_one_stage_is_one_step_from_the_assembled_model():
    kinds = [step.kind for step in last_step(overlay(SETTINGS, {"sft": {"stage": "2"}}), 0).with_needs()]
    assert kinds == ["language", "vision", "vision", "create", "sft"]


def test_given_folders_are_settings_and_no_steps():
    given = overlay(SETTINGS, {"llms": {"tiny": {"path": "some/llm"}}, "vision": "some/tower"})
    given["llms"]["tiny"].pop("train")
    create = last_step(given, 0).with_needs()[0]
    assert create.kind == "create"
    assert create.settings["llm"] == "some/llm" and create.settings["vision"] == "some/tower"
    by_resolution = given | {"vision": "towers/m3d-{resolution}", "preset": "argus-8b-hr"}
    assert last_step(by_resolution, 0).with_needs()[0].settings["vision"] == "towers/m3d-hr"


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    """Steps that were run, each leaving an empty model behind."""
    done: list[str] = []

    def leave_a_model(step, own: Path, needs: list[Path], folder: Path) -> None:
        assert all((need / "config.json").exists() for need in needs)
        done.append(step.name)
        model = model_of(step, folder)
        model.mkdir(parents=True)
        (model / "config.json").write_text("{}")

    monkeypatch.setattr(ablation_steps, "RUNNERS", dict.fromkeys(ablation_steps.RUNNERS, leave_a_model))
    return done


def test_what_cells_share_is_run_once_and_what_is_done_never_again(ran, tmp_path):
    pooled = overlay(SETTINGS, {"create": {"compressor": "average_pooling"}})
    for settings in (SETTINGS, pooled, SETTINGS):
        for seed in (0, 1, 2):
            run_step(last_step(settings, seed), tmp_path)
    counts = {kind: sum(name.startswith(kind) for name in ran) for kind in ("language", "vision", "create", "sft")}
    assert counts == {"language": 1, "vision": 2, "create": 6, "sft": 12}
    assert len(set(ran)) == len(ran)


def test_a_folder_with_other_settings_is_refused(ran, tmp_path):
    step = last_step(SETTINGS, 0)
    run_step(step, tmp_path)
    said = tmp_path / step.name / "step.json"
    content = json.loads(said.read_text())
    assert content["seconds"] >= 0 and content["needs"] == [step.needs[0].name]
    content["settings"]["learning_rate"] = 7
    said.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"other settings \(learning_rate 7, not "):
        run_step(step, tmp_path)
