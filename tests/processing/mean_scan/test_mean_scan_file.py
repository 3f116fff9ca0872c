"""The file of a mean scan: a round trip, its record, damage, and what may be published."""

import gzip
import hashlib
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from argus_processing.mean_scan.mean_scan import MeanScan
from argus_processing.mean_scan.mean_scan_file import (
    MEAN_SCAN_FILE,
    copy_mean_scan,
    is_recorded_mean_scan,
    read_mean_scan,
    save_mean_scan,
)
from argus_processing.saved_models.provenance import (
    Provenance,
    TrainedSubset,
    TrainingStage,
    read_provenance,
    write_provenance,
)
from argus_processing.storage.foreign_files import ForeignFileError

DATA = "d" * 64


@pytest.fixture
def mean():
    draw = np.random.default_rng(0)
    return MeanScan(draw.integers(-1000, 1000, (6, 7, 8)).astype(np.int16), 5.0, 40)


def folder_of(path, num_scans=100):
    path.mkdir()
    stage = TrainingStage(
        name="stage 2",
        parts=("vision",),
        subsets=(TrainedSubset("ct-rate", num_scans, "patients"),),
        data_sha256=DATA,
        recipe_sha256="r" * 64,
        num_epochs=1.0,
        num_steps=1,
        batch_size=1,
        learning_rate=1e-4,
    )
    write_provenance(path, Provenance(stages=(stage,)))
    return path


def test_a_mean_scan_comes_back_and_any_viewer_reads_it(tmp_path, mean):
    folder = folder_of(tmp_path / "model")
    save_mean_scan(folder, mean, DATA)
    read = read_mean_scan(folder)
    assert np.array_equal(read.hu, mean.hu) and (read.step_mm, read.num_scans) == (5.0, 40)
    image = nib.load(folder / MEAN_SCAN_FILE)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S") and image.header.get_zooms() == (5, 5, 5)
    assert np.array_equal(np.asarray(image.dataobj), mean.hu.transpose(2, 1, 0))
    first = (folder / MEAN_SCAN_FILE).read_bytes()
    save_mean_scan(folder, mean, DATA)
    assert (folder / MEAN_SCAN_FILE).read_bytes() == first
    record = read_provenance(folder).mean_scan
    assert (record.num_scans, record.data_sha256) == (40, DATA)


def test_it_goes_along_to_a_model_that_is_made_of_another(tmp_path, mean):
    start, made, bare = (folder_of(tmp_path / name) for name in ("start", "made", "bare"))
    save_mean_scan(start, mean, DATA)
    copy_mean_scan(start, made)
    assert np.array_equal(read_mean_scan(made).hu, mean.hu) and is_recorded_mean_scan(made, made / MEAN_SCAN_FILE)
    copy_mean_scan(bare, made)  # nothing to copy
    with pytest.raises(FileNotFoundError, match="has no mean scan"):
        read_mean_scan(bare)


def test_another_training_does_not_keep_the_record_of_an_earlier_mean(tmp_path, mean):
    folder = folder_of(tmp_path / "model")
    save_mean_scan(folder, mean, DATA)
    provenance = read_provenance(folder)
    assert provenance.with_stage(provenance.stages[0], None).mean_scan is None


def with_file(folder, content: bytes):
    """Put other bytes in place of a mean scan, and let the record tell of them."""
    (folder / MEAN_SCAN_FILE).write_bytes(content)
    provenance = read_provenance(folder)
    record = replace(provenance.mean_scan, sha256=hashlib.sha256(content).hexdigest())
    write_provenance(folder, replace(provenance, mean_scan=record))


def described(content: bytes) -> bytes:
    image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    image.header["descrip"] = "Mrs Example"
    return gzip.compress(image.to_bytes(), mtime=0)


FORGERIES = {
    "a text in the header": described,
    "bytes after the voxels": lambda content: gzip.compress(gzip.decompress(content) + b"more", mtime=0),
    "a name in gzip's header": lambda content: content[:3] + b"\x08" + content[4:10] + b"name\0" + content[10:],
    "a cut file": lambda content: content[: len(content) // 2],
    "no image": lambda content: gzip.compress(b"text", mtime=0),
    "an endless file": lambda content: gzip.compress(bytes(80 << 20), mtime=0),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_file_that_argus_does_not_write_is_neither_read_nor_published(tmp_path, mean, forgery):
    folder = folder_of(tmp_path / "model")
    save_mean_scan(folder, mean, DATA)
    with_file(folder, FORGERIES[forgery]((folder / MEAN_SCAN_FILE).read_bytes()))
    assert not is_recorded_mean_scan(folder, folder / MEAN_SCAN_FILE)
    with pytest.raises(ForeignFileError, match="is no mean scan of Argus"):
        read_mean_scan(folder)


def test_a_file_that_the_record_does_not_tell_of_is_refused(tmp_path, mean):
    folder, other = folder_of(tmp_path / "model"), folder_of(tmp_path / "other")
    save_mean_scan(folder, mean, DATA)
    save_mean_scan(other, replace(mean, hu=mean.hu // 2), DATA)
    (folder / MEAN_SCAN_FILE).write_bytes((other / MEAN_SCAN_FILE).read_bytes())
    with pytest.raises(ForeignFileError, match="is not the mean scan that argus.json tells of"):
        read_mean_scan(folder)
    assert not is_recorded_mean_scan(folder, folder / MEAN_SCAN_FILE)


def test_a_mean_of_too_few_scans_is_neither_kept_nor_published(tmp_path, mean):
    folder = folder_of(tmp_path / "model")
    with pytest.raises(ValueError, match="a mean of 31 scans is not kept: 32 are needed"):
        save_mean_scan(folder, replace(mean, num_scans=31), DATA)
    save_mean_scan(folder, mean, DATA)
    assert is_recorded_mean_scan(folder, folder / MEAN_SCAN_FILE)
    provenance = read_provenance(folder)
    write_provenance(folder, replace(provenance, mean_scan=replace(provenance.mean_scan, num_scans=31)))
    assert not is_recorded_mean_scan(folder, folder / MEAN_SCAN_FILE)


@pytest.mark.parametrize("change", ["more scans than the training had", "scans of another training"])
def test_a_mean_that_is_not_of_the_recorded_training_is_not_published(tmp_path, mean, change):
    folder = folder_of(tmp_path / "model", num_scans=39 if change.startswith("more") else 100)
    save_mean_scan(folder, mean, DATA if change.startswith("more") else "e" * 64)
    assert not is_recorded_mean_scan(folder, folder / MEAN_SCAN_FILE)
