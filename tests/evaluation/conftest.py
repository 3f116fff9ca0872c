import pytest

from argus_evaluation import meteor


@pytest.fixture(scope="session", autouse=True)
def without_java():
    """METEOR's program needs half a minute to start: only its own tests run it, where Java is there."""
    patch = pytest.MonkeyPatch()
    patch.setattr(meteor, "_find_java", lambda: None)
    yield
    patch.undo()
