"""Refuse a drawing, an image of a few regions of nearly one value each, whose values are not Hounsfield units.

The histogram of a drawing has narrow lines in place of peaks with slopes: the check uses the value of each region.
"""

from dataclasses import dataclass

import numpy as np

from .ct_counts import EDGE, RESCALE_ADVICE, SOFT_HU, Histogram, Refusal

GAP_HU = 25  # least gap between the values of one region and the next
WIDEST_HU = 160  # of a region with the noise of a drawing; a scan's values run from air to bone without gaps
LUNG_TO_FAT_HU = (-600, -142)  # between lung and fat
FOAM_HU = -300  # of a couch, which may be drawn too
SMALL_SHARE = 0.002
FILL_SHARE = 0.02  # a larger share of one value may have been filled in
# If there is air, lung may be drawn denser than it is, and a foam couch may be drawn; otherwise voxels may hold a mix.
USUAL_SHARES = {(True, False): 0.25, (True, True): 0.08, (False, False): 0.02, (False, True): 0.04}
BONY_HU = (500, 4000)
BRIGHT_SHARE = 0.1
SMALLEST_BODY = 0.01
FEW_LABELS = 12  # no tissue has only so few values
FILL_HU = -890  # lower fill values are padding
SHIFTED = "slope and intercept were not applied once"
ADVICE = f"give the CT in Hounsfield units, {RESCALE_ADVICE}"
FILL_ADVICE = "fill what lies outside the scan with air (-1000 or -1024)"


@dataclass(frozen=True)
class DrawnRegion:
    """One region of a drawing: its lowest and highest value, and its share of the voxels."""

    low: int
    high: int
    share: float

    @property
    def place(self) -> float:
        """Return the middle between the two."""
        return (self.low + self.high) / 2


def regions_of(histogram: Histogram) -> list[DrawnRegion]:
    """Return the regions of a drawing from dark to bright; an empty list if this is not a drawing."""
    values = np.flatnonzero(histogram.counts) - EDGE
    groups = np.split(values, np.flatnonzero(np.diff(values) > GAP_HU) + 1)
    regions = [DrawnRegion(int(group[0]), int(group[-1]), histogram.share(group[0], group[-1])) for group in groups]
    if len(regions) < 2 or max(region.high - region.low for region in regions) > WIDEST_HU:
        return []
    return regions


def why_drawing_is_not_hu(histogram: Histogram) -> Refusal | None:
    """Return cause and advice if a drawing's values are not Hounsfield units, None if they are."""
    regions = [region for region in regions_of(histogram) if region.share > SMALL_SHARE]
    if not regions:
        return None
    below = [region for region in regions if region.high < -1100]
    if len(below) > 1:
        return f"values gather near {below[0].place:g} and {below[1].place:g}, below air: {SHIFTED}", ADVICE
    tissue = sum(region.share for region in regions if region.place > LUNG_TO_FAT_HU[0])
    if len([region for region in regions if region.high < -900]) > 1 and tissue < SMALLEST_BODY:
        return f"nearly all lies near {regions[0].place:g} and {regions[1].place:g}: {SHIFTED}", ADVICE
    has_air = any(-1100 < region.place < -900 for region in regions)
    for region in regions:
        usual = USUAL_SHARES[has_air, region.place > FOAM_HU]
        if LUNG_TO_FAT_HU[0] < region.place < LUNG_TO_FAT_HU[1] and region.share > usual:
            cause = f"values gather near {region.place:g}, between lung and fat: {SHIFTED}, or a window was cut out"
            return cause, ADVICE
    soft, bony = (
        sum(region.share for region in regions if low < region.place < high) for low, high in (SOFT_HU, BONY_HU)
    )
    if len(regions) > 2 and soft < 0.1 * bony:
        return f"tissue lies where only bone should: {SHIFTED}", ADVICE
    bright = max((region.share for region in regions if 850 < region.place < 1100), default=0.0)
    if bright > BRIGHT_SHARE and any(-70 < region.place < -20 for region in regions):
        return "air lies near 1000 and tissue below 0: the sign is wrong", ADVICE
    return _labels(histogram) or _filled(regions)


def _labels(histogram: Histogram) -> Refusal | None:
    """Find labels: only values 0, 1, 2 and so on, or some of them, beside padding."""
    values = np.flatnonzero(histogram.without_padding().counts) - EDGE
    counted_through = len(values) > 2 and (np.diff(values) == 1).all()
    if len(values) > 1 and abs(values[0]) < 2 and (counted_through or values[-1] <= FEW_LABELS):
        return f"beside padding the values run from {values[0]} to {values[-1]}: a mask", "give the CT itself"
    return None


def _filled(regions: list[DrawnRegion]) -> Refusal | None:
    """Find a region of exactly one value if nearly all others have noise: it was filled."""
    even = [
        region for region in regions if region.low == region.high and region.low > FILL_HU and region.share > FILL_SHARE
    ]
    noisy = [region for region in regions if region.high - region.low > 2]
    if even and len(noisy) > 1 and len(noisy) >= len(regions) - 2:
        cause = f"{even[0].share:.0%} of the voxels are exactly {even[0].low}: filled with the value of a tissue"
        return cause, FILL_ADVICE
    return None
