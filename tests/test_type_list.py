"""The type checker reads every file of every installed folder; it passes over none."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_type_checker_passes_over_no_file():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert "overrides" not in settings and "ignore_errors" not in settings
    folders = {"modeling_argus", "processing", "training", "inference", "evaluation", "cli"}
    assert folders <= set(settings["packages"])
