import os
import shutil

import pytest
import torch

from argus_processing import ArgusImageProcessor, read_ct
from argus_processing.storage import volume_memory
from argus_processing.storage.volume_memory import VolumeMemory, fits_in_memory


class CountingProcessor(ArgusImageProcessor):
    """Counts the scans that it preprocesses, over all objects."""

    calls = 0

    def preprocess_image(self, *args):
        CountingProcessor.calls += 1
        super().preprocess_image(*args)


@pytest.fixture(autouse=True)
def empty_memory(monkeypatch):
    monkeypatch.setattr(volume_memory, "_VOLUMES", {})
    monkeypatch.setattr(CountingProcessor, "calls", 0)


def memory_of(**settings) -> VolumeMemory:
    return VolumeMemory(CountingProcessor(**{"image_size": (8, 16, 16)} | settings))


def test_a_scan_is_read_once_in_a_process_and_stays_as_it_was_read(scans):
    first = memory_of()(scans[:2])["pixel_values"]
    again = memory_of()(scans[1])["pixel_values"]
    assert CountingProcessor.calls == 2 and torch.equal(first[1], again[0])
    own = ArgusImageProcessor(image_size=(8, 16, 16))(scans[:2])["pixel_values"]
    assert torch.equal(first, own) and torch.equal(memory_of()(scans[:2])["pixel_values"], own)


def test_another_setting_and_a_changed_file_are_read_anew(scans, tmp_path):
    path = shutil.copy(scans[0], tmp_path)
    memory_of()(path)
    memory_of(hu_window=(-500, 500))(path)
    os.utime(path, ns=(1, 1))
    memory_of()(path)
    assert CountingProcessor.calls == 3


def test_an_embedded_scan_is_known_by_its_bytes_and_a_volume_not_at_all(scans):
    memory, row = memory_of(), {"path": "some/name.nii.gz", "bytes": scans[0].read_bytes()}
    assert torch.equal(memory(row)["pixel_values"], memory(dict(row))["pixel_values"])
    assert CountingProcessor.calls == 1
    volume = read_ct(scans[1])
    assert torch.equal(memory(volume)["pixel_values"], memory(volume)["pixel_values"])
    assert CountingProcessor.calls == 3


def test_what_does_not_fit_is_not_kept(scans, monkeypatch):
    one = 4 * 8 * 16 * 16
    monkeypatch.setattr(volume_memory, "BYTES_IN_MEMORY", 2 * one)
    memory = memory_of()
    assert fits_in_memory(2, memory.image_processor) and not fits_in_memory(3, memory.image_processor)
    for _ in range(2):
        memory(scans[:3])
    assert CountingProcessor.calls == 4 and len(volume_memory._VOLUMES) == 2
