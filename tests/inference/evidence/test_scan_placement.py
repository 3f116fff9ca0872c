"""Places on the model's grid, in the scan, in its file and in the patient, for every preprocessing and orientation."""

import nibabel as nib
import numpy as np
import pytest
import torch

from argus_inference.evidence.scan_placement import file_axes_of, place_in_patient, placement_of
from argus_processing import ArgusImageProcessor
from argus_processing.ct_volume import CTVolume

# sizes and spacings at which "crop_or_pad" pads some axes and crops others
GRID = (24, 40, 48)
SETTINGS = {
    "paper": {},
    "body": {"crop": "body"},
    "direct": {"resampling": "direct"},
    "m3d": {"normalization": "min_max", "crop": "foreground", "resampling": "direct"},
    "paper after a crop": {"crop": "foreground"},
    "ct2rep, padded": {"resampling": "crop_or_pad", "target_spacing_mm": (9.0, 6.0, 7.0)},
    "ct2rep, cropped": {"resampling": "crop_or_pad", "target_spacing_mm": (3.0, 2.5, 2.5)},
    "ct2rep, cropped foreground": {
        "resampling": "crop_or_pad",
        "target_spacing_mm": (3.0, 6.0, 2.5),
        "crop": "foreground",
    },
}
SHAPE, SPACING = (30, 41, 52), (4.0, 3.0, 3.2)


def body() -> np.ndarray:
    hu = np.full(SHAPE, -1000, dtype=np.int16)
    hu[3:27, 5:38, 9:50] = -100
    return hu


def processor_of(name: str) -> ArgusImageProcessor:
    return ArgusImageProcessor(image_size=GRID, **SETTINGS[name])


@pytest.mark.parametrize("name", SETTINGS)
def test_a_bright_spot_is_found_again_in_the_scan(name):
    for place in ((12, 18, 25), (15, 23, 30), (18, 20, 34)):
        hu = body()
        hu[place[0] - 1 : place[0] + 2, place[1] - 1 : place[1] + 2, place[2] - 1 : place[2] + 2] = 900
        volume, processor = CTVolume.from_array(hu, SPACING), processor_of(name)
        pixels = processor([volume])["pixel_values"][0, 0]
        placement = placement_of(processor, volume, processor.to_grid(volume))
        # the middle of the spot on the grid, to a part of a voxel
        weight = (pixels - pixels.median()).clamp(min=0) * (pixels > 0.8 * pixels.max())
        middle = [
            float((weight * axis).sum() / weight.sum())
            for axis in torch.meshgrid(*map(torch.arange, GRID), indexing="ij")
        ]
        for at, found, scale, offset in zip(place, middle, placement.scale, placement.offset, strict=True):
            assert found == pytest.approx(scale * at + offset, abs=0.5)
        back = placement.to_scan(weight)
        assert back.shape == SHAPE
        assert np.abs(np.subtract(np.unravel_index(int(back.argmax()), SHAPE), place)).max() <= 1


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_outside_the_grid_has_no_map(name):
    volume, processor = CTVolume.from_array(body(), SPACING), processor_of(name)
    scan = processor.to_grid(volume)
    back = placement_of(processor, volume, scan).to_scan(torch.ones(GRID))
    inside = np.zeros(SHAPE, dtype=bool)
    inside[scan.box] = True
    if "cropped" not in name:
        assert np.array_equal(back.numpy() > 0.99, inside)
    if name != "ct2rep, cropped foreground":  # a padded grid is larger than the part of the scan in it
        assert (back[~inside] == 0).all()
    assert back[15, 20, 30] == pytest.approx(1.0)


def test_blocks_of_a_grid_keep_their_place():
    volume, processor = CTVolume.from_array(body(), SPACING), processor_of("paper")
    placement = placement_of(processor, volume, processor.to_grid(volume))
    blocks = placement.pooled((2, 4, 3))
    assert blocks.grid_shape == (12, 10, 16)
    assert blocks.step_mm == pytest.approx(
        [2 * placement.step_mm[0], 4 * placement.step_mm[1], 3 * placement.step_mm[2]]
    )
    # the middle of a block lies between its voxels
    for voxel, block in (((10.5, 17.5, 22.0), (5.0, 4.0, 7.0)), ((0.5, 1.5, 1.0), (0.0, 0.0, 0.0))):
        own = [
            (at - offset) / scale for at, scale, offset in zip(voxel, placement.scale, placement.offset, strict=True)
        ]
        of_blocks = [
            (at - offset) / scale for at, scale, offset in zip(block, blocks.scale, blocks.offset, strict=True)
        ]
        assert own == pytest.approx(of_blocks)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS", "RPS", "LPI", "PSL", "SRA"])
def test_a_voxel_is_found_again_in_the_file_and_in_the_patient(axes, tmp_path):
    draw = np.random.default_rng(0)
    own = nib.orientations.axcodes2ornt(tuple(axes))
    stored = draw.integers(-1000, 1000, (12, 13, 14)).astype(np.int16)
    directions = {"L": (-1, 0, 0), "R": (1, 0, 0), "P": (0, -1, 0), "A": (0, 1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    affine = np.eye(4)
    affine[:3, :3] = np.array([directions[letter] for letter in axes]).T * [2.0, 3.0, 4.0]
    affine[:3, 3] = (-31.0, 17.0, -250.0)
    assert np.array_equal(nib.io_orientation(affine), own)
    image = nib.Nifti1Image(stored, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "scan.nii.gz")
    volume = CTVolume.from_nibabel(nib.load(tmp_path / "scan.nii.gz"))
    file_axes = file_axes_of(volume)
    assert file_axes.affine == pytest.approx(affine) and np.array_equal(file_axes.array(volume.hu), stored)
    for index in ((0, 0, 0), (3, 5, 7), (11, 2, 9)):
        place = file_axes.index(index)
        assert volume.hu[index] == stored[place]
        assert place_in_patient(volume, index) == pytest.approx((affine @ [*place, 1])[:3])
