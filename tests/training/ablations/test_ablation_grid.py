from pathlib import Path

import pytest
import yaml

from argus_training.ablations.ablation_grid import overlay, read_grid

RECIPES = Path(__file__).parents[3] / "training" / "recipes" / "ablations"
BASE = {
    "data": {"subset": "phantom"},
    "preset": "argus-tiny",
    "llm": "given",
    "llms": {"given": {"path": "llm"}, "trained": {"train": {"max_steps": 1}}},
    "vision": [],
    "objectives": {"labels": {"max_steps": 1}},
    "sft": {"max_steps": 2, "stage2": {"trainable_parts": ["llm"], "learning_rate": 0.5}},
}
GRID = {
    "name": "g",
    "base": "base.yaml",
    "seeds": [0, 1],
    "score": "finding_f1",
    "panels": [
        {
            "axes": {
                "stages": {"2-stage": {}, "1-stage": {"sft": {"stage": "2", "stage2": {"learning_rate": 0.1}}}},
                "steps": {2: {}, 3: {"sft": {"max_steps": 3}}},
            }
        },
        {"axes": {"llm": {"given": {}, "trained": {"llm": "trained"}}}},
    ],
}


def write(folder: Path, grid: dict, base: dict = BASE) -> Path:
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    return folder / "grid.yaml"


def with_override(override: dict) -> dict:
    return GRID | {"panels": [{"axes": {"x": {"a": override}}}]}


def test_a_panel_crosses_its_axes_and_cells_of_equal_settings_are_one(tmp_path):
    grid = read_grid(write(tmp_path, GRID))
    assert [cell.name for cell in grid.panels[0].cells] == ["2-stage, 2", "2-stage, 3", "1-stage, 2", "1-stage, 3"]
    # "given" is the base recipe itself, as "2-stage, 2" is.
    assert [cell.name for cell in grid.cells()] == ["2-stage, 2", "2-stage, 3", "1-stage, 2", "1-stage, 3", "trained"]
    last = grid.panels[0].cells[3].settings["sft"]
    assert last == {"max_steps": 3, "stage": "2", "stage2": {"trainable_parts": ["llm"], "learning_rate": 0.1}}


def test_an_overlay_joins_mappings_replaces_lists_and_keeps_the_base():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert overlay(base, {"a": {"c": [3]}, "d": {"e": 2}}) == {"a": {"b": 1, "c": [3]}, "d": {"e": 2}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"sfft": {}}, "sfft"),
        ({"sft": {"learning_rat": 1}}, "sft: no such setting: learning_rat"),
        ({"sft": {"stage2": {"trainable_parts": ["lm"]}}}, "trainable_parts is a list out of"),
        ({"create": {"compresor": "none"}}, "create: no such setting: compresor"),
        ({"create": {"seed": 3}}, "create: no such setting: seed"),
        ({"vision": ["none such"]}, "unknown objective 'none such'; known: labels"),
        ({"vision": ["labels"], "objectives": {"labels": {"epochs": 1}}}, "objectives.labels: no such setting: epochs"),
        ({"llm": "8b"}, "llm: unknown '8b'; known: given, trained"),
        ({"llms": {"given": {"train": {}}}}, "either path or train"),
        ({"evaluation": {"splits": "test"}}, "evaluation: no such setting: splits"),
        ({"trainer": {"output_dir": "x"}}, "trainer: no such setting: output_dir"),
        ({"trainer": None}, "trainer: expected a mapping of names to settings, got None"),
        ({"objectives": {"labels": None}}, "objectives.labels: expected a mapping"),
        ({"llms": {"given": {"path": 8}}}, "llms.given.path: expected a folder or an id, got 8"),
        ({"vision": 3}, "vision: expected objectives, a folder, or weights to convert, got 3"),
        ({"preset": ["argus-tiny"]}, "unhashable|unknown preset"),
        ({"data": {"subset": "mimic"}}, "data.subset: unknown 'mimic'; known: phantom, all, "),
        ({"create": {"compressor": "zip"}}, "create.compressor: unknown 'zip'; known: None, pixel_shuffle"),
        ({"create": {"tower": "eiffel"}}, "create.tower: unknown 'eiffel'; known: argus, "),
        ({"create": {"dtype": "float16"}}, "create.dtype: unknown 'float16'; known: bfloat16, float32"),
        ({"evaluation": {"subsets": ["ct-rat"]}}, "evaluation.subsets: unknown 'ct-rat'; known: "),
        ({"evaluation": {"clinical": "green"}}, "evaluation.clinical: expected a list of names, got 'green'"),
        ({"evaluation": {"split": "tset"}}, "evaluation.split: unknown 'tset'; known: train, validation, test"),
        ({"evaluation": {"batch_size": 0}}, "evaluation.batch_size: expected a whole number from 1, got 0"),
        ({"choose": ["hr"]}, "choose: expected a mapping"),
    ],
)
def test_an_unknown_setting_is_refused_with_file_and_cell(tmp_path, override, message):
    with pytest.raises(ValueError, match=message) as refused:
        read_grid(write(tmp_path, with_override(override)))
    assert "grid.yaml: a: " in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, "names a score"),
        ({"base": "none.yaml"}, "none.yaml: no such recipe"),
        ({"axis": {}}, "no such key: axis"),
        ({"seeds": []}, "seeds is a list of distinct"),
        ({"seeds": [1, 1]}, "seeds is a list of distinct"),
        ({"kind": "none such"}, "unknown kind 'none such'"),
        ({"panels": [{"axes": {"x": ["a"]}}]}, "axis 'x' is a mapping"),
        ({"panels": [{"axes": {"x": {}}}]}, "axis 'x' is a mapping"),
        ({"panels": [{"axes": {}}]}, "axes: give at least one"),
        ({"panels": [{"axes": ["x"]}]}, "panels/axes: expected a mapping, got"),
        ({"panels": ["x"]}, "panels: expected a mapping, got 'x'"),
        ({"panels": []}, "panels: give at least one"),
        ({"panels": None}, "panels: expected a list, got None"),
        ({"seeds": 3}, "seeds: expected a list, got 3"),
        ({"seeds": [[1]]}, r"seeds: expected a whole number, got \[1\]"),
        ({"name": 7}, "name: expected a text, got 7"),
        ({"name": "../up"}, "name: letters, digits, dots, hyphens and underscores only, got '../up'"),
        ({"metrics": "GREEN"}, "metrics: expected a list, got 'GREEN'"),
        ({"settings": ["x"]}, "settings: expected a mapping"),
        ({3: {}}, "no such key: 3"),
        ({"panels": [{"axes": {"x": {"a": {}}}, "paper": {"axis": "y", "order": ["a"]}}]}, "unknown axis 'y'"),
        ({"panels": [{"axes": {"x": {"a": {}}}, "paper": {"axis": "x", "order": ["b"]}}]}, "names 'b'"),
    ],
)
def test_a_wrong_grid_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read_grid(write(tmp_path, GRID | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices": ["hr"]}, "choices: expected a mapping"),
        ({"choices": {"resolution": {"hr": None}}}, "choices/resolution/hr: expected a mapping, got None"),
        ({"objectives": ["mae"]}, "objectives: expected a mapping"),
        ({"score": 3}, "score: expected a text, got 3"),
    ],
)
def test_a_base_recipe_of_another_form_is_refused_with_its_file(tmp_path, change, message):
    with pytest.raises(ValueError, match=f"base.yaml: {message}"):
        read_grid(write(tmp_path, GRID, BASE | change))


def test_another_base_recipe_takes_the_place_of_the_grids_own(tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(BASE | {"preset": "argus-8b-hr"}))
    assert all(cell.settings["preset"] == "argus-8b-hr" for cell in read_grid(write(tmp_path, GRID), other).cells())


def test_an_objective_may_be_a_pretraining_recipe(tmp_path):
    said = {"objective": "mae", "preset": "argus-8b-nr", "output_dir": "x", "seed": 3, "learning_rate": 0.5}
    (tmp_path / "mae.yaml").write_text(yaml.safe_dump(said))
    base = BASE | {"objectives": {"mae": "mae.yaml"}}
    override = {"vision": ["mae"], "objectives": {"mae": {"objective_options": {"mask_ratio": 0.9}}}}
    (cell,) = read_grid(write(tmp_path, with_override(override), base)).cells()
    assert cell.settings["objectives"]["mae"] == {"learning_rate": 0.5, "objective_options": {"mask_ratio": 0.9}}


def test_a_grid_chooses_by_name_and_its_own_settings_win(tmp_path):
    base = BASE | {"choices": {"resolution": {"hr": {"preset": "argus-8b-hr", "sft": {"max_steps": 7}}}}}
    (cell,) = read_grid(write(tmp_path, with_override({"choose": {"resolution": "hr"}}), base)).cells()
    assert cell.settings == BASE | {"preset": "argus-8b-hr", "sft": BASE["sft"] | {"max_steps": 7}}
    both = with_override({"choose": {"resolution": "hr"}, "sft": {"max_steps": 8}})
    (cell,) = read_grid(write(tmp_path, both, base)).cells()
    assert cell.settings["sft"]["max_steps"] == 8 and "choose" not in cell.settings


@pytest.mark.parametrize(
    ("choose", "message"),
    [({"resolution": "lr"}, "no resolution 'lr'; known: hr"), ({"size": "8B"}, "the base recipe has no size '8B'")],
)
def test_what_the_base_recipe_does_not_name_cannot_be_chosen(tmp_path, choose, message):
    base = BASE | {"choices": {"resolution": {"hr": {"preset": "argus-8b-hr"}}}}
    with pytest.raises(ValueError, match=message):
        read_grid(write(tmp_path, with_override({"choose": choose}), base))


def test_of_two_choices_the_kind_that_the_base_recipe_lists_later_wins(tmp_path):
    choices = {"size": {"70B": {"sft": {"lora_r": 128}}}, "system": {"M3D": {"sft": {"lora_r": 16}}}}
    for choose in ({"size": "70B", "system": "M3D"}, {"system": "M3D", "size": "70B"}):
        (cell,) = read_grid(write(tmp_path, with_override({"choose": choose}), BASE | {"choices": choices})).cells()
        assert cell.settings["sft"]["lora_r"] == 16


GRIDS = sorted(path for path in RECIPES.glob("*.yaml") if "panels:" in path.read_text())
NUM_CELLS = {
    "demo": 4,  # the best compressor and two stages are the same cell
    "figure3": 5 * 3 * 2 * 2 + 6,  # of the eight cells that are ours, two are the paper's too
    "figure4": 8,
    "figure5": 8,
    "figure6": 24,
    "figure6_phantom": 16,
    "resampling": 16,
    "table2": 24,
    "table2_phantom": 4,
}


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_of_the_repository_expands_on_phantoms_and_on_patients(path):
    grid = read_grid(path)
    assert len(grid.cells()) == NUM_CELLS[path.stem]
    assert len(grid.seeds) >= 3 or path.stem == "table2_phantom"
    if grid.kind == "reports" and path.stem != "figure6_phantom":
        assert len(read_grid(path, RECIPES / "ct3drrg.yaml").cells()) == NUM_CELLS[path.stem]
