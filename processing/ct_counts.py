"""How often each Hounsfield value occurs in a scan, and where the values gather to peaks."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

SAMPLED_VOXELS = 2_000_000  # enough for any share, whatever the volume's size
EDGE = 10_000  # what lies beyond is counted at the edge
SOFT_HU = (-150, 250)  # fat, water, organs, blood with some contrast
MANY_LEVELS = 64  # whole HU that occur; a drawing without noise has fewer
PADDING_BELOW = -1000
PADDING_SHARE = 0.005
SMOOTHED_HU = 21  # width of the mean, less than any tissue's noise
PEAK_TOP = 10  # HU on each side of a peak, within which nothing is higher


@dataclass(frozen=True)
class Peak:
    """The fullest place of a part of the histogram.

    Attributes:
        place: in HU.
        density: share of all voxels in each HU there.
        steepness: of this density to those to which it falls on both sides, the higher of them; 1 for a slope.
    """

    place: int
    density: float
    steepness: float


@dataclass(frozen=True)
class Histogram:
    """How often each HU occurs in a sample of a volume.

    Attributes:
        low, high: lowest and highest value of the whole volume.
        num_low, num_high: voxels of the sample that have exactly these.
        fractional: whether values lie between whole HU.
        counts: of values rounded to whole HU, from `-EDGE` to `EDGE`.
    """

    low: float
    high: float
    num_low: int
    num_high: int
    fractional: bool
    counts: np.ndarray

    @classmethod
    def of(cls, hu: np.ndarray) -> "Histogram":
        """Count a volume of finite numbers."""
        step = max(1, math.ceil((hu.size / SAMPLED_VOXELS) ** (1 / 3)))
        sample = hu[::step, ::step, ::step].ravel()
        low, high = float(hu.min()), float(hu.max())
        rounded = np.rint(np.clip(sample, -EDGE, EDGE))
        fractional = hu.dtype.kind == "f" and bool((rounded != sample).any())
        counts = np.bincount(rounded.astype(np.int64) + EDGE, minlength=2 * EDGE + 1)
        return cls(low, high, int((sample == low).sum()), int((sample == high).sum()), fractional, counts)

    @cached_property
    def total(self) -> int:
        """Voxels that were counted."""
        return int(self.counts.sum())

    def count(self, low: float, high: float) -> int:
        """Count the voxels from `low` to `high`, both included."""
        first, last = (int(np.clip(edge, -EDGE, EDGE)) + EDGE for edge in (low, high))
        return int(self.counts[first : last + 1].sum())

    def share(self, low: float, high: float) -> float:
        """Give the share of the voxels from `low` to `high`, both included."""
        return self.count(low, high) / max(self.total, 1)

    @property
    def soft(self) -> float:
        """Share of soft tissue."""
        return self.share(*SOFT_HU)

    @property
    def is_drawn(self) -> bool:
        """Whether there are so few different values that it is a drawing, not a scan with noise."""
        return np.count_nonzero(self.counts) < MANY_LEVELS

    @cached_property
    def density(self) -> np.ndarray:
        """Share of all voxels in each HU, smoothed, from `-EDGE` to `EDGE`."""
        mean = np.full(SMOOTHED_HU, 1 / (SMOOTHED_HU * max(self.total, 1)))
        return np.convolve(self.counts, mean, "same")

    def highest(self, low: int, high: int) -> float:
        """Give the highest density from `low` to `high`."""
        return float(self.density[low + EDGE : high + EDGE + 1].max())

    def peak(self, low: int, high: int, reach: int) -> Peak:
        """Find the fullest place from `low` to `high`; how it stands out from what lies up to `reach` on both sides."""
        density = self.density
        place = low + EDGE + int(np.argmax(density[low + EDGE : high + EDGE + 1]))
        top = float(density[place])
        around = density[max(0, place - PEAK_TOP) : place + PEAK_TOP + 1].max()
        sides = density[max(0, place - reach) : place + 1].min(), density[place : place + reach + 1].min()
        steepness = top / max(*sides, 1 / max(self.total, 1) / SMOOTHED_HU) if top == around else 1.0
        return Peak(place - EDGE, top, float(steepness))

    def without(self, places: list[int]) -> "Histogram":
        """Leave out the voxels of some values."""
        counts = self.counts.copy()
        counts[np.asarray(places, dtype=int) + EDGE] = 0
        return replace(self, counts=counts)

    def without_padding(self) -> "Histogram":
        """Leave out a pile of voxels at the lowest value, where that is below all tissue."""
        if self.low > PADDING_BELOW or self.num_low < PADDING_SHARE * self.total:
            return self
        counts = self.counts.copy()
        counts[int(np.clip(round(self.low), -EDGE, EDGE)) + EDGE] -= self.num_low
        left = np.flatnonzero(counts)
        low = float(left[0] - EDGE) if left.size else self.low
        return replace(self, low=low, num_low=int(counts[left[0]]) if left.size else 0, counts=counts)
