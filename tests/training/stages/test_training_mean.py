"""The mean scan that a training stage writes: of its own scans, the start's where they are the same, none of few."""

import shutil

import datasets
import numpy as np
import pytest

from argus_processing.mean_scan import mean_scan, mean_scan_file
from argus_processing.mean_scan.mean_scan_file import MEAN_SCAN_FILE, is_recorded_mean_scan, read_mean_scan
from argus_processing.publishing.disclosures import DisclosureError, check_disclosures
from argus_processing.saved_models.pretrained import load_image_processor
from argus_processing.saved_models.provenance import (
    TrainedSubset,
    TrainingRun,
    TrainingStage,
    read_provenance,
    write_provenance,
)
from argus_training.stages import training_mean
from argus_training.stages.training_mean import add_mean_scan
from argus_training.training_record import TrainingData

FEW = 3


@pytest.fixture
def few(monkeypatch):
    for module in (mean_scan, mean_scan_file, training_mean):
        monkeypatch.setattr(module, "MIN_SCANS", FEW)


@pytest.fixture
def train(phantoms) -> datasets.Dataset:
    return phantoms["train"].cast_column("image", datasets.Nifti(decode=False))


DATA = TrainingData((TrainedSubset("phantom", FEW, "phantoms"),), "d" * 64)


def trained(model_dir, folder):
    """A copy of a model whose record tells of a training on the phantoms."""
    shutil.copytree(model_dir, folder)
    numbers = {"num_epochs": 1.0, "num_steps": 1, "batch_size": 1, "learning_rate": 1e-3}
    told = {"subsets": DATA.subsets, "data_sha256": DATA.sha256, "recipe_sha256": "r" * 64}
    stage = TrainingStage(name="stage 1", parts=("connector",), **told, **numbers)
    write_provenance(folder, read_provenance(folder).with_stage(stage, TrainingRun("a machine", {})))
    return folder


def test_a_stage_writes_the_mean_of_its_scans_and_the_next_one_takes_it(few, train, model_dir, tmp_path, monkeypatch):
    images = load_image_processor(model_dir)
    first = trained(model_dir, tmp_path / "first")
    add_mean_scan(model_dir, first, train, images, DATA)
    mean = read_mean_scan(first)
    assert mean.num_scans == FEW and is_recorded_mean_scan(first, first / MEAN_SCAN_FILE)
    record = read_provenance(first).mean_scan
    assert (record.num_scans, record.data_sha256) == (FEW, DATA.sha256)
    second = trained(first, tmp_path / "second")
    monkeypatch.setattr(training_mean, "mean_of", lambda _: pytest.fail("the same scans were read again"))
    add_mean_scan(first, second, train, images, DATA)
    assert np.array_equal(read_mean_scan(second).hu, mean.hu) and is_recorded_mean_scan(second, second / MEAN_SCAN_FILE)


def test_another_training_set_gets_a_mean_of_its_own(few, train, model_dir, tmp_path):
    images = load_image_processor(model_dir)
    first = trained(model_dir, tmp_path / "first")
    add_mean_scan(model_dir, first, train, images, DATA)
    second = trained(first, tmp_path / "second")
    other = TrainingData(DATA.subsets, "e" * 64)
    add_mean_scan(first, second, train.select([0, 1, 1, 0]), images, other)
    assert read_mean_scan(second).num_scans == 4
    assert read_provenance(second).mean_scan.data_sha256 == other.sha256


def test_a_model_is_published_with_its_mean_not_with_a_scan_in_its_place(few, train, model_dir, tmp_path):
    folder = trained(model_dir, tmp_path / "model")
    add_mean_scan(model_dir, folder, train, load_image_processor(model_dir), DATA)
    check_disclosures(folder)
    shutil.copyfile(train[0]["image"]["path"], folder / MEAN_SCAN_FILE)
    with pytest.raises(DisclosureError, match=f"{MEAN_SCAN_FILE}: a scan"):
        check_disclosures(folder)


def test_few_scans_get_no_mean(train, model_dir, tmp_path):
    folder = trained(model_dir, tmp_path / "model")
    add_mean_scan(model_dir, folder, train, load_image_processor(model_dir), DATA)
    assert not (folder / MEAN_SCAN_FILE).exists() and read_provenance(folder).mean_scan is None
