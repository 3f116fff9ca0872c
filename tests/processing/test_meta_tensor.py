"""Scans loaded by MONAI: the same pixels as from the file, and the same refusals."""

import monai.data
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import EnsureChannelFirst, LoadImage, Orientation

from argus_processing import ArgusImageProcessor, CTReadError
from argus_processing.meta_tensor import volume_of_meta_tensor

pytestmark = pytest.mark.filterwarnings("ignore")  # MONAI warns of decoders that are not installed


@pytest.fixture
def image_processor() -> ArgusImageProcessor:
    return ArgusImageProcessor(image_size=(8, 16, 16))


def load(path, **options) -> MetaTensor:
    return LoadImage(**options)(path)


def refused(image) -> str:
    with pytest.raises(CTReadError) as caught:
        volume_of_meta_tensor(image)
    message = str(caught.value)
    assert "\n" not in message and "; " in message
    return message


def oblique(affine: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(0.2), np.sin(0.2)
    turn = np.array([[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return turn @ affine


def sizes(affine: np.ndarray) -> list[float]:
    """The header's pixdim; where it is not that of the affine, MONAI writes another affine over it."""
    return [1, *np.linalg.norm(affine[:3, :3], axis=0), 1, 1, 1, 1]


FILES = {
    "HU": {},
    "slope and intercept": {"slope": 1.0, "intercept": -1024.0, "shift": 1024},
    "half slope": {"slope": 0.5, "intercept": -1000.0, "shift": 1000, "factor": 2},
    "big endian": {"order": ">"},
    "micrometres": {"xyzt_units": 3, "unit": 1000.0},
    "trailing axis": {"axes": 4},
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("axcodes", ["SPL", "RAS", "LPS", "ASL"])
def test_pixels_are_exactly_those_of_the_file(write_nifti, hu, affine, image_processor, kind, axcodes):
    options = dict(FILES[kind])
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(axcodes)))
    raw = nib.orientations.apply_orientation(hu, turn)
    turned = affine @ nib.orientations.inv_ornt_aff(turn, hu.shape)
    turned[:3] *= options.pop("unit", 1.0)
    raw = (raw + np.int16(options.pop("shift", 0))) * np.int16(options.pop("factor", 1))
    if options.pop("axes", 3) == 4:
        raw, options["qform"] = raw[..., None], turned  # of a 4D file MONAI takes the qform
    else:
        options["pixdim"] = sizes(turned)
    path = write_nifti(raw, turned, **options)
    expected = image_processor(path)["pixel_values"]
    loaded = load(path)
    first = EnsureChannelFirst()(loaded)
    for image in (loaded, first, Orientation("RAS")(first), Orientation("LPI")(first)):
        assert torch.equal(image_processor(image)["pixel_values"], expected)


def test_a_fractional_slope_differs_by_rounding_alone(write_nifti, hu, affine, image_processor):
    path = write_nifti(hu * 9, affine, slope=1 / 9, intercept=0, pixdim=sizes(affine))
    expected = image_processor(path)["pixel_values"]
    assert (image_processor(load(path))["pixel_values"] - expected).abs().max() < 1e-6


def test_oblique_axes_are_those_of_the_affine(write_nifti, hu, affine, image_processor):
    path = write_nifti(hu, oblique(affine), pixdim=sizes(affine))
    loaded = load(path)
    volume = volume_of_meta_tensor(loaded)
    assert torch.equal(image_processor(loaded)["pixel_values"], image_processor(path)["pixel_values"])
    assert "oblique by 11.5 degrees" in volume.warnings[0]
    assert np.allclose(volume.affine, image_processor.load_volume(path).affine, rtol=0, atol=1e-12)


@pytest.mark.parametrize("to_ras", [True, False])
def test_a_dicom_series_of_either_space_gives_the_pixels_of_its_folder(write_dicom, hu, image_processor, to_ras):
    folder = write_dicom(hu, edit=lambda index, header: setattr(header, "InstanceNumber", index + 1))
    loaded = load(folder, reader="PydicomReader", affine_lps_to_ras=to_ras)
    assert loaded.meta["space"] == ("RAS" if to_ras else "LPS")
    assert torch.equal(image_processor(loaded)["pixel_values"], image_processor(folder)["pixel_values"])


@pytest.mark.parametrize("space", ["RAS", "LPS", "LAS", "left-posterior-superior"])
def test_left_stays_left_in_every_space(hu, affine, space):
    in_space = np.diag([-1.0 if space[0] in "Ll" else 1.0, -1.0 if "P" in space.upper()[1:7] else 1.0, 1, 1]) @ affine
    volume = volume_of_meta_tensor(MetaTensor(hu, affine=in_space, meta={"space": space}))
    assert np.array_equal(volume.hu, hu) and np.allclose(volume.affine, affine)


def test_a_tensor_without_any_metadata_of_a_file_has_its_affine(hu, affine, image_processor):
    plain = MetaTensor(torch.from_numpy(hu)[None].to(torch.int32), affine=affine)
    expected = image_processor(hu, spacing_mm=(2.5, 0.75, 0.5))["pixel_values"]
    assert torch.equal(image_processor([plain, [plain]])["pixel_values"], expected.expand(2, -1, -1, -1, -1))
    assert plain.dtype == torch.int32 and torch.equal(plain.as_tensor()[0], torch.from_numpy(hu).int())


def test_an_unknown_orientation_is_refused(write_nifti, hu, affine, tmp_path):
    unknown = MetaTensor(hu.astype(np.float32))
    assert "the affine is the identity" in refused(unknown)
    assert "the affine is the identity" in refused(Orientation("LPS")(unknown[None]))
    np.save(tmp_path / "scan.npy", hu)
    assert refused(load(tmp_path / "scan.npy")).startswith(f"{tmp_path / 'scan.npy'}: the affine is the identity")
    unknown.meta["affine"] = None
    assert "no affine" in refused(unknown)
    of_itk = {"sform_code": "0", "qform_code": "0", "srow_x": "0 0 0 0"}
    assert "the orientation is missing" in refused(MetaTensor(hu, affine=affine, meta=of_itk))
    assert "neither RAS nor LPS" in refused(MetaTensor(hu, affine=affine, meta={"space": "scanner"}))


def test_what_a_nifti_file_is_refused_for_a_tensor_of_it_is_too(write_nifti, hu, affine, refusal):
    other = affine.copy()
    other[1] *= -1
    in_file_axes, at = hu.T, affine[:, [2, 1, 0, 3]]
    files = (
        write_nifti(in_file_axes, name="none.nii"),
        write_nifti(in_file_axes, np.eye(4), name="identity.nii"),
        write_nifti(
            in_file_axes, at, qform=other[:, [2, 1, 0, 3]], pixdim=[1, 0.5, 0.75, 2.5, 1, 1, 1, 1], name="two.nii"
        ),
    )
    for path in files:
        assert refused(load(path)).split(";")[0] == refusal(path).split(";")[0]
        assert refused(Orientation("RAS")(load(path)[None])).split(":")[1:] == refused(load(path)).split(":")[1:]


@pytest.mark.parametrize("pixdim", [None, [1, 0.5, 0.75, 2.6, 1, 1, 1, 1]])
def test_an_affine_that_monai_wrote_over_the_file_s_is_refused(write_nifti, hu, affine, image_processor, pixdim):
    path = write_nifti(hu.T, affine[:, [2, 1, 0, 3]], **({"pixdim": pixdim} if pixdim else {}))
    loaded = load(path)
    assert (loaded.affine.diagonal() > 0).all() and (affine[[1, 0], [1, 2]] < 0).all()  # left is right, front is back
    assert "voxel sizes alone" in refused(loaded) or "the affine is the identity" in refused(loaded)


def test_batches_channels_and_pending_operations_are_refused(write_nifti, hu, affine):
    path = write_nifti(hu, affine, pixdim=sizes(affine))
    image = load(path, ensure_channel_first=True)
    loader = monai.data.DataLoader(monai.data.Dataset([path, path], lambda path: image), batch_size=2)
    batch = next(iter(loader))
    assert refused(batch).startswith("MetaTensor: a batch, not one scan; take it apart")
    for single in monai.data.decollate_batch(batch):
        assert np.array_equal(volume_of_meta_tensor(single).hu, hu)
    assert "4D (2 x 12 x 16 x 20)" in refused(torch.cat([image, image]))
    pending = Orientation("RAS", lazy=True)(image)
    assert "lazy operations are pending" in refused(pending)


def test_intensities_that_are_no_hu_are_refused(write_nifti, hu, affine):
    scaled = (load(write_nifti(hu, affine, pixdim=sizes(affine))) + 1000) / 2000
    assert "NaN" not in refused(scaled)
