"""The direction of imports between folders, and what a file that travels to the Hub may import."""

import ast
from pathlib import Path

import pytest
from transformers.dynamic_module_utils import get_relative_import_files

ROOT = Path(__file__).parent.parent
# In order: a folder imports those before it, never those after.
FOLDERS = {
    "modeling_argus": "modeling_argus",
    "processing": "argus_processing",
    "training": "argus_training",
    "evaluation": "argus_evaluation",
}
SHIPPED_ENTRIES = (
    "modeling_argus/modeling_argus.py",
    "modeling_argus/vision_argus.py",
    "processing/image_processing_argus.py",
    "processing/processing_argus.py",
)
SHIPPED = sorted(
    {str(file) for entry in SHIPPED_ENTRIES for file in [ROOT / entry, *get_relative_import_files(str(ROOT / entry))]}
)


def imports_of(path: Path) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]


def top_names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [] if node.level else [(node.module or "").split(".")[0]]
    return [alias.name.split(".")[0] for alias in node.names]


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_run_one_way(folder):
    names = list(FOLDERS.values())
    below = set(names[names.index(FOLDERS[folder]) + 1 :])
    for path in (ROOT / folder).glob("*.py"):
        found = {name for node in imports_of(path) for name in top_names(node)} & below
        assert not found, f"{path} imports {found}"


def test_in_processing_only_the_package_itself_imports_the_model():
    for path in (ROOT / "processing").glob("*.py"):
        names = {name for node in imports_of(path) for name in top_names(node)}
        assert "modeling_argus" not in names or path.name == "__init__.py", path


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_files_are_flat(path):
    for node in imports_of(Path(path)):
        assert not set(top_names(node)) & set(FOLDERS.values())
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1 and node.module and "." not in node.module, ast.unparse(node)


def test_shipped_names_are_unique_and_the_known_files_are_among_them():
    names = [Path(path).name for path in SHIPPED]
    assert len(names) == len(set(names))
    assert {"modeling_argus.py", "connector_argus.py", "resampling.py", "read_dicom.py", "ct_checks.py"} <= set(names)


def test_no_file_in_training_shadows_a_library():
    # `accelerate launch training/sft.py` puts the folder first on sys.path.
    import importlib.metadata

    libraries = {name.lower() for name in importlib.metadata.packages_distributions()}
    libraries -= set(FOLDERS.values())
    for path in (ROOT / "training").glob("*.py"):
        assert path.stem == "__init__" or path.stem.lower() not in libraries, path
