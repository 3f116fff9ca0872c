import pytest

from argus_evaluation import meteor


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
