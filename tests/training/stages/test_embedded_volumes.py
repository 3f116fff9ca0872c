"""A prepared data set that holds its volumes itself is trained on and evaluated by its bytes, never by its names."""

from pathlib import Path

import datasets
import pyarrow as pa
import pytest
import torch
from trl import SFTConfig

from argus_evaluation.reader_study.study import Case
from argus_evaluation.reader_study.study_scans import RecentVolumes, find_scans
from argus_inference.generation import image_of_scan
from argus_processing import read_ct
from argus_processing.curation.dataset_folder import _write_shard
from argus_processing.curation.prepared_folder import PREPARED_FEATURES
from argus_training.stages.report_examples import report_examples
from argus_training.stages.report_trainer import make_trainer


@pytest.fixture
def embedded(phantoms, tmp_path, monkeypatch) -> datasets.Dataset:
    """Rows with bytes, in a working directory where each name is another patient's scan."""
    rows = phantoms["train"].cast_column("image", datasets.Nifti(decode=False))
    paths = [Path(image["path"]) for image in rows["image"]]
    monkeypatch.chdir(tmp_path)
    made = []
    for index, row in enumerate(rows):
        name = f"scan{index}.nii.gz"
        (tmp_path / name).write_bytes(paths[index - 1].read_bytes())
        image = {"path": name, "bytes": paths[index].read_bytes()}
        made.append({"scan_id": row["scan_id"], "report": row["report"], "image": image})
    features = datasets.Features({name: PREPARED_FEATURES[name] for name in ("scan_id", "report", "image")})
    return datasets.Dataset(pa.Table.from_pylist(made, schema=features.arrow_schema))


@pytest.fixture
def true_volumes(phantoms):
    rows = phantoms["train"].cast_column("image", datasets.Nifti(decode=False))
    return [read_ct(image["path"]) for image in rows["image"]]


def test_examples_give_the_bytes_to_the_trainer(embedded, true_volumes, loaded, tmp_path):
    model, processor = loaded
    examples = report_examples(embedded)
    assert examples.column_names == ["image", "length", "prompt", "completion"]
    config = SFTConfig(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=len(examples),
        max_length=2000,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = make_trainer(model, processor, config, {"train": examples, "validation": examples})
    batch = next(iter(trainer.get_train_dataloader()))
    expected = processor.image_processor(true_volumes)["pixel_values"]
    for volume in batch["pixel_values"]:
        assert any(torch.equal(volume, other) for other in expected)


def test_examples_of_paths_stay_paths(phantoms):
    assert all(isinstance(image, str) for image in report_examples(phantoms["train"])["image"])


def test_evaluation_reads_the_bytes(embedded, true_volumes):
    rows = embedded.cast_column("image", datasets.Nifti(decode=False))
    for row, volume in zip(rows, true_volumes, strict=True):
        assert (image_of_scan(row).hu == volume.hu).all()


def test_a_prepared_folder_keeps_its_bytes_beside_a_file_of_their_name(embedded, tmp_path):
    rows = embedded.cast_column("image", datasets.Nifti(decode=False))
    missing = {name: None for name in PREPARED_FEATURES if name not in embedded.column_names}
    _write_shard(tmp_path / "shard.parquet", [{**row, **missing} for row in rows])
    kept = datasets.Dataset.from_parquet(str(tmp_path / "shard.parquet"), cache_dir=str(tmp_path / "cache"))
    images = kept.cast_column("image", datasets.Nifti(decode=False))["image"]
    assert [image["bytes"] for image in images] == [row["image"]["bytes"] for row in rows]


def test_reader_study_reads_the_bytes(embedded, true_volumes, monkeypatch):
    import asyncio

    from argus_evaluation.reader_study import study_scans

    monkeypatch.setattr(study_scans, "load_split", lambda *_, **__: embedded)
    monkeypatch.setattr(study_scans, "read_apart", lambda read, *_: read(Path()))
    cases = [Case.__new__(Case) for _ in embedded]
    for case, scan_id in zip(cases, embedded["scan_id"], strict=True):
        object.__setattr__(case, "subset", "inspect")
        object.__setattr__(case, "scan_id", scan_id)
    volumes = RecentVolumes(find_scans(cases, "train", None, {}))
    for case, volume in zip(cases, true_volumes, strict=True):
        assert (asyncio.run(volumes.volume(case)).hu == volume.hu).all()
