import pytest
import torch

from argus_processing import ArgusImageProcessor
from argus_processing.storage import volume_memory
from argus_training.pretraining.pretraining_scans import PreprocessedScans


class CountingProcessor(ArgusImageProcessor):
    """Counts the scans that it preprocesses."""

    calls = 0

    def preprocess_image(self, *args):
        self.calls += 1
        super().preprocess_image(*args)


@pytest.fixture(autouse=True)
def empty_memory(monkeypatch):
    monkeypatch.setattr(volume_memory, "_VOLUMES", {})


@pytest.fixture
def processor() -> CountingProcessor:
    return CountingProcessor(image_size=(8, 16, 16))


def scans_of(phantoms, processor, volume_cache=None) -> PreprocessedScans:
    return PreprocessedScans(phantoms["test"], processor, lambda row: {"length": len(row["report"])}, volume_cache)


def test_a_small_split_is_preprocessed_once(phantoms, processor):
    scans = scans_of(phantoms, processor)
    first, again = scans[2], scans[2]
    assert processor.calls == 1 and torch.equal(first["pixel_values"], again["pixel_values"])
    assert first["pixel_values"].shape == (1, 8, 16, 16) and first["pixel_values"].dtype == torch.float32
    assert first["index"] == 2 and first["length"] == len(phantoms["test"][2]["report"])


def test_a_split_too_large_for_memory_is_preprocessed_at_every_reading(phantoms, processor, monkeypatch):
    monkeypatch.setattr(volume_memory, "BYTES_IN_MEMORY", 100)
    scans = scans_of(phantoms, processor)
    first, again = scans[0], scans[0]
    assert processor.calls == 2
    assert torch.equal(first["pixel_values"], again["pixel_values"])


def test_a_volume_cache_is_filled_and_read(phantoms, processor, tmp_path):
    kept = scans_of(phantoms, ArgusImageProcessor(image_size=(8, 16, 16)))[1]["pixel_values"]
    cached = scans_of(phantoms, processor, tmp_path)
    torch.testing.assert_close(cached[1]["pixel_values"], kept, atol=2e-3, rtol=0)
    assert scans_of(phantoms, processor, tmp_path)[1]["pixel_values"].equal(cached[1]["pixel_values"])
    assert cached.preprocess.hits == 1 and processor.calls == 0
