"""The direction of imports between folders, and what a file that travels to the Hub may import."""

import ast
import configparser
import importlib.metadata
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from transformers.dynamic_module_utils import get_imports, get_relative_import_files

ROOT = Path(__file__).parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
# folder -> the name it is imported by
PACKAGES = {folder: name for name, folder in re.findall(r"(\w+) = (\w+)", SETUP["options"]["package_dir"])}
# A folder imports from the floors below its own, never from its own floor or from above.
FLOORS = (("modeling_argus",), ("processing",), ("training", "inference"), ("evaluation", "hospital"), ("cli", "bench"))
SHIPPED_ENTRIES = (
    "modeling_argus/modeling_argus.py",
    "modeling_argus/vision_argus.py",
    "processing/image_processing_argus.py",
    "processing/processing_argus.py",
)
SHIPPED = sorted(
    {str(file) for entry in SHIPPED_ENTRIES for file in [ROOT / entry, *get_relative_import_files(str(ROOT / entry))]}
)
FILES = {path.relative_to(ROOT): path for folder in sum(FLOORS, ()) for path in (ROOT / folder).rglob("*.py")}
# Read and run by `evaluate` as a file of its own.
LOADED_ALONE = {Path(f"evaluation/metrics/{name}/{name}.py") for name in ("argus_nlp", "argus_labels")}


def imports_of(path: Path) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]


def top_names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [] if node.level else [(node.module or "").split(".")[0]]
    return [alias.name.split(".")[0] for alias in node.names]


def imported_files(file: Path) -> set[Path]:
    """Files of the project that a file of it imports, wherever in it the import stands."""
    found = set()
    for node in imports_of(ROOT / file):
        for name in dotted_names(file, node):
            path = Path(*name.split("."))
            found |= {each for each in (path.with_suffix(".py"), path / "__init__.py") if each in FILES}
    return found - {file}


def dotted_names(file: Path, node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the modules that an import may name, as folders of the repository: "processing.storage.whole_files"."""
    folders = {package: folder for folder, package in PACKAGES.items()}
    if isinstance(node, ast.ImportFrom) and node.level:
        base = list(file.parts[: -node.level]) + (node.module or "").split(".") * bool(node.module)
        bases = [base]
    elif isinstance(node, ast.ImportFrom):
        bases = [node.module.split(".")]
    else:
        bases = [alias.name.split(".") for alias in node.names]
    bases = [[folders.get(base[0], base[0]), *base[1:]] for base in bases if base]
    if not isinstance(node, ast.ImportFrom):
        return [".".join(base) for base in bases]
    return [".".join([*bases[0], *more]) for more in ([], *([alias.name] for alias in node.names))]


def floor_of(folder: str) -> int:
    return next(number for number, folders in enumerate(FLOORS) if folder in folders)


def test_the_files_of_every_room_are_seen():
    rooms = {file.parent.as_posix() for file in FILES}
    assert {
        "processing/phantom",
        "training/stages",
        "inference/serving",
        "evaluation/metrics/clinical",
        "hospital/series",
    } <= rooms
    assert {folder for folders in FLOORS for folder in folders} - {"bench"} == set(PACKAGES) - {"hub_cards"}
    assert Path("processing/storage/whole_files.py") in imported_files(Path("processing/phantom/files.py"))
    assert Path("processing/storage/whole_files.py") in imported_files(Path("evaluation/tables/table2_text.py"))


@pytest.mark.parametrize("folder", sum(FLOORS, ()))
def test_imports_run_down_the_floors(folder):
    for file in FILES:
        if file.parts[0] != folder:
            continue
        for other in imported_files(file):
            if other.parts[0] != folder:
                assert floor_of(other.parts[0]) < floor_of(folder), f"{file} imports {other}"


def test_to_read_a_prepared_folder_loads_no_rules_and_no_judges():
    loaded = "import sys, argus_processing; print(*sorted(name for name in sys.modules if name.startswith('argus_')))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    curation = {name for name in done.stdout.split() if name.startswith("argus_processing.curation.")}
    assert curation == {"argus_processing.curation.prepared_folder"}


def test_no_circle_of_imports():
    edges = {file: imported_files(file) for file in FILES if file.name != "__init__.py"}
    done: set[Path] = set()

    def walk(file: Path, trail: tuple[Path, ...]) -> None:
        assert file not in trail, " -> ".join(map(str, (*trail[trail.index(file) :], file)))
        if file not in done:
            for other in sorted(edges.get(file, ())):
                walk(other, (*trail, file))
            done.add(file)

    for file in sorted(edges):
        walk(file, ())


def test_in_processing_only_the_package_itself_imports_the_model():
    for file, path in FILES.items():
        if file.parts[0] == "processing":
            names = {name for node in imports_of(path) for name in top_names(node)}
            assert "modeling_argus" not in names or file == Path("processing/__init__.py"), file


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_files_are_flat(path):
    for node in imports_of(Path(path)):
        assert not set(top_names(node)) & set(PACKAGES.values())
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1 and node.module and "." not in node.module, ast.unparse(node)


@pytest.mark.parametrize("path", SHIPPED)
def test_a_shipped_file_asks_for_few_libraries_at_the_hub(path):
    # transformers looks for each in every file before it takes a model from there: pydicom and isal may be missing
    assert set(get_imports(path)) - sys.stdlib_module_names <= {"nibabel", "numpy", "torch", "transformers"}


def test_shipped_names_are_unique_and_the_known_files_are_among_them():
    names = [Path(path).name for path in SHIPPED]
    assert len(names) == len(set(names))
    assert {"modeling_argus.py", "connector_argus.py", "resampling.py", "read_dicom.py", "ct_checks.py"} <= set(names)


def test_no_name_in_training_or_bench_shadows_a_library():
    # `accelerate launch training/sft.py` and `python bench/...` put their folder first on sys.path.
    libraries = {name.lower() for name in importlib.metadata.packages_distributions()} - set(PACKAGES.values())
    libraries |= sys.stdlib_module_names
    for folder in ("training", "bench"):
        for path in (ROOT / folder).iterdir():
            if path.suffix in ("", ".py") and path.stem not in ("__init__", "__pycache__"):
                assert path.stem.lower() not in libraries, path


def test_no_file_name_is_in_two_rooms():
    # The files of the command line are named by its commands.
    names = Counter(file.name for file in FILES if file.parts[0] != "cli" and file.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_the_readme_tells_what_lives_in_every_room():
    layout = (ROOT / "README.md").read_text(encoding="utf-8").split("## Layout")[1]
    assert [room for room in {file.parent for file in FILES} if f"{room.name}/`" not in layout] == []


def test_no_room_is_crowded():
    shipped = {Path(path) for path in SHIPPED}
    for room in {path.parent for path in FILES.values()}:
        own = [path for path in room.glob("*.py") if path.name != "__init__.py" and path not in shipped]
        assert len(own) <= 15, f"{room}: {len(own)} files"


def test_every_folder_of_code_is_a_package_that_is_installed():
    listed = set(SETUP["options"]["packages"].split())
    rooms = {file.parent for file in FILES if file.parts[0] in PACKAGES and file not in LOADED_ALONE}
    assert all(room / "__init__.py" in FILES for room in rooms)
    assert listed - {"argus_hub_cards"} == {".".join((PACKAGES[room.parts[0]], *room.parts[1:])) for room in rooms}
