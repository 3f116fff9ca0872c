import nibabel as nib
import numpy as np
import pytest

from argus_inference.viewer import scan_image as images
from argus_inference.viewer.scan_image import (
    PART_BYTES,
    coarse_image,
    fits,
    parts_of,
    reduced_image,
    reduced_steps,
    scan_image,
)
from argus_processing.ct_volume import CTVolume


def image_of(content: bytes) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(content)


def volume_of(hu: np.ndarray, spacing: tuple[float, float, float]) -> CTVolume:
    depth, height, width = spacing
    affine = np.array([[0, 0, -width, 40], [0, -height, 0, 30], [depth, 0, 0, -20], [0, 0, 0, 1.0]])
    return CTVolume(hu, affine, "SPL")


def test_a_coarse_scan_is_the_mean_of_blocks_at_their_middle():
    hu = np.random.default_rng(0).integers(-1000, 1000, (3, 8, 10)).astype(np.int16)
    volume = volume_of(hu, (3.0, 1.0, 0.7))
    image = image_of(coarse_image(volume))
    values = np.asarray(image.dataobj)
    assert values.shape == (3, 4, 3)  # blocks of (1, 2, 3) voxels; the last column is left out
    assert values[1, 2, 0] == round(hu[0, 4:6, 3:6].mean())
    assert (image.affine @ [1, 2, 0, 1])[:3] == pytest.approx((volume.affine @ [0, 4.5, 4, 1])[:3], abs=1e-4)


def test_a_volume_thinner_than_a_block_keeps_a_slice():
    volume = volume_of(np.zeros((3, 8, 8), np.int16), (0.5, 5.0, 5.0))
    assert image_of(coarse_image(volume)).shape == (8, 8, 1)


def test_a_large_scan_is_reduced_along_its_finest_axes_first(monkeypatch):
    monkeypatch.setattr(images, "REDUCED_VOXELS", 500)
    hu = np.random.default_rng(0).integers(-1000, 1000, (6, 20, 20)).astype(np.int16)
    volume = volume_of(hu, (2.5, 1.0, 0.9))
    assert reduced_steps(volume) == [1, 2, 3]
    image = image_of(reduced_image(volume))
    assert image.shape == (6, 10, 6) and image.header.get_zooms() == pytest.approx((2.7, 2.0, 2.5))
    assert np.asarray(image.dataobj)[2, 3, 4] == round(hu[4, 6:8, 6:9].mean())
    assert (image.affine @ [2, 3, 4, 1])[:3] == pytest.approx((volume.affine @ [4, 6.5, 7, 1])[:3], abs=1e-4)


def test_a_scan_as_large_as_the_planes_take_keeps_its_voxels(monkeypatch):
    monkeypatch.setattr(images, "REDUCED_VOXELS", 3 * 8 * 9)
    volume = volume_of(np.zeros((3, 8, 9), np.int16), (3.0, 1.0, 1.0))
    assert reduced_steps(volume) == [1, 1, 1] and reduced_image(volume) == scan_image(volume)
    thin = volume_of(np.zeros((2, 40, 40), np.int16), (0.1, 1.0, 1.0))
    assert image_of(reduced_image(thin)).shape == (13, 13, 1)


def test_hu_between_whole_numbers_are_rounded():
    volume = volume_of(np.full((3, 8, 8), -900.6, np.float32), (1.0, 1.0, 1.0))
    assert set(np.unique(np.asarray(image_of(scan_image(volume)).dataobj))) == {-901}


def test_an_array_fits_in_any_order_of_its_axes_and_in_one_place():
    volume = volume_of(np.zeros((3, 8, 9), np.int16), (3.0, 2.0, 1.0))
    turned = volume.affine[:, [2, 0, 1, 3]]
    assert fits((9, 3, 8), turned, volume)
    flipped = turned @ np.array([[-1, 0, 0, 8], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    assert fits((9, 3, 8), flipped, volume)
    assert not fits((9, 8, 3), turned, volume) and not fits((9, 3), turned, volume)
    assert not fits((9, 3, 8), np.zeros((4, 4)), volume)
    assert not fits((9, 3, 8), np.full((4, 4), np.nan), volume)


def test_parts_make_the_whole():
    content = bytes(range(256)) * (PART_BYTES // 100)
    parts = [*parts_of(content)]
    assert b"".join(parts) == content and max(map(len, parts)) == PART_BYTES
