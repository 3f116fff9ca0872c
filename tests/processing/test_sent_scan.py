"""Scans that come as addresses, base64, bytes and tensors of every kind."""

import base64

import numpy as np
import pytest
import torch

from argus_processing import ArgusImageProcessor, CTReadError, CTVolume

SPACING = (2.5, 0.75, 0.5)


@pytest.fixture
def image_processor() -> ArgusImageProcessor:
    return ArgusImageProcessor(image_size=(8, 16, 16))


def pixels(image_processor, image, **options) -> torch.Tensor:
    return image_processor(image, **options)["pixel_values"]


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_a_scan_sent_in_any_form_gives_the_pixels_of_its_file(image_processor, write_nifti, hu, affine, name):
    path = write_nifti(hu.T, affine[:, [2, 1, 0, 3]], name=name)
    content = path.read_bytes()
    sent = base64.b64encode(content).decode()
    lines = "\n".join(sent[start : start + 76] for start in range(0, len(sent), 76))
    forms = [path.as_uri(), content, bytearray(content), {"path": None, "bytes": content}, sent, lines]
    forms += [f"data:application/gzip;base64,{sent}", f"DATA:;base64,{sent}"]
    expected = pixels(image_processor, path)
    for form in forms:
        assert torch.equal(pixels(image_processor, form), expected), str(form)[:20]


@pytest.mark.parametrize("scheme", ["http", "https", "ftp", "s3", "hf", "HTTPS"])
def test_nothing_is_fetched(image_processor, scheme):
    with pytest.raises(ValueError, match=r"not fetched from .*; download") as caught:
        image_processor(f"{scheme}://example.org/SECRET/scan.nii.gz")
    assert "SECRET" not in str(caught.value)


def test_what_is_no_scan_is_refused_in_one_line_that_holds_nothing_of_it(image_processor):
    content = base64.b64encode(b"SECRET^NAME" * 999).decode()
    others = (b"\x89PNG\r\n\x1a\n\0\0", b"\xff\xd8\xff\xe0", bytes(128) + b"DICM", b"PK\3\4", b"")
    for text in (
        content,
        *(base64.b64encode(start + b"SECRET^NAME" * count).decode() for start in others for count in (7, 40)),
        f"data:;base64,{content}",
        "data:;base64,SECRET?",
        "data:text/plain,SECRET",
        "H4sI" + content[:-1] + "!",
        "file://elsewhere/SECRET.nii",
        "SECRET\n" * 9,
    ):
        with pytest.raises((ValueError, CTReadError)) as caught:
            image_processor(text)
        message = str(caught.value)
        assert "\n" not in message and len(message) < 200
        assert "SECRET" not in message and content[:12] not in message


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int16, torch.int32, torch.int64])
def test_a_tensor_of_any_type_is_a_scan(image_processor, hu, dtype):
    # Whole multiples of 8 up to 2048: each type holds them exactly.
    values = torch.from_numpy((hu // 8 * 8).astype(np.int64)).to(dtype)
    expected = pixels(image_processor, (hu // 8 * 8).astype(np.int16), spacing_mm=SPACING)
    assert torch.equal(pixels(image_processor, values, spacing_mm=SPACING), expected)


def test_a_tensor_with_a_gradient_or_of_another_order_is_a_scan(image_processor, hu):
    expected = pixels(image_processor, CTVolume.from_array(hu, SPACING))
    values = torch.from_numpy(hu).float()
    for tensor in (values.clone().requires_grad_(), values.movedim(0, 2).contiguous().movedim(2, 0)):
        assert torch.equal(pixels(image_processor, tensor, spacing_mm=SPACING), expected)


def test_an_empty_text_is_not_the_working_directory(image_processor):
    for text in ("", " ", "\n"):
        with pytest.raises(ValueError, match="names no scan"):
            image_processor(text)


@pytest.mark.parametrize("spacing", [(3, 1, 1), [3.0, 1.0, 1.0], np.array([3, 1, 1]), torch.tensor([3.0, 1.0, 1.0])])
def test_spacing_comes_as_any_three_numbers(loaded, hu, spacing):
    processor = loaded[1]
    text = processor.image_token
    expected = processor(images=CTVolume.from_array(hu, (3.0, 1.0, 1.0)), text=text)["pixel_values"]
    assert torch.equal(processor(images=hu, text=text, spacing_mm=spacing)["pixel_values"], expected)


@pytest.mark.parametrize("tensor", [torch.zeros(4, 4, 4, device="meta"), torch.zeros(4, 4, 4).to_sparse()])
def test_a_tensor_without_plain_numbers_is_refused(image_processor, tensor):
    with pytest.raises(ValueError, match="dense"):
        image_processor(tensor, spacing_mm=SPACING)
