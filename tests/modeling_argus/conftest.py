"""A whole model small enough for a test, of any tower and compressor."""

from collections.abc import Callable

import pytest
from tiny_models import PAIRS, make_model

from modeling_argus import ArgusForConditionalGeneration
from modeling_argus.presets_argus import TOWER_COMPRESSORS


@pytest.fixture(scope="session")
def make() -> Callable[..., ArgusForConditionalGeneration]:
    """`make(tower, compressor)` gives a model of random weights, the same each time."""
    return make_model


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request) -> ArgusForConditionalGeneration:
    """A model of every tower with every compressor."""
    return make_model(*request.param)


@pytest.fixture(params=TOWER_COMPRESSORS.items(), ids="-".join)
def own(request) -> ArgusForConditionalGeneration:
    """A model of every tower with its own compressor."""
    return make_model(*request.param)


@pytest.fixture
def model() -> ArgusForConditionalGeneration:
    """Argus's own model."""
    return make_model("argus", "pixel_shuffle")
