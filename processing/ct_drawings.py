"""Refuse a drawing, made of a few things of one value each, if its values are not Hounsfield units.

A drawing has no peaks with slopes, and its noise, if any, is narrow: the check uses the values of its things.
"""

from dataclasses import dataclass

import numpy as np

from .ct_counts import EDGE, SOFT_HU, Histogram

GAP_HU = 25  # least gap between the values of one thing and the next
WIDEST_HU = 160  # of a thing with the noise of a drawing; a scan's values run from air to bone without gaps
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
ADVICE = "give the CT in Hounsfield units, with slope and intercept applied once"

Refusal = tuple[str, str]  # cause and advice


@dataclass(frozen=True)
class Thing:
    """One thing of a drawing: the values that it takes, and its share of the voxels."""

    low: int
    high: int
    share: float

    @property
    def place(self) -> float:
        """Return the middle of its values."""
        return (self.low + self.high) / 2


def things_of(histogram: Histogram) -> list[Thing]:
    """Return the things of a drawing from dark to bright; an empty list if this is not a drawing."""
    values = np.flatnonzero(histogram.counts) - EDGE
    groups = np.split(values, np.flatnonzero(np.diff(values) > GAP_HU) + 1)
    things = [Thing(int(group[0]), int(group[-1]), histogram.share(group[0], group[-1])) for group in groups]
    if len(things) < 2 or max(thing.high - thing.low for thing in things) > WIDEST_HU:
        return []
    return things


def why_drawing_is_not_hu(histogram: Histogram) -> Refusal | None:
    """Return cause and advice if a drawing's values are not Hounsfield units, None if they are."""
    things = [thing for thing in things_of(histogram) if thing.share > SMALL_SHARE]
    if not things:
        return None
    below = [thing for thing in things if thing.high < -1100]
    if len(below) > 1:
        return f"values gather near {below[0].place:g} and {below[1].place:g}, below air: {SHIFTED}", ADVICE
    tissue = sum(thing.share for thing in things if thing.place > LUNG_TO_FAT_HU[0])
    if len([thing for thing in things if thing.high < -900]) > 1 and tissue < SMALLEST_BODY:
        return f"nearly all lies near {things[0].place:g} and {things[1].place:g}: {SHIFTED}", ADVICE
    has_air = any(-1100 < thing.place < -900 for thing in things)
    for thing in things:
        usual = USUAL_SHARES[has_air, thing.place > FOAM_HU]
        if LUNG_TO_FAT_HU[0] < thing.place < LUNG_TO_FAT_HU[1] and thing.share > usual:
            cause = f"values gather near {thing.place:g}, between lung and fat: {SHIFTED}, or a window was cut out"
            return cause, ADVICE
    soft, bony = (sum(thing.share for thing in things if low < thing.place < high) for low, high in (SOFT_HU, BONY_HU))
    if len(things) > 2 and soft < 0.1 * bony:
        return f"tissue lies where only bone should: {SHIFTED}", ADVICE
    bright = max((thing.share for thing in things if 850 < thing.place < 1100), default=0.0)
    if bright > BRIGHT_SHARE and any(-70 < thing.place < -20 for thing in things):
        return "air lies near 1000 and tissue below 0: the sign is wrong", ADVICE
    return _labels(histogram) or _filled(things)


def _labels(histogram: Histogram) -> Refusal | None:
    """Find labels: only values 0, 1, 2 and so on, or some of them, beside padding."""
    values = np.flatnonzero(histogram.without_padding().counts) - EDGE
    counted_through = len(values) > 2 and (np.diff(values) == 1).all()
    if len(values) > 1 and abs(values[0]) < 2 and (counted_through or values[-1] <= FEW_LABELS):
        return f"beside padding the values run from {values[0]} to {values[-1]}: a mask", "give the CT itself"
    return None


def _filled(things: list[Thing]) -> Refusal | None:
    """Find a thing of exactly one value if nearly all others have noise: it was filled."""
    even = [thing for thing in things if thing.low == thing.high and thing.low > FILL_HU and thing.share > FILL_SHARE]
    noisy = [thing for thing in things if thing.high - thing.low > 2]
    if even and len(noisy) > 1 and len(noisy) >= len(things) - 2:
        cause = f"{even[0].share:.0%} of the voxels are exactly {even[0].low}: filled with the value of a tissue"
        return cause, "fill what lies outside the scan with air (-1000 or -1024)"
    return None
