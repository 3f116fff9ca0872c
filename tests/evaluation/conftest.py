import sys

import pytest

from argus_evaluation import cli, meteor


@pytest.fixture(scope="session", autouse=True)
def without_java():
    """METEOR's program needs half a minute to start: only its own tests run it, where Java is there."""
    patch = pytest.MonkeyPatch()
    patch.setattr(meteor, "_find_java", lambda: None)
    yield
    patch.undo()


@pytest.fixture
def empty_hub_cache(tmp_path, monkeypatch):
    """The Hub's cache as on a machine that has fetched nothing."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture
def argus(monkeypatch, capsys):
    """Run the console command in this process; give exit code, stdout and stderr."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["argus", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run
