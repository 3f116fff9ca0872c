import errno
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import datasets
import numpy as np
import pytest
import torch
from isal import isal_zlib

from argus_processing import ArgusImageProcessor
from argus_processing.ct3drrg import register, with_preprocessing
from argus_processing.phantom.files import write_phantom
from argus_processing.storage import volume_cache as volume_cache_module
from argus_processing.storage.volume_cache import ENCODINGS, DamagedEntryError, VolumeCache, open_planes, settings_hash
from argus_processing.tower_preprocessing import ct2rep_settings, m3d_settings, radfm_settings

register()
SETTINGS = [
    {"image_size": (16, 32, 32)},
    {"image_size": (96, 64, 64)},  # finer along depth than 4 mm: planes are blended
    {"image_size": (48, 32, 32), "resampling": "direct"},
    m3d_settings((16, 32, 32)),
    radfm_settings((16, 32, 32)),
    ct2rep_settings((36, 40, 40)) | {"target_spacing_mm": (12.0, 8.0, 8.0)},  # cropped and padded
]


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    write_phantom(folder, 3, (5.0, 6.0, 6.0), name="scan")
    return folder / "scan.nii.gz"


@pytest.fixture
def processor():
    return ArgusImageProcessor(image_size=(96, 64, 64))


def entries(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_cache_gives_the_same_pixel_values(settings, encoding, scan, tmp_path):
    processor = ArgusImageProcessor(**settings)
    cache = VolumeCache(tmp_path, processor, encoding)
    true = processor(scan)["pixel_values"]
    window, value_range = processor.to_grid(processor.load_volume(scan)).window, processor.value_range
    one_hu = (value_range[1] - value_range[0]) / (window[1] - window[0])
    for _ in range(2):
        loaded = cache([str(scan)])["pixel_values"]
        assert loaded.shape == true.shape
        assert (loaded - true).abs().max() <= 0.501 * one_hu
    assert (cache.hits, cache.misses) == (1, 1)
    assert loaded.std() > 0.1


def test_another_setting_never_reads_the_entry(scan, tmp_path):
    hashes = {settings_hash(ArgusImageProcessor(**settings)) for settings in SETTINGS}
    hashes |= {settings_hash(ArgusImageProcessor(hu_window=(-1000.0, 900.0))), settings_hash(ArgusImageProcessor())}
    assert len(hashes) == len(SETTINGS) + 2
    VolumeCache(tmp_path, ArgusImageProcessor(**SETTINGS[0]))([scan])
    other = VolumeCache(tmp_path, ArgusImageProcessor(**SETTINGS[0], hu_window=(-900.0, 900.0)))
    assert not other.has(scan)


def test_a_changed_scan_is_preprocessed_again(scan, processor, tmp_path):
    copy = tmp_path / "copy.nii.gz"
    shutil.copy(scan, copy)
    cache = VolumeCache(tmp_path / "cache", processor)
    cache([copy])
    write_phantom(tmp_path, 4, (5.0, 6.0, 6.0), name="copy")
    assert not cache.has(copy)
    assert (cache([copy])["pixel_values"] - processor(copy)["pixel_values"]).abs().max() <= 1 / 2000


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "header"])
def test_a_damaged_entry_is_made_anew(damage, scan, processor, tmp_path):
    cache = VolumeCache(tmp_path, processor)
    cache([scan])
    (entry,) = entries(tmp_path)
    content = bytearray(entry.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "header":
        content[20] ^= 1
    entry.write_bytes({"cut": content[:-100], "emptied": b""}.get(damage, content))
    assert (cache([scan])["pixel_values"] - processor(scan)["pixel_values"]).abs().max() <= 1 / 2000
    assert (cache.hits, cache.misses) == (0, 2)
    cache([scan])
    assert cache.hits == 1


def test_a_full_disk_is_said_once_and_changes_nothing(scan, processor, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(volume_cache_module.os, "replace", full)
    cache = VolumeCache(tmp_path, processor)
    with pytest.warns(UserWarning, match="the disk is full") as said:
        first, second = (cache([scan])["pixel_values"] for _ in range(2))
    assert len(said) == 1
    assert torch.equal(first, second)
    assert not entries(tmp_path)


def test_writers_at_once_leave_one_whole_entry(scan, processor, tmp_path):
    caches = [VolumeCache(tmp_path, processor) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda cache: cache([scan])["pixel_values"], caches))
    assert all(torch.equal(loaded[0], other) for other in loaded)
    assert len(entries(tmp_path)) == 1


def test_a_data_set_reads_through_the_cache(processor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"num_train": 2, "num_validation": 1, "num_test": 1, "spacing_mm": [20.0, 16.0, 16.0]}
    train = datasets.load_dataset("ct3drrg", "phantom", split="train", cache_dir=str(tmp_path / "data"), **options)
    cache = VolumeCache(tmp_path / "cache", processor)
    true = [torch.as_tensor(row["pixel_values"]) for row in with_preprocessing(train, processor)]
    for _ in range(2):
        through = with_preprocessing(train, cache)
        assert all((torch.as_tensor(through[i]["pixel_values"]) - true[i]).abs().max() <= 1 / 2000 for i in range(2))
    streamed = with_preprocessing(train.to_iterable_dataset(), cache)
    assert all(
        (torch.as_tensor(row["pixel_values"]) - pixels).abs().max() <= 1 / 2000
        for row, pixels in zip(streamed, true, strict=True)
    )
    assert (cache.hits, cache.misses) == (4, 2)


def test_what_is_no_file_is_preprocessed_and_not_kept(scan, processor, tmp_path):
    volume = processor.load_volume(scan)
    cache = VolumeCache(tmp_path, processor)
    assert torch.equal(cache([volume])["pixel_values"], processor(volume)["pixel_values"])
    assert not entries(tmp_path)


def test_what_cannot_work_is_refused(processor, tmp_path):
    with pytest.raises(ValueError, match="unknown encoding 'npz'; known: zstd-delta"):
        VolumeCache(tmp_path, processor, "npz")
    with pytest.raises(ValueError, match="int16"):
        VolumeCache(tmp_path, ArgusImageProcessor(hu_window=(-1000.0, 50_000.0)))


BIG = ENCODINGS["zstd"].pack(np.zeros((2000, 2000), np.int16))
FORGED = {
    "shape of a terabyte": ({"shape": [10**6, 10**6], "lengths": [len(BIG)]}, BIG),
    "plane that inflates": ({"shape": [4, 5], "lengths": [len(BIG)]}, BIG),
    "shape below zero": ({"shape": [-4, 5], "lengths": [len(BIG)]}, BIG),
    "no plane": ({"shape": [4, 5], "lengths": [3]}, b"abc"),
    "no lengths": ({"shape": [4, 5]}, b""),
    "list": ([1], b""),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_right_checksum_with_wrong_sizes_is_a_damaged_entry(name):
    header, packed = FORGED[name]
    said = {"planes": 1, "window": [-1, 1], "to_grid": None} | header if isinstance(header, dict) else header
    body = json.dumps(said).encode()
    content = body + packed
    entry = volume_cache_module._LENGTHS.pack(volume_cache_module.MAGIC, len(body), isal_zlib.crc32(content)) + content
    with pytest.raises(DamagedEntryError):
        open_planes(entry)


def test_a_header_nested_too_deep_is_damaged():
    content = b"[" * 100_000
    with pytest.raises(DamagedEntryError):
        open_planes(
            volume_cache_module._LENGTHS.pack(volume_cache_module.MAGIC, len(content), isal_zlib.crc32(content))
            + content
        )
