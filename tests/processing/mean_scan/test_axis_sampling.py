"""Operators that sample an axis at other places, against numpy's interpolation and known means."""

import numpy as np
import pytest
import torch

from argus_processing.mean_scan.axis_sampling import along_axes, centred_places, sampling_operator


def test_finer_samples_are_interpolated_linearly():
    places = torch.linspace(-6.0, 6.0, 25, dtype=torch.float64)  # of an axis of 7 samples, 2 mm apart
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0])
    own = sampling_operator(places, 0.5, 7, 2.0) @ torch.from_numpy(values).float()
    assert own.numpy() == pytest.approx(np.interp(places, np.arange(-6, 7, 2), values), abs=1e-5)


def test_coarser_samples_are_means_and_lose_nothing():
    values = torch.zeros(40)
    values[17] = 1.0  # a single fine voxel between two coarse ones
    coarse = sampling_operator(centred_places(10, 4.0), 4.0, 40, 1.0) @ values
    assert coarse.sum() * 4 == pytest.approx(1.0, abs=1e-5) and coarse.max() < 0.3


def test_rows_outside_the_axis_are_zero():
    operator = sampling_operator(torch.tensor([-5.1, -4.9, 4.9, 5.1], dtype=torch.float64), 1.0, 10, 1.0)
    assert operator.sum(dim=1).tolist() == pytest.approx([0, 1, 1, 0])


def test_axes_are_sampled_each_on_its_own():
    volume = torch.randn(4, 5, 6)
    operators = [torch.randn(3, 4), torch.randn(2, 5), torch.randn(7, 6)]
    expected = torch.einsum("ad,bh,cw,dhw->abc", *operators, volume)
    torch.testing.assert_close(along_axes(volume, operators), expected)
