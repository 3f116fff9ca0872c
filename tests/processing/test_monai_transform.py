"""The preprocessing as a step of MONAI's pipelines and data sets."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, Dataset, decollate_batch
from monai.transforms import Compose, CropForegroundd, EnsureChannelFirstd, LoadImaged, Orientationd

from argus_processing import ArgusImageProcessor, CTReadError
from argus_processing.monai_transform import ArgusPreprocessd

pytestmark = pytest.mark.filterwarnings("ignore")  # MONAI warns of decoders that are not installed


@pytest.fixture
def image_processor() -> ArgusImageProcessor:
    return ArgusImageProcessor(image_size=(8, 16, 16))


@pytest.fixture
def samples(write_nifti, hu, affine) -> list[dict]:
    """Two scans with reports, one stored by slices and one by columns."""
    sizes = [1, *np.linalg.norm(affine[:3, :3], axis=0), 1, 1, 1, 1]
    one = write_nifti(hu, affine, name="one.nii.gz", pixdim=sizes)
    sizes[1:4] = sizes[3:0:-1]
    two = write_nifti(np.flip(hu, axis=1).T, affine[:, [2, 1, 0, 3]], name="two.nii.gz", pixdim=sizes)
    return [{"image": str(one), "report": "No nodule."}, {"image": str(two), "report": "A nodule."}]


@pytest.fixture
def expected(samples, image_processor) -> torch.Tensor:
    return image_processor([sample["image"] for sample in samples])["pixel_values"]


def pipelines(image_processor) -> dict[str, Compose]:
    last = ArgusPreprocessd("image", image_processor)
    load, channel, turn = LoadImaged("image"), EnsureChannelFirstd("image"), Orientationd("image", axcodes="RAS")
    return {
        "path": Compose([last]),
        "loaded": Compose([load, last]),
        "channel": Compose([load, channel, last]),
        "turned": Compose([load, channel, turn, last]),
        "lazy": Compose([load, channel, turn, last], lazy=True),
    }


@pytest.mark.parametrize("name", ["path", "loaded", "channel", "turned", "lazy"])
def test_every_pipeline_gives_the_pixels_of_the_file(samples, expected, image_processor, name):
    for sample, pixels in zip(samples, expected, strict=True):
        made = pipelines(image_processor)[name](sample)
        assert torch.equal(made["image"], pixels) and type(made["image"]) is torch.Tensor
        assert made["report"] == sample["report"] and isinstance(sample["image"], str)


@pytest.mark.parametrize(("make", "context"), [(Dataset, "fork"), (CacheDataset, "fork"), (CacheDataset, "spawn")])
def test_worker_processes_give_the_batch_that_the_model_takes(samples, expected, image_processor, make, context):
    dataset = make(samples, pipelines(image_processor)["channel"])
    loader = DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context=context)
    for _ in range(1 if context == "spawn" else 2):
        (batch,) = loader
        assert torch.equal(batch["image"], expected) and batch["report"] == ["No nodule.", "A nodule."]
    assert [one["report"] for one in decollate_batch(batch)] == batch["report"]


def test_a_cropped_scan_is_the_cropped_part(samples, expected, image_processor):
    crop = CropForegroundd("image", source_key="image", select_fn=lambda hu: hu > -500, allow_smaller=True)
    pipeline = Compose(
        [LoadImaged("image"), EnsureChannelFirstd("image"), crop, ArgusPreprocessd("image", image_processor)]
    )
    made = pipeline(samples[0])["image"]
    assert made.shape == expected[0].shape and made.mean() > expected[0].mean()


def test_several_keys_and_missing_ones(samples, expected, image_processor):
    sample = {"now": samples[0]["image"], "before": samples[1]["image"]}
    made = ArgusPreprocessd(["now", "before"], image_processor)(sample)
    assert torch.equal(torch.stack([made["now"], made["before"]]), expected)
    del sample["before"]
    assert list(ArgusPreprocessd(["now", "before"], image_processor, allow_missing_keys=True)(sample)) == ["now"]
    with pytest.raises(KeyError, match="before"):
        ArgusPreprocessd(["now", "before"], image_processor)(sample)


def test_a_scan_that_cannot_be_read_is_named(image_processor, tmp_path):
    with pytest.raises(CTReadError, match="none.nii.gz: no such file"):
        ArgusPreprocessd("image", image_processor)({"image": str(tmp_path / "none.nii.gz")})


def test_without_monai_the_package_imports_and_the_extra_is_named():
    program = """
import sys, argus_processing
print("monai" in sys.modules)
sys.modules["monai"] = None
import argus_processing.monai_transform
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False"
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: the package monai is not installed: pip install '.[monai]'"
    )
