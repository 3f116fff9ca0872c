"""Count how often each Hounsfield value occurs in a scan, and find the peaks of the histogram."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .ct_arrays import HuVolume

SAMPLED_VOXELS = 2_000_000  # enough to estimate any share, for any size of volume
EDGE = 10_000  # values beyond are counted at the edge
SOFT_HU = (-150, 250)  # fat, water, organs, blood with some contrast
MANY_LEVELS = 64  # number of whole HU that occur; a drawing without noise has fewer
PADDING_BELOW = -1000
PADDING_SHARE = 0.005
SMOOTHED_HU = 21  # HU; width of the moving mean, less than any tissue's noise
PEAK_TOP = 10  # HU on each side of a peak; nothing is higher within
RESCALE_ADVICE = "with slope and intercept applied once"

Refusal = tuple[str, str]  # cause and advice


def ends_of(hu: HuVolume) -> tuple[float, float]:
    """Return the lowest and the highest value; both are NaN if any is."""
    return float(hu.min()), float(hu.max())


@dataclass(frozen=True)
class Peak:
    """The highest point of a part of the histogram.

    Attributes:
        place: in HU.
        density: share of all voxels per HU there.
        steepness: ratio of this density to the higher of the lowest densities on its two sides; 1 for a slope.
    """

    place: int
    density: float
    steepness: float


@dataclass(frozen=True)
class Histogram:
    """Number of voxels of each HU in a sample of a volume.

    Attributes:
        low, high: lowest and highest value of the whole volume.
        num_low, num_high: voxels of the sample with exactly these values.
        fractional: whether there are values between whole HU.
        counts: counts of values rounded to whole HU, from `-EDGE` to `EDGE`.
    """

    low: float
    high: float
    num_low: int
    num_high: int
    fractional: bool
    counts: np.ndarray

    @classmethod
    def of(cls, hu: HuVolume, ends: tuple[float, float] | None = None) -> "Histogram":
        """Make the histogram of a volume of finite numbers; `ends` are its lowest and highest, if they are known."""
        step = max(1, math.ceil((hu.size / SAMPLED_VOXELS) ** (1 / 3)))
        sample = hu[::step, ::step, ::step].ravel(order="K")
        low, high = ends_of(hu) if ends is None else ends
        clipped = np.clip(sample, -EDGE, EDGE)
        rounded = np.rint(clipped) if hu.dtype.kind == "f" else clipped
        fractional = hu.dtype.kind == "f" and bool((rounded != sample).any())
        counts = np.bincount(rounded.astype(np.int64) + EDGE, minlength=2 * EDGE + 1)
        return cls(low, high, int((sample == low).sum()), int((sample == high).sum()), fractional, counts)

    @cached_property
    def total(self) -> int:
        """Return the number of counted voxels."""
        return int(self.counts.sum())

    def count(self, low: float, high: float) -> int:
        """Count the voxels from `low` to `high`, both included."""
        first, last = (int(min(max(edge, -EDGE), EDGE)) + EDGE for edge in (low, high))
        return int(self.counts[first : last + 1].sum())

    def share(self, low: float, high: float) -> float:
        """Return the share of the voxels from `low` to `high`, both included."""
        return self.count(low, high) / max(self.total, 1)

    @property
    def soft(self) -> float:
        """Return the share of soft tissue."""
        return self.share(*SOFT_HU)

    @property
    def is_drawn(self) -> bool:
        """Return whether there are so few different values that it is a drawing, not a scan with noise."""
        return int(np.count_nonzero(self.counts)) < MANY_LEVELS

    @cached_property
    def density(self) -> np.ndarray:
        """Return the share of all voxels per HU, smoothed, from `-EDGE` to `EDGE`."""
        mean = np.full(SMOOTHED_HU, 1 / (SMOOTHED_HU * max(self.total, 1)))
        return np.convolve(self.counts, mean, "same")

    def highest(self, low: int, high: int) -> float:
        """Return the highest density from `low` to `high`."""
        return float(self.density[low + EDGE : high + EDGE + 1].max())

    def peak(self, low: int, high: int, reach: int) -> Peak:
        """Find the highest point from `low` to `high`, and compare it with densities up to `reach` HU on both sides."""
        density = self.density
        place = low + EDGE + int(np.argmax(density[low + EDGE : high + EDGE + 1]))
        top = float(density[place])
        around = density[max(0, place - PEAK_TOP) : place + PEAK_TOP + 1].max()
        sides = density[max(0, place - reach) : place + 1].min(), density[place : place + reach + 1].min()
        steepness = top / max(*sides, 1 / max(self.total, 1) / SMOOTHED_HU) if top == around else 1.0
        return Peak(place - EDGE, top, float(steepness))

    def without(self, places: list[int]) -> "Histogram":
        """Return a histogram without the voxels of some values."""
        counts = self.counts.copy()
        counts[np.asarray(places, dtype=int) + EDGE] = 0
        return replace(self, counts=counts)

    def without_padding(self) -> "Histogram":
        """Return a histogram without the pile of voxels at the lowest value, if that value is below all tissue."""
        if self.low > PADDING_BELOW or self.num_low < PADDING_SHARE * self.total:
            return self
        counts = self.counts.copy()
        counts[int(np.clip(round(self.low), -EDGE, EDGE)) + EDGE] -= self.num_low
        left = np.flatnonzero(counts)
        low = float(left[0] - EDGE) if left.size else self.low
        return replace(self, low=low, num_low=int(counts[left[0]]) if left.size else 0, counts=counts)
