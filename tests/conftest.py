from pathlib import Path

import datasets
import pytest
import torch
from transformers import set_seed

import argus_processing  # noqa: F401  registers the data set
from argus_evaluation.model_folder import load_model
from argus_processing.instructions import INSTRUCTIONS
from argus_training.create import create_model
from argus_training.language import tiny_llama, train_tokenizer

PHANTOMS = {"num_train": 3, "num_validation": 1, "num_test": 4, "spacing_mm": (12.0, 8.0, 8.0)}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Threads that wait for a shared core make so small a model twenty times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory) -> Path:
    """A whole argus-tiny with random weights, assembled and saved as `argus create` does it."""
    root = tmp_path_factory.mktemp("tiny")
    texts = [*INSTRUCTIONS, "There is a small pleural effusion on the right.", "No lung nodule."]
    tokenizer = train_tokenizer(texts, vocab_size=400)
    set_seed(0)
    language_model = tiny_llama(tokenizer, seed=0)
    # At the usual 0.02 a random model barely reacts to the image; larger weights make it write different reports.
    with torch.no_grad():
        for parameter in language_model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    language_model.save_pretrained(root / "llm")
    tokenizer.save_pretrained(root / "llm")
    return create_model("argus-tiny", root / "model", llm=root / "llm", dtype="float32")


@pytest.fixture(scope="session")
def loaded(model_dir):
    return load_model(model_dir)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> datasets.DatasetDict:
    cache = tmp_path_factory.mktemp("cache")
    return datasets.load_dataset("ct3drrg", "phantom", cache_dir=str(cache), **PHANTOMS)


@pytest.fixture
def split(phantoms) -> datasets.Dataset:
    return phantoms["test"].cast_column("image", datasets.Nifti(decode=False))


@pytest.fixture(scope="session")
def scans(phantoms) -> list[Path]:
    test = phantoms["test"].cast_column("image", datasets.Nifti(decode=False))
    return [Path(image["path"]) for image in test["image"]]
