"""The model, scans and reports of `make test-vllm`.

ARGUS_MODEL names a saved model, such as the demo's; without it a random argus-tiny is used.
"""

import os
from pathlib import Path

import datasets
import pytest
from transformers_reports import NUM_SCANS, greedy

from argus_inference.model_folder import load_model
from argus_processing import read_ct


@pytest.fixture(scope="session")
def model_folder(model_dir) -> Path:
    return Path(os.environ.get("ARGUS_MODEL") or model_dir).resolve()


@pytest.fixture(scope="session")
def reference(model_folder):
    """The model in transformers."""
    return load_model(model_folder)


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> list[Path]:
    options = {"num_train": 1, "num_validation": 1, "num_test": NUM_SCANS, "spacing_mm": (8.0, 4.0, 4.0)}
    rows = datasets.load_dataset("ct3drrg", "phantom", cache_dir=str(tmp_path_factory.mktemp("cache")), **options)
    images = rows["test"].cast_column("image", datasets.Nifti(decode=False))["image"]
    return [Path(image["path"]) for image in images]


@pytest.fixture(scope="session")
def expected(reference, files) -> list[list[int]]:
    """The token ids of the scans' reports."""
    written = [greedy(reference, read_ct(path)) for path in files]
    assert len({tuple(tokens) for tokens in written}) > NUM_SCANS // 4  # the reports differ
    return written
