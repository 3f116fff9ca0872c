"""The page on the paper: every file, command, setting and measured interval that it names is there."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from typer.main import get_command

from argus_cli.main import app
from argus_evaluation.reproduction.paper_plan import Launcher
from argus_processing.storage.typed_json import from_json

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
CODES = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
BLOCKS = [
    line
    for block in re.findall(r"^```\n(.*?)^```", re.sub(r"```yaml.*?```", "", PAGE, flags=re.S), re.S | re.M)
    for line in block.splitlines()
]
FOLDERS = {"modeling_argus", "processing", "training", "inference", "evaluation", "cli", "bench", "hub_cards", "tests"}
PATHS = sorted({code for code in CODES if code.split("/")[0] in FOLDERS and "/" in code and " " not in code})
PROGRAMS = ("argus", "torchrun", "accelerate", "make")
COMMANDS = sorted({code for code in [*CODES, *BLOCKS] if code.split()[0] in PROGRAMS and " " in code})
RECIPES = sorted((ROOT / "training" / "recipes").glob("argus_*.yaml"))
SETTINGS = re.findall(r"`([a-z0-9_]+: [^`]+)`", PAGE.split("## The paper's hyper-parameters")[1])
MEASURED = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/ablations.md"))


@pytest.mark.parametrize("path", PATHS)
def test_every_file_that_it_names_is_there(path):
    assert list(ROOT.glob(path.rstrip("/")))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_it_names_is_one(command):
    program, *words = shlex.split(command.replace("torchrun --nproc-per-node 8 -m argus_cli", "argus"))
    if program == "argus":
        # Typer's parser: unknown commands and options, and missing arguments, are errors.
        group = get_command(app)
        group.commands[words[0]].make_context(words[0], words[1:])
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    else:
        files = [word for word in words if word.endswith((".py", ".yaml"))]
        assert any(file.endswith(".py") for file in files) and all((ROOT / file).is_file() for file in files)


def test_a_wrong_command_would_be_seen():
    with pytest.raises(typer.TyperException, match="--modle"):
        get_command(app).commands["evaluate"].make_context("evaluate", ["OUT", "--modle", "DIR"])
    assert len(PATHS) > 30 and len(COMMANDS) > 18


def test_the_launcher_that_it_shows_can_be_read():
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    launcher = from_json(Launcher, yaml.safe_load(block)["launcher"])
    assert launcher.kind == "slurm" and launcher.processes == 8 * launcher.nodes
    plans = ROOT / "training" / "recipes" / "paper"
    assert all((plans / name).is_file() for name in launcher.configs.values())


def test_every_section_table_and_figure_of_the_paper_has_its_place():
    cells = [row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| ")]
    named = {name.strip() for cell in cells for name in cell.split(",")}
    sections = {"3.1", "3.2", "3.3", "4.1", "4.2", "5.1", "5.2", "6", "A", "B", "C"}
    figures = {f"Figure {number}" for number in (2, 3, 4, 5, 6, 7)}
    assert named >= sections | figures | {f"Table {number}" for number in (1, 2, 3, 4)} and "Figure 1 " in PAGE


def test_the_recipes_have_the_settings_that_it_gives():
    assert (len(RECIPES), len(SETTINGS)) == (6, 14)
    settings = [item for setting in SETTINGS for item in yaml.safe_load(setting).items()]
    adapters = {"use_peft", "lora_r", "lora_alpha", "lora_dropout"}
    for path in RECIPES:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        expected = {key: value for key, value in settings if "70b" in path.name or key not in adapters}
        assert {key: recipe.get(key) for key in expected} == expected, path.name
        assert "70b" in path.name or not adapters & set(recipe)


def test_what_it_says_was_measured_stands_in_the_measured_tables():
    intervals = re.findall(r"([+-][\d.]+)(?: finding F1)?, 95% CI ([+-][\d.]+ to [+-][\d.]+)", PAGE)
    assert len(intervals) == PAGE.count("95% CI") == 5
    for difference, interval in intervals:
        assert f"{difference}, 95% CI {interval}" in MEASURED
    assert "keeps 0.561 of its contrast at high resolution, 0.982 with `direct`" in PAGE
    assert "| 3 mm | paper | hr | 0.561 " in MEASURED and "| 3 mm | direct | hr | 0.982 " in MEASURED
