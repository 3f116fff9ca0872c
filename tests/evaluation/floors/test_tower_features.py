import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from argus_evaluation.benchmark.benchmark import evaluate_model
from argus_evaluation.benchmark.evaluation_results import read_results
from argus_evaluation.benchmark.recompute import recompute
from argus_evaluation.benchmark.stored_reports import read_stored_reports
from argus_evaluation.floors.floor_list import (
    FLOORS,
    WITHOUT_FLIP,
    WITHOUT_SCANS,
    choose_floors,
    missing_floors,
    title_of,
)
from argus_evaluation.floors.floor_material import FloorOptions
from argus_evaluation.floors.tower_features import TowerFeatures, _Tower, pooled_features
from argus_evaluation.floors.write_floors import floors_to_write, scan_features
from argus_evaluation.metrics.nlp_metrics import METRICS

WORDS = {name: METRICS[name] for name in ("BLEU-1", "CIDEr")}


def reader_of(loaded, file: Path) -> TowerFeatures:
    return TowerFeatures(*loaded, "a" * 64, file, batch_size=2)


def test_features_are_the_mean_of_the_towers_tokens(loaded, split, tmp_path):
    model, processor = loaded
    features = reader_of(loaded, tmp_path / "f.sqlite").of_scans(split, "features", pytest.fail)
    pixels = processor.image_processor([split[2]["image"]["path"]])["pixel_values"]
    with torch.no_grad():
        expected = model.model.vision_tower(pixels).last_hidden_state[0].mean(dim=0)
    assert list(features) == [0, 1, 2, 3] and features[2].dtype == np.float32
    assert features[2] == pytest.approx(expected.numpy(), abs=1e-5)
    assert pooled_features(model, pixels).shape == (1, model.config.get_vision_config().hidden_size)


def test_stored_features_are_read_back_and_no_scan_is_read_again(loaded, split, tmp_path, monkeypatch):
    reader = reader_of(loaded, tmp_path / "f.sqlite")
    first = reader.of_scans(split, "features", pytest.fail)
    monkeypatch.setattr(_Tower, "read", lambda self, places: pytest.fail("a scan was read again"))
    again = reader.of_scans(split.select([2, 0]), "features", pytest.fail)
    assert np.array_equal(again[0], first[2]) and np.array_equal(again[1], first[0])


def test_another_model_does_not_get_them(loaded, split, tmp_path, monkeypatch):
    reader_of(loaded, tmp_path / "f.sqlite").of_scans(split, "features", pytest.fail)
    monkeypatch.setattr(_Tower, "encode", lambda self, places: [None] * len(places))
    other = TowerFeatures(*loaded, "b" * 64, tmp_path / "f.sqlite")
    assert other.of_scans(split, "features", pytest.fail) == {}


def test_a_damaged_scan_is_left_out_and_named_and_its_batch_stays(loaded, split, tmp_path):
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"nothing")
    rows = split.to_list()
    rows[1]["image"]["path"] = str(bad)
    damaged = datasets.Dataset.from_list(rows, features=split.features)
    told: list[str] = []
    features = reader_of(loaded, tmp_path / "f.sqlite").of_scans(damaged, "features", told.append)
    assert list(features) == [0, 2, 3]
    (line,) = told
    assert line.startswith(f"{rows[1]['scan_id']}: left out of the floors that need scans: ")


def test_scans_in_the_table_are_read_too(loaded, split, tmp_path):
    rows = split.to_list()
    for row in rows:
        path = Path(row["image"]["path"])
        row["image"] = {"path": path.name, "bytes": path.read_bytes()}
    embedded = datasets.Dataset.from_list(rows, features=split.features)
    own = reader_of(loaded, tmp_path / "a.sqlite").of_scans(embedded, "features", pytest.fail)
    other = reader_of(loaded, tmp_path / "b.sqlite").of_scans(split, "features", pytest.fail)
    assert all(np.array_equal(own[place], other[place]) for place in other)


def test_a_drawn_part_of_the_training_scans_is_the_same_for_a_seed(loaded, phantoms, split, tmp_path):
    reader = reader_of(loaded, tmp_path / "f.sqlite")
    drawn = [
        scan_features(reader, FloorOptions(train_scans=phantoms["train"], num_train_scans=2), split, seed, pytest.fail)
        for seed in (0, 0, 1, 2, 3)
    ]
    assert drawn[0].train_reports == drawn[1].train_reports and len({each.train_reports for each in drawn}) > 1
    assert drawn[0].train.shape[0] == 2 and drawn[0].test.shape[0] == 4
    assert set(drawn[0].train_reports) < set(phantoms["train"]["report"])
    assert drawn[0].signature == "mean of the tower's tokens|2 training scans"


def test_floors_are_chosen_by_name_and_those_of_scans_need_them(phantoms):
    assert choose_floors(["all"]) == WITHOUT_FLIP and choose_floors(["shuffled", "normal"]) == ("normal", "shuffled")
    assert floors_to_write(FloorOptions()) == WITHOUT_SCANS == ("normal", "most_frequent", "blank", "shuffled")
    with pytest.raises(ValueError, match="no floor best; there are all, normal"):
        choose_floors(["best"])
    with pytest.raises(ValueError, match="nearest training report: needs the scans of the training split"):
        floors_to_write(FloorOptions(("nearest",)))
    with pytest.raises(ValueError, match="nearest report by FLIP: needs the folder of a run of FLIP"):
        floors_to_write(FloorOptions(("nearest_flip",)))
    told = missing_floors(WITHOUT_SCANS)
    assert told.startswith("Floors that were not computed here: label to text, nearest training report (")
    assert missing_floors(FLOORS) == "" and title_of("of_another_version") == "of another version"


def test_an_evaluation_with_all_floors_is_scored_tested_and_recomputed(model_dir, phantoms, tmp_path):
    arguments = (model_dir, phantoms["test"], list(phantoms["train"]["report"]), tmp_path)
    options = {"batch_size": 4, "max_new_tokens": 3, "metrics": WORDS}
    before = evaluate_model(*arguments, **options)
    assert set(before.controls) == set(WITHOUT_SCANS)
    written = (tmp_path / "predictions.jsonl").read_bytes()
    results = evaluate_model(*arguments, **options, floors=FloorOptions(("all",), phantoms["train"]))
    assert (tmp_path / "predictions.jsonl").read_bytes() == written
    assert set(results.controls) == set(results.floor_signatures) == set(WITHOUT_FLIP)
    assert read_results(tmp_path) == results
    reports = read_stored_reports(tmp_path)
    assert {report.reports["nearest"] for report in reports} <= set(phantoms["train"]["report"])
    assert len({report.reports["normal"] for report in reports}) == 1
    for name, floor in results.controls.items():
        test, own = floor.tests["BLEU-1"], floor.metrics["BLEU-1"].value
        assert test.difference == pytest.approx(results.metrics["BLEU-1"].value - own), name
        assert test.low <= test.difference <= test.high and 0 < test.p_value <= 1
    assert recompute(tmp_path, WORDS).differences == []
    own = tmp_path / "shared.sqlite"
    shutil.copy(tmp_path / "features.sqlite", own)
    options["floors"] = FloorOptions(("nearest",), phantoms["train"], own)
    assert evaluate_model(*arguments, **options).controls["nearest"] == results.controls["nearest"]
