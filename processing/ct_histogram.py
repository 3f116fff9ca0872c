"""Tell Hounsfield units from what is often stored in their place, by the histogram of a scan alone.

Every CT has air near -1000 (around the body, in lung or bowel, or as padding below it) and soft tissue, from fat at
-100 to blood at 60, in one narrow peak; little lies between -500 and -200; bone thins out from 200 to 1500.
A forgotten or doubled intercept moves that peak, a window cuts the histogram's ends into piles of equal values, and the
intensities of other modalities have no such peak. The limits below were set on real CTs: chest, abdomen, pelvis, heads
with and without bone kernel, contrast, metal, low dose, padding of -1024 to -3024, and 7,800 crops of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SAMPLED_VOXELS = 2_000_000  # enough for the shares below, whatever the volume's size
EDGE = 10_000  # what lies beyond is counted at the edge

SOFT_HU = (-150, 250)  # fat, water, organs, blood with some contrast
FAT_HU = (-150, -30)
AIR_LIMIT_HU = -500  # lung and air lie below
HARMLESS_CUT_HU = (-950, 1000)  # a cut beyond these ends takes nothing that a model's window would keep
PILE_VOXELS = 20
LOW_PILE_RATIO = 3.0  # of the voxels at the lowest value to those at any of the ten above it
PEAK_RATIO = 2.5  # of the densest 40 HU of soft tissue to what lies on both sides of it; MR has 0.02 to 2.5
PILE_RATIO = 20.0  # of the voxels at the highest value to those at each of the values below it
MANY_LEVELS = 64  # whole HU that occur; a drawing without noise has fewer
BEYOND_BONE_HU = 4000  # metal on an extended scale
NOTABLE_SHARE = 0.01
FILL_HU = (-900, 900)  # where no value may have voxels of its own
FILL_SHARE = 0.02
DRAWN_SHARE = 0.003  # of the voxels at a second value, which a drawing has and a fill has not
FILL_RATIO = 4.0  # of the voxels at this value to those at any value near it
FILL_AROUND = 60  # HU; wider than the steps of any rescale slope
HU_ADVICE = "give the CT in Hounsfield units"

Refusal = tuple[str, str]  # cause and advice


@dataclass(frozen=True)
class Histogram:
    """How often each HU occurs in a sample of a volume.

    Attributes:
        low, high: lowest and highest value of the whole volume.
        num_low, num_high: voxels of the sample that have exactly these.
        counts: of values rounded to whole HU, from `-EDGE` to `EDGE`.
    """

    low: float
    high: float
    num_low: int
    num_high: int
    counts: np.ndarray

    @classmethod
    def of(cls, hu: np.ndarray) -> "Histogram":
        """Count a volume of finite numbers."""
        step = max(1, math.ceil((hu.size / SAMPLED_VOXELS) ** (1 / 3)))
        sample = hu[::step, ::step, ::step].ravel()
        low, high = float(hu.min()), float(hu.max())
        whole = np.rint(np.clip(sample, -EDGE, EDGE)).astype(np.int64) + EDGE
        counts = np.bincount(whole, minlength=2 * EDGE + 1)
        return cls(low, high, int((sample == low).sum()), int((sample == high).sum()), counts)

    @property
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

    def without_padding(self) -> "Histogram":
        """Leave out a pile of voxels at the lowest value, where that is below all tissue."""
        if self.low > -1000 or self.num_low < 0.005 * self.total:
            return self
        counts = self.counts.copy()
        counts[int(np.clip(round(self.low), -EDGE, EDGE)) + EDGE] -= self.num_low
        left = np.flatnonzero(counts)
        low = float(left[0] - EDGE) if left.size else self.low
        return Histogram(low, self.high, int(counts[left[0]]) if left.size else 0, self.num_high, counts)


def why_not_hu(hu: np.ndarray) -> Refusal | None:
    """Say why a volume's values cannot be Hounsfield units, as cause and advice; None if they can.

    Args:
        hu: finite values, any shape of three axes.
    """
    histogram = Histogram.of(hu)
    rules: tuple[Callable[[Histogram], Refusal | None], ...] = (
        _no_negative_value,
        _missing_intercept,
        _cut_below,
        _too_narrow,
        _rescaled_twice,
        _no_soft_tissue,
        _cut_above,
        _other_modality,
        _filled,
    )
    return next((refusal for rule in rules if (refusal := rule(histogram)) is not None), None)


def _span(histogram: Histogram) -> str:
    return f"the values run from {histogram.low:.6g} to {histogram.high:.6g}"


def _no_negative_value(histogram: Histogram) -> Refusal | None:
    """Tell apart the ways in which values without any negative one are not HU."""
    low, high = histogram.low, histogram.high
    if low < 0:
        return None
    if low == high:
        return f"every voxel is {low:.6g}", "give a scan of a body"
    if high <= 1:
        return "the values lie between 0 and 1: a normalised picture, not Hounsfield units", HU_ADVICE
    if high <= 255:
        return "the values lie between 0 and 255: an 8-bit picture or a mask, not Hounsfield units", HU_ADVICE
    tissue, between = histogram.share(900, 1250), histogram.share(450, 800)
    if histogram.share(0, 200) > NOTABLE_SHARE and tissue > max(2 * between, NOTABLE_SHARE):
        cause = f"{_span(histogram)} with tissue near 1024: the rescale intercept is missing"
        return cause, "convert the scan again with its rescale intercept (often -1024)"
    cause = f"no value is negative ({low:.6g} to {high:.6g}): not Hounsfield units (MR or PET, or a cut window?)"
    return cause, HU_ADVICE


def _cut_below(histogram: Histogram) -> Refusal | None:
    """Find a pile at the lowest value where air and lung should lie below it."""
    for part in (histogram, histogram.without_padding()):
        start = int(np.clip(round(part.low), -EDGE, EDGE)) + EDGE
        steep = part.num_low > LOW_PILE_RATIO * part.counts[start + 1 : start + 11].max(initial=0)
        piled = steep and part.num_low >= max(PILE_VOXELS, NOTABLE_SHARE * part.total)
        # Beside padding, a drawing without noise has a pile of its own: there the values above must be taken too.
        isolated = part is not histogram and part.is_drawn
        if part.low > HARMLESS_CUT_HU[0] and piled and not isolated:
            cause = f"{part.num_low / part.total:.0%} of the voxels are exactly {part.low:.6g}: a window was cut out"
            return cause, "give the CT in Hounsfield units, not windowed or normalised"
    return None


def _too_narrow(histogram: Histogram) -> Refusal | None:
    """Refuse values without air or lung, unless all else shows a crop from inside a body: fat, organs, no piles."""
    if histogram.low <= -200:
        return None
    water, flesh, fat = (
        histogram.share(*ends) / (ends[1] - ends[0] + 1) for ends in ((-20, 10), (20, 80), (-130, -70))
    )
    crop = histogram.low < -60 and histogram.share(*FAT_HU) > NOTABLE_SHARE and histogram.soft > 0.5
    if (
        crop
        and max(fat, flesh) > 1.25 * water
        and histogram.share(20, 80) > 0.05
        and histogram.share(1500, EDGE) < 0.05
    ):
        return None
    cause = f"{_span(histogram)}: no air or lung, so these are not Hounsfield units (MR, or a cut window?)"
    return cause, "give the CT in Hounsfield units, not windowed or normalised"


def _missing_intercept(histogram: Histogram) -> Refusal | None:
    """Find the narrow peak of soft tissue near 1024, and next to nothing where lung and fat should be."""
    inside = histogram.without_padding()
    tissue = inside.share(1000, 1130)
    beside = inside.share(750, 850) + inside.share(1250, 1350)
    air_or_lung = inside.share(-60, 400)
    if tissue > max(beside, NOTABLE_SHARE) and inside.share(-800, -30) < 0.25 * tissue and air_or_lung > 0.005:
        cause = "soft tissue lies near 1024, and below 0 there is only padding: the intercept was not applied"
        return cause, "convert the scan with its rescale intercept (often -1024)"
    return None


def _rescaled_twice(histogram: Histogram) -> Refusal | None:
    """Find air near -2024 and tissue near -1000: values below all tissue that are not one padding value."""
    inside = histogram.without_padding()
    below = max(inside.share(-2150, -1500), histogram.share(-2150, -1900))
    if histogram.soft < 0.05 and below > NOTABLE_SHARE and inside.share(-1250, -850) > 2 * histogram.soft:
        shifted_fat, shifted_lung = inside.share(-1250, -1060), inside.share(-2000, -1500)
        if max(shifted_fat, shifted_lung) > NOTABLE_SHARE or histogram.soft < 0.002:
            cause = "air lies near -2000 and soft tissue near -1000: slope and intercept were applied twice"
            return cause, "use the file as published, without applying its metadata's intercept again"
    return None


def _no_soft_tissue(histogram: Histogram) -> Refusal | None:
    advice = "with slope and intercept applied once"
    if histogram.high < SOFT_HU[0]:
        return f"{_span(histogram)}: air only, no tissue", f"give a scan of a body, {advice}"
    # A drawing may hold one bright object in air.
    if histogram.soft >= 0.002 or (histogram.is_drawn and histogram.share(-1050, -950) > NOTABLE_SHARE):
        return None
    cause = f"{_span(histogram)}, and nearly nothing lies where soft tissue does ({SOFT_HU[0]} to {SOFT_HU[1]})"
    return cause, f"{HU_ADVICE}, {advice}"


def _cut_above(histogram: Histogram) -> Refusal | None:
    """Find a pile at the highest value that a continuous histogram does not end in."""
    high = histogram.high
    if high >= HARMLESS_CUT_HU[1] or histogram.num_high < PILE_VOXELS:
        return None
    below = histogram.count(high - 50, high - 1) / 50
    # Nothing at all below the pile: a drawing of one value, not a cut.
    if 0.2 < below and histogram.num_high > PILE_RATIO * below:
        cause = f"{histogram.num_high / histogram.total:.1%} of the voxels are exactly {high:.6g}: a window was cut out"
        return cause, "give the CT in Hounsfield units, not windowed or normalised"
    return None


def _other_modality(histogram: Histogram) -> Refusal | None:
    """Refuse broad intensities, as MR has them, that padding or an offset has put among Hounsfield units."""
    inside = histogram.without_padding()
    soft, bright = inside.soft, inside.share(300, EDGE)
    airless = inside.share(-EDGE, AIR_LIMIT_HU) < 0.005
    no_peak = airless and soft < 0.85 and bright > 0.15 and inside.share(*FAT_HU) < 0.003
    valley = inside.share(-500, -200)
    beside = (valley + inside.share(250, 550)) * 40 / 602  # in 40 of these 602 HU, on average
    peak = max(inside.share(start, start + 39) for start in range(-140, 120, 10))
    background = histogram.share(-1100, -900) > 0.15 or valley > 0.3
    filled_valley = background and valley > 0.08 and peak < PEAK_RATIO * beside
    broad = (no_peak or filled_valley) and not inside.is_drawn
    if broad or histogram.share(BEYOND_BONE_HU, EDGE) > 0.2:
        return f"{_span(histogram)} without the peak of soft tissue that a CT has (MR?)", HU_ADVICE
    return None


def _largest_pile(histogram: Histogram, counts: np.ndarray, share: float) -> tuple[int, bool]:
    """Find the fullest place of `counts` in `FILL_HU`; also whether it has its `share` and stands above those near."""
    first, last = (edge + EDGE for edge in FILL_HU)
    place = first + int(np.argmax(counts[first : last + 1]))
    around = counts[place - FILL_AROUND : place + FILL_AROUND + 1].copy()
    around[FILL_AROUND] = 0
    return place, bool(counts[place] > share * histogram.total and counts[place] > FILL_RATIO * around.max())


def _filled(histogram: Histogram) -> Refusal | None:
    """Find what was filled with one tissue's value: a background of 0, or what lay outside a mask."""
    place, is_pile = _largest_pile(histogram, histogram.counts, FILL_SHARE)
    if is_pile and not histogram.is_drawn:
        pile = int(histogram.counts[place])
        others = histogram.counts.copy()
        others[place - FILL_AROUND : place + FILL_AROUND + 1] = 0
        # A drawing whose edges are blurred has many values, but piles of several: each thing's own, without noise.
        if _largest_pile(histogram, others, DRAWN_SHARE)[1]:
            return None
        cause = (
            f"{pile / histogram.total:.0%} of the voxels are exactly {place - EDGE}: filled with the value of a tissue"
        )
        return cause, "fill what lies outside the scan with air (-1000 or -1024)"
    return None
