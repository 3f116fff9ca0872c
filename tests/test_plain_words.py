"""Names of tests and first lines of docstrings that say what they do, for readers from anywhere."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("modeling_argus", "processing", "training", "inference", "evaluation", "hospital", "cli", "bench", "tests")
MAX_TEST_NAME = 70
RIDDLE = re.compile(r"(What|How|Who|Where|Why|When|Whether|Which)(ever)?\b")
# Folders whose modules open with a verb that says what they do; a new verb is added to `VERBS`.
VERB_FOLDERS = ("modeling_argus", "processing", "training", "inference", "evaluation", "hospital", "cli", "bench")
VERBS = set(
    """
    Apply Ask Assemble Build Cache Check Choose Claim Clean Collect Compare Compute Configure Continue Convert Copy
    Count Decide Decode Define Describe Determine Distinguish Draw Encode End Evaluate Fetch Fill Find Generate Give
    Hold Import Judge Keep Learn List Load Look Make Mark Match Measure Name Normalize Offer Open Plan Preprocess
    Pretrain Print Publish Put Rank Read Recognise Reconstruct Refuse Remove Resample Return Run Save Score Select
    Serve Show Skip Sort Split Start Store Stress Take Tell Train Try Turn Write
    """.split()
)


def test_names_of_tests_are_short_enough_to_read():
    long = [
        f"{path}: {node.name}"
        for path, node in documented()
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and len(node.name) > MAX_TEST_NAME
    ]
    assert not long


def test_docstrings_open_with_what_is_done_and_not_with_a_question():
    riddles = [f"{path}: {first_line(node)}" for path, node in documented() if RIDDLE.match(first_line(node))]
    assert not riddles


def test_help_of_options_opens_with_what_they_are_and_not_with_a_question():
    helps = [
        f"{path}: {keyword.value.value}"
        for path in sorted((ROOT / "cli").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "help" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    ]
    assert len(helps) > 50 and not [line for line in helps if RIDDLE.match(line.partition(": ")[2])]


@pytest.mark.parametrize("line", ["What a stage saves", "How it is read", "Where it lies"])
def test_an_opening_question_is_seen(line):
    assert RIDDLE.match(line) and not RIDDLE.match("Compute what a stage saves")


def test_modules_open_with_a_verb():
    modules = [
        (path, first_line(node))
        for path, node in documented()
        if isinstance(node, ast.Module) and path.parts[0] in VERB_FOLDERS and path.name != "__init__.py"
    ]
    assert {path.parts[0] for path, _ in modules} == set(VERB_FOLDERS)
    others = [f"{path}: {line}" for path, line in modules if line.partition(" ")[0] not in VERBS]
    assert not others


@functools.cache
def documented() -> list[tuple[Path, ast.AST]]:
    """Return every module, class and function of the project with its file."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(paths) > 300
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (path.relative_to(ROOT), node)
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, kinds)
    ]


def first_line(node: ast.AST) -> str:
    """Return the first line of a docstring; empty without one."""
    return (ast.get_docstring(node) or "\n").splitlines()[0]
