import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import evaluate
import pytest

import argus_evaluation


@pytest.fixture(scope="module")
def load_metric(tmp_path_factory) -> Iterator[Callable[[str], evaluate.Metric]]:
    """Load a metric of ours by its folder's name as a user of `evaluate` does, with a cache of its own."""
    cache = tmp_path_factory.mktemp("modules")
    metrics = Path(argus_evaluation.__file__).parent / "metrics"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", cache)
        patch.syspath_prepend(str(cache))
        yield lambda name: evaluate.load(str(metrics / name), cache_dir=str(cache))
    # The package that `evaluate` makes of a cache would otherwise be searched for the metrics of the next one.
    for module in [name for name in sys.modules if name.split(".")[0] == "evaluate_modules"]:
        del sys.modules[module]
