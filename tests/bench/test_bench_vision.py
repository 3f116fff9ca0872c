import json

import bench_vision
import pytest
import torch
from bench_vision import SIDES, ConvolutionPatches, LinearPatches, bench_patches, make_sides


def small_sides(resolution, dtype):
    torch.manual_seed(0)
    linear, convolution = LinearPatches((2, 4, 4), 6), ConvolutionPatches((2, 4, 4), 6)
    convolution.load_state_dict({"weight": linear.weight.view_as(convolution.weight), "bias": linear.bias})
    return {"linear": linear.to(dtype), "conv3d": convolution.to(dtype)}, torch.rand(1, 1, 4, 8, 12, dtype=dtype)


def test_both_sides_of_the_bench_are_the_same_map_with_the_same_gradient():
    sides, volume = small_sides("nr", torch.float32)
    tokens = [sides[side](volume) for side in SIDES]
    assert tokens[0].shape == (1, 12, 6)
    torch.testing.assert_close(*tokens)
    for output in tokens:
        output.square().sum().backward()
    torch.testing.assert_close(sides["linear"].weight.grad, sides["conv3d"].weight.grad.flatten(1))


@pytest.mark.parametrize("resolution", ["nr", "hr"])
def test_the_bench_takes_the_presets_grids_and_patches(resolution):
    with torch.device("meta"):
        sides, volume = make_sides(resolution, torch.float32)
        shapes = {sides[side](volume).shape for side in SIDES}
    assert shapes == {(1, {"nr": 2048, "hr": 4096}[resolution], 768)}


def test_the_bench_writes_what_it_measured_and_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        bench_vision,
        "bench_patches",
        lambda resolution, dtype, rounds: bench_patches(resolution, dtype, rounds, make=small_sides),
    )
    bench_vision.run_bench(tmp_path)
    results = json.loads((tmp_path / "vision.json").read_text())
    assert len(results["patch_embedding"]) == 4 and len(results["systems"]) == 8
    for row in results["patch_embedding"]:
        linear, convolution = (row[f"{side}_forward_ms"] + row[f"{side}_backward_ms"] for side in SIDES)
        assert row["times_faster"] == pytest.approx(convolution / linear)
        assert row["largest_difference"] < (1e-5 if row["dtype"] == "float32" else 0.05)
    for row in results["systems"]:
        parts = ("encoder_flops", "connector_flops", "prefill_flops")
        assert row["total_flops"] == sum(row[part] for part in parts) and min(row[part] for part in parts) > 0
    said = capsys.readouterr().out
    assert "ct2rep" in said and "8,192" in said
