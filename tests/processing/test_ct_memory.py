"""Volumes that memory or a model's grid could not use are refused before anything is allocated."""

import pytest

from argus_processing import ct_checks
from argus_processing.ct_checks import CTReadError, check_memory, free_memory


@pytest.mark.parametrize("shape", [(1024, 1024, 260), (512, 512, 600), (512, 512, 2000), (1024, 1024, 640)])
def test_the_largest_real_volumes_pass(monkeypatch, shape):
    monkeypatch.setattr(ct_checks, "free_memory", lambda: 8 * 2.0**30)
    check_memory(shape, 2, "scan.nii")


def test_above_the_limit_a_volume_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(ct_checks, "free_memory", lambda: 1e15)
    with pytest.raises(
        CTReadError, match=r"^scan.nii: the volume \(1024 x 1024 x 1024\) would take 2,048 MiB, more than"
    ):
        check_memory((1024, 1024, 1024), 2, "scan.nii")


def test_sides_whose_product_overflows_64_bits_are_refused():
    with pytest.raises(CTReadError, match="would take"):
        check_memory((2**40, 2**40, 2**40), 2, "scan.nii")


def test_a_volume_that_takes_more_than_half_of_the_free_memory_is_refused(monkeypatch):
    monkeypatch.setattr(ct_checks, "free_memory", lambda: 200 * 2.0**20)
    check_memory((512, 512, 200), 2, "scan.nii")
    with pytest.raises(CTReadError, match="200 MiB of memory are free; read fewer scans at once"):
        check_memory((512, 512, 201), 2, "scan.nii")


def test_free_memory_is_below_the_limit_of_the_process(monkeypatch):
    monkeypatch.setattr(ct_checks, "getrlimit", lambda _: (2**36, 2**36))
    assert 0 <= free_memory() < 2**36


def test_a_control_group_counts(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 600000\ninactive_file 50000\n")
    monkeypatch.setattr(ct_checks, "CGROUP", tmp_path)
    assert free_memory() == 350000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 350000
