"""A plan with a grid of two systems and one of stages, for tiny models, in a folder of its own."""

from pathlib import Path

import pytest
import yaml

BASE = {
    "score": "report_loss",
    "data": {"subset": "all", "subset_options": {"data_dir": "data"}},
    "preset": "argus-tiny",
    "llm": "given",
    "llms": {"given": {"path": "llm"}},
    "vision": ["mae"],
    "objectives": {"mae": {"max_steps": 1}},
    "create": {"dtype": "float32"},
    "trainer": {"max_steps": 1, "use_cpu": True, "bf16": False, "report_to": "none"},
    "sft": {"gradient_checkpointing": False},
    "evaluation": {"subsets": ["ct-rate", "inspect"], "clinical": ["stand-in"]},
}
SYSTEMS = {
    "name": "table2",
    "base": "base.yaml",
    "seeds": [0, 1],
    "panels": [
        {
            "axes": {
                "system": {"M3D": {"create": {"tower": "m3d"}, "vision": []}, "Argus": {}},
                "resolution": {"nr": {}},
            }
        }
    ],
}
STAGES = {
    "name": "figure4",
    "base": "base.yaml",
    "seeds": [0],
    "panels": [{"axes": {"stages": {"2-stage": {}, "1-stage": {"sft": {"stage": "2"}}}}}],
}
PLAN = {
    "prepare": {"phantoms": {"ct-rate": 8, "inspect": 9}, "workers": 2},
    "base": "base.yaml",
    "grids": ["table2.yaml", "figure4.yaml"],
    "figure7": {"subset": "ct-rate", "systems": ["M3D nr", "Argus nr"]},
    "table4": {"systems": ["Argus nr"], "cases": 2},
}


@pytest.fixture
def plan_file(tmp_path, monkeypatch) -> Path:
    """The plan's file; the working directory is another folder than the plan's."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for name, content in (("base", BASE), ("table2", SYSTEMS), ("figure4", STAGES), ("plan", PLAN)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    return Path("recipes/plan.yaml")


@pytest.fixture
def change(plan_file):
    """Change keys of the plan; the launcher's configurations that it names are there, as empty files."""

    def write(**keys) -> Path:
        for name in keys.get("launcher", {}).get("configs", {}).values():
            (plan_file.parent / name).touch()
        content = yaml.safe_load(plan_file.read_text()) | keys
        plan_file.write_text(yaml.safe_dump(content, sort_keys=False))
        return plan_file

    return write
