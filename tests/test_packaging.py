"""The wheel: every file that is used, nothing else, and no library that is not declared."""

import ast
import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
# folder -> the name it is imported by
PACKAGES = {folder: name for name, folder in re.findall(r"(\w+) = (\w+)", SETUP["options"]["package_dir"])}
BUILT = Path("inference/viewer/niivue/niivue.js")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the project, because setuptools writes beside what it builds."""
    source = tmp_path_factory.mktemp("source") / "argus"
    ignored = shutil.ignore_patterns(".git", ".venv", "runs", "tests", "bench", "__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=ignored)
    return source


@pytest.fixture(scope="module")
def built(source, tmp_path_factory) -> tuple[Path, str]:
    """The wheel, unpacked, and what building it said."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "--no-cache-dir"]
    done = subprocess.run([*command, "-v", "-w", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked", done.stdout + done.stderr


def warnings_in(said: str) -> list[str]:
    # setuptools frames what it tells of an installation in "!!".
    lines = [line for line in said.splitlines() if re.search("warning|deprecat|absent|!!", line, re.IGNORECASE)]
    # pip builds without bytecode and says so.
    return [line for line in lines if "byte-compiling is disabled" not in line]


def test_the_build_warns_of_nothing(built):
    assert warnings_in(built[1]) == []


def test_an_editable_install_warns_of_nothing(source, tmp_path):
    # What `pip install -e` has the build do, without installing.
    program = "from setuptools import build_meta; import sys; build_meta.build_editable(sys.argv[1])"
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0 and list(tmp_path.glob("argus_ct-*.whl"))
    assert warnings_in(done.stdout + done.stderr) == []


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(built):
    held = {path.relative_to(built[0]).as_posix() for path in built[0].rglob("*") if path.is_file()}
    held = {name for name in held if not name.split("/")[0].endswith(".dist-info")}
    tracked = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    files = [Path(name) for name in tracked.stdout.splitlines()]
    # What `make viewer` builds is in the wheel of who builds it, and never in git.
    assert BUILT not in files
    files += [BUILT] if (ROOT / BUILT).exists() else []
    assert held == {Path(PACKAGES[file.parts[0]], *file.parts[1:]).as_posix() for file in files}


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The programs of an environment with the wheel and the libraries, and nothing of the checkout."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, symlinks=True)
    libraries = root / "libraries"
    libraries.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "argus" not in path.name:
            (libraries / path.name).symlink_to(path)
    (site,) = root.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(str(libraries))
    (wheel,) = built[0].parent.glob("*.whl")
    options = ("--no-deps", "--no-index", "--no-compile", "--quiet")
    pip = [sys.executable, "-m", "pip", "--python", str(root / "bin" / "python"), "install", *options, str(wheel)]
    subprocess.run(pip, check=True)
    return root / "bin"


def test_the_command_runs_from_the_wheel_alone(installed, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"COLUMNS": "80"}
    runs = (["argus", "--help"], ["python", "-c", "import argus_cli.main; print(argus_cli.main.__file__)"])
    commands = ([str(installed / program), *words] for program, *words in runs)
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": True}
    told, place = (subprocess.run(command, **options).stdout for command in commands)
    assert "evaluate" in told and "report" in told
    assert place.startswith(str(installed.parent))


def test_the_command_tells_its_version(argus):
    code, stdout, _ = argus("--version")
    assert (code, stdout.strip()) == (0, f"argus {PROJECT['version']}")


def test_citation_and_changelog_are_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]
    assert f"## {PROJECT['version']} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# import name -> package of those that the tests do not install
NOT_INSTALLED = {"CRIMSON": "crimson-score", "llama_cpp": "llama-cpp-python"}


def test_every_imported_library_is_declared():
    declared = [*PROJECT["dependencies"], *sum(PROJECT["optional-dependencies"].values(), [])]
    declared = {canonicalize_name(Requirement(line).name) for line in declared}
    distributions = importlib.metadata.packages_distributions()
    for folder in PACKAGES:
        for path in (ROOT / folder).rglob("*.py"):
            for name in _top_names(path) - sys.stdlib_module_names - set(PACKAGES.values()):
                owners = {
                    canonicalize_name(owner) for owner in distributions.get(name, [NOT_INSTALLED.get(name, name)])
                }
                assert owners & declared, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-oldest.txt"])
def test_ranges_hold_what_was_tried_and_begin_with_the_oldest(file):
    lines = (ROOT / file).read_text().splitlines()
    tried = {canonicalize_name(name): pin for name, _, pin in (line.partition("==") for line in lines)}
    for line in [*PROJECT["dependencies"], *sum(PROJECT["optional-dependencies"].values(), [])]:
        requirement = Requirement(line)
        if pin := tried.get(canonicalize_name(requirement.name)):
            assert requirement.specifier.contains(pin), line
            oldest = re.search(r"[>=]=([\d.]+)", line)[1]
            assert file == "constraints.txt" or Version(pin).release[:2] == (*Version(oldest).release, 0)[:2], line


def test_the_page_on_installing_names_every_extra_with_its_packages():
    rows = re.findall(r"^\| `([\w-]+)` \| (.*?) \| .+ \|$", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)
    extras = {
        name: ", ".join(Requirement(line).name for line in lines)
        for name, lines in PROJECT["optional-dependencies"].items()
    }
    assert dict(rows) == extras


def _top_names(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names
