import json

import nibabel as nib
import numpy as np
import pytest
import torch

from argus_processing import ArgusImageProcessor, CTReadError, CTVolume, read_ct


@pytest.fixture
def image_processor() -> ArgusImageProcessor:
    return ArgusImageProcessor(image_size=(8, 16, 16))


def reoriented(image: nib.Nifti1Image, axcodes: str) -> nib.Nifti1Image:
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(axcodes))
    )
    return image.as_reoriented(turn)


@pytest.fixture
def image(hu, affine) -> nib.Nifti1Image:
    made = nib.Nifti1Image(hu, affine)
    made.set_sform(affine, code=1)
    return made


def test_one_scan_gives_the_same_pixels_in_any_orientation_and_as_dicom(
    tmp_path, image, hu, write_dicom, image_processor
):
    expected = image_processor(CTVolume.from_nibabel(image))["pixel_values"]
    assert expected.shape == (1, 1, 8, 16, 16)
    for axcodes in ("RAS", "LPS", "SPL", "PIR", "ASL"):
        path = tmp_path / f"{axcodes}.nii.gz"
        turned = reoriented(image, axcodes)
        turned.set_sform(turned.affine, code=1)
        nib.save(turned, path)
        assert read_ct(path).original_orientation == axcodes
        pixels = image_processor(str(path))["pixel_values"]
        assert (pixels - expected).abs().max() < 1e-3
    pixels = image_processor(write_dicom(hu))["pixel_values"]
    assert (pixels - expected).abs().max() < 1e-3


def test_left_stays_left(image_processor):
    hu = np.full((16, 16, 16), -1000, np.int16)
    hu[:, :, 10:14] = 1000  # W rises to the patient's left
    pixels = image_processor(CTVolume.from_array(hu, (4.0, 1.0, 1.0)))["pixel_values"][0, 0]
    assert pixels[..., 8:].mean() > 0.3 and pixels[..., :8].mean() < 0.05


def test_every_kind_of_image_gives_the_same_pixels(tmp_path, image, image_processor):
    path = tmp_path / "scan.nii.gz"
    nib.save(image, path)
    volume = read_ct(path)
    expected = image_processor(path)["pixel_values"]
    for kind in (str(path), {"path": str(path), "bytes": None}, volume, nib.load(path)):
        assert torch.equal(image_processor(kind)["pixel_values"], expected)
    array = np.ascontiguousarray(volume.hu)
    assert torch.equal(image_processor(array, spacing_mm=volume.spacing_mm)["pixel_values"], expected)
    nested = image_processor([[path], [volume, path]])["pixel_values"]
    assert torch.equal(nested, expected.expand(3, -1, -1, -1, -1))


def test_threads_neither_change_pixels_nor_are_changed_after_a_refusal(tmp_path, hu):
    large = np.tile(hu, (1, 12, 12))[:, :300, :300]
    volume = CTVolume.from_array(large, (1.0, 1.0, 1.0))
    processor = ArgusImageProcessor(image_size=(2 * len(hu), 400, 400))
    expected = processor(volume)["pixel_values"]
    (tmp_path / "broken.nii.gz").write_bytes(b"no scan")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(processor(volume)["pixel_values"], expected)
        with pytest.raises(CTReadError):
            processor(tmp_path / "broken.nii.gz")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_scan_refused_at_its_end_is_refused_though_its_planes_were_made(tmp_path, image, image_processor):
    path = tmp_path / "scan.nii.gz"
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # the checksum, which comes last
    path.write_bytes(content)
    with pytest.raises(CTReadError, match="wrong checksum"):
        image_processor(path)


def test_saved_settings_preprocess_bit_for_bit_alike(tmp_path, image):
    trained = ArgusImageProcessor((4, 8, 12), (-900.0, 500.0), (3.0, 2.0, 2.0), "direct")
    trained.save_pretrained(tmp_path)
    loaded = ArgusImageProcessor.from_pretrained(tmp_path)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert settings["resampling"] == "direct" and settings["hu_window"] == [-900.0, 500.0]
    volume = CTVolume.from_nibabel(image)
    assert torch.equal(loaded(volume)["pixel_values"], trained(volume)["pixel_values"])


def test_an_array_without_spacing_is_refused(image_processor):
    with pytest.raises(ValueError, match="spacing_mm"):
        image_processor(np.zeros((8, 8, 8), np.int16))


def test_settings_cannot_be_changed_in_a_call(image_processor, image):
    with pytest.raises(ValueError, match="part of the model"):
        image_processor(CTVolume.from_nibabel(image), resampling="direct")


@pytest.mark.parametrize("option", [{"do_resize": False}, {"image_mean": [0.5]}, {"size": {"height": 9, "width": 9}}])
def test_options_of_pictures_that_would_change_pixels_are_refused(image_processor, image, option):
    with pytest.raises(ValueError, match="part of the model"):
        image_processor(CTVolume.from_nibabel(image), **option)


def test_misspelt_options_and_settings_are_refused_with_the_nearest(image_processor, image):
    with pytest.raises(ValueError, match="retrun_tensors; did you mean return_tensors"):
        image_processor(CTVolume.from_nibabel(image), retrun_tensors="np")
    with pytest.raises(ValueError, match="hu_windw; did you mean hu_window"):
        ArgusImageProcessor(hu_windw=(-900, 500))


def test_options_without_effect_and_a_device_pass(image_processor, image):
    options = {"device": "cpu", "disable_grouping": True, "do_resize": None, "return_tensors": "np"}
    pixels = image_processor(CTVolume.from_nibabel(image), **options)["pixel_values"]
    assert isinstance(pixels, np.ndarray)


def test_what_is_no_image_is_refused_by_its_type(image_processor):
    with pytest.raises(ValueError, match="int"):
        image_processor(7)


def test_errors_of_reading_come_through(image_processor, tmp_path):
    with pytest.raises(CTReadError, match="no such file"):
        image_processor(tmp_path / "none.nii.gz")


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": (8, 8)},
        {"hu_window": (5.0, 5.0)},
        {"resampling": "cubic"},
        {"target_spacing_mm": (0, 1, 1)},
        {"normalization": "z_score"},
        {"crop": "lungs"},
        {"value_range": (1.0, 0.0)},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError):
        ArgusImageProcessor(**wrong)


def test_settings_of_a_call_to_from_pretrained_are_checked(tmp_path):
    ArgusImageProcessor(image_size=(8, 16, 16)).save_pretrained(tmp_path)
    assert ArgusImageProcessor.from_pretrained(tmp_path, hu_window=(-500, 500)).hu_window == [-500.0, 500.0]
    ArgusImageProcessor.from_pretrained(tmp_path, padding_side="left")  # a tokenizer's, which comes along
    for options, said in (({"hu_windw": (-500, 500)}, "hu_window"), ({"hu_window": (500, -500)}, "rise")):
        with pytest.raises(ValueError, match=said):
            ArgusImageProcessor.from_pretrained(tmp_path, **options)
