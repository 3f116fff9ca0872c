import pickle
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from argus_processing import ArgusImageProcessor
from argus_processing.ct3drrg import register, with_preprocessing
from argus_processing.phantom.files import scan_id_of

register()
SMALL = {"num_train": 3, "num_validation": 1, "num_test": 1, "spacing_mm": [20.0, 16.0, 16.0]}


@pytest.fixture(autouse=True)
def empty_working_folder(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.fixture
def load(tmp_path):
    return lambda **kwargs: datasets.load_dataset(
        "ct3drrg", kwargs.pop("name", "phantom"), cache_dir=str(tmp_path / "cache"), **{**SMALL, **kwargs}
    )


def test_loads_from_an_empty_folder_with_three_splits(load):
    loaded = load()
    assert {name: len(split) for name, split in loaded.items()} == {"train": 3, "validation": 1, "test": 1}
    row = loaded["train"][0]
    assert set(row) == {"scan_id", "image", "report", "findings"}
    assert row["image"].ndim == 3
    assert all(set(finding) == {"label", "side", "place"} for finding in row["findings"])


def test_the_table_holds_paths_and_gives_them_undecoded(load):
    rows = load()["train"].cast_column("image", datasets.Nifti(decode=False))
    for row in rows:
        assert row["image"]["bytes"] is None
        assert Path(row["image"]["path"]).name == f"{row['scan_id']}.nii.gz"
        assert Path(row["image"]["path"]).is_file()


def test_splits_and_seeds_share_no_scan(load):
    ids = [scan for seed in (0, 1) for split in load(seed=seed).values() for scan in split["scan_id"]]
    assert len(set(ids)) == len(ids) == 10


def test_other_settings_are_not_served_from_the_cache(load):
    assert len(load()["train"]) == 3
    assert len(load(num_train=2)["train"]) == 2
    assert load(spacing_mm=[25.0, 20.0, 20.0])["train"][0]["image"].shape != load()["train"][0]["image"].shape


def test_the_cache_does_not_depend_on_the_working_folder(load, tmp_path, monkeypatch):
    first = load()["train"].cache_files
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "table.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path / "other")
    assert load()["train"].cache_files == first


def test_processes_give_the_same_rows_as_one(load, tmp_path):
    one = load()["train"]
    two = datasets.load_dataset("ct3drrg", cache_dir=str(tmp_path / "second"), num_proc=2, **SMALL)["train"]
    assert two["scan_id"] == one["scan_id"]
    assert two["report"] == one["report"]


def test_streams(load):
    row = next(iter(load(streaming=True, split="test")))
    assert row["scan_id"] == scan_id_of(2_000_000)
    assert row["image"].ndim == 3


def test_preprocesses_on_access(load):
    calls = []

    def image_processor(images):
        calls.append(len(images))
        return {"pixel_values": [np.zeros((1, *image.shape)) for image in images]}

    rows = with_preprocessing(load()["train"], image_processor)
    assert not calls
    assert np.shape(rows[0]["pixel_values"])[0] == 1
    assert len(rows[:2]["pixel_values"]) == 2
    assert calls == [1, 2]


def test_preprocessing_goes_to_worker_processes_that_are_started_anew(load):
    image_processor = ArgusImageProcessor(image_size=(4, 8, 8))
    rows = load()["train"].select_columns(["scan_id", "image"])
    expected = {row["scan_id"]: image_processor(row["image"])["pixel_values"][0] for row in rows}
    sent = with_preprocessing(rows, image_processor)
    loader = DataLoader(sent, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    streamed = pickle.loads(pickle.dumps(with_preprocessing(rows.to_iterable_dataset(), image_processor)))  # noqa: S301
    for rows in (loader, streamed):
        found = {row["scan_id"]: torch.as_tensor(row["pixel_values"]).float() for row in rows}
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[scan], expected[scan]) for scan in expected)


def test_an_unknown_configuration_or_setting_is_refused(load):
    with pytest.raises(ValueError, match="not found"):
        load(name="mimic")
    with pytest.raises(ValueError, match="num_trian"):
        load(num_trian=3)
    with pytest.raises(ValueError, match="data_dir, not data_files"):
        load(data_files="x.csv")


def test_registering_leaves_other_data_sets_alone(tmp_path):
    register()
    (tmp_path / "table.csv").write_text("a\n1\n")
    loaded = datasets.load_dataset("csv", data_files=str(tmp_path / "table.csv"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"]["a"][:] == [1]
