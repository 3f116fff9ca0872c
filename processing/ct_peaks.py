"""Refuse values whose peaks lie where no CT has peaks: HU times a factor, shifted or negated.

Air lies at -1000 and lung above it, fat near -100, organs from 0 to 130 with contrast; there is no peak between lung
and fat, and below air there is only padding. A peak, unlike a slope, falls on both sides. The limits were set on real
CTs: trunks, limbs and heads, with contrast and metal, padded, cropped, resampled and with noise added.
"""

from collections.abc import Callable

from .ct_counts import EDGE, RESCALE_ADVICE, Histogram, Refusal

SOFT_PEAK_HU = (-140, 200)
PLAIN_PEAK_HU = (-140, 110)  # for scans with so much contrast that the peak of blood lies above both ranges
SOFT_REACH = 300
SOFT_STEEPNESS = 1.5  # a head with noise of 90 HU has 1.65; HU times 8 has 1.2
BETWEEN_HU = (-560, -300)  # between lung and fat
LOW_FAT_HU = (-300, -142)  # fat lies above, except in pictures of a low energy
REACH = 150
STEEPNESS = 3.0
AIR_AND_LUNG_HU = (-1060, -600)
PURE_AIR_HU = (-1060, -900)
HIGH_AIR_HU = (-790, -600)  # lung lies there too, but does not end as sharply as air
FEW = 3e-4  # share of the voxels per HU
ADVICE = f"give the CT in Hounsfield units, {RESCALE_ADVICE}"


def why_peaks_are_not_hu(histogram: Histogram) -> Refusal | None:
    """Return cause and advice if a peak lies where no CT has one, None if all peaks may be a CT's."""
    inside = histogram.without_padding()
    if inside.is_drawn or not inside.total:
        return None
    rules: tuple[Callable[[Histogram], str | None], ...] = (
        _below_air,
        _between_lung_and_fat,
        _negated,
        _negated_and_shifted,
        _tissue_too_bright,
        _no_soft_peak,
    )
    # A background of exactly -1000 counts as air for one rule, and as padding for the others.
    cause = next((cause for rule in rules if (cause := rule(inside)) is not None), _air_too_high(histogram))
    return None if cause is None else (f"{cause}: slope and intercept were not applied once, or this is no CT", ADVICE)


def has_soft_peak(inside: Histogram) -> bool:
    """Return whether there is a peak of fat, muscle or organs; the histogram must be without padding."""
    peaks = [inside.peak(*ends, SOFT_REACH) for ends in (SOFT_PEAK_HU, PLAIN_PEAK_HU)]
    return any(peak.steepness > SOFT_STEEPNESS and peak.density > FEW / 10 for peak in peaks)


def _below_air(inside: Histogram) -> str | None:
    """Find a peak below air, with no peak at air."""
    peak = inside.peak(-EDGE, -1100, REACH)
    below, air = inside.share(-EDGE, -1100), inside.share(-1000, -600)
    stands_out = peak.density > FEW and peak.density > 2 * inside.highest(*PURE_AIR_HU)
    if below > max(0.01, 2 * air) and stands_out:
        return f"values gather near {peak.place}, below air"
    return None


def _between_lung_and_fat(inside: Histogram) -> str | None:
    """Find a peak between lung and fat in values without air and lung."""
    for ends, share_of_air in ((BETWEEN_HU, 0.5), (LOW_FAT_HU, 0.1)):
        peak = inside.peak(*ends, REACH)
        airless = inside.highest(*AIR_AND_LUNG_HU) < share_of_air * peak.density
        if airless and peak.density > FEW and peak.steepness > STEEPNESS:
            return f"values gather near {peak.place}, between lung and fat, and air is missing"
    return None


def _air_too_high(histogram: Histogram) -> str | None:
    """Find a peak within the range of lung whose lower end is as sharp as only that of air."""
    peak = histogram.peak(*HIGH_AIR_HU, REACH)
    around, below = histogram.count(peak.place - 60, peak.place + 60), histogram.count(-EDGE, peak.place - 61)
    if peak.density > FEW and around > 0.05 * histogram.total and below < 0.005 * around and peak.steepness > STEEPNESS:
        return f"air lies near {peak.place}"
    return None


def _negated(inside: Histogram) -> str | None:
    """Find the peak of air above all tissue, and the slowly falling values of bone below it."""
    peak = inside.peak(850, 1100, REACH)
    around, beyond = inside.share(peak.place - 100, peak.place + 100), inside.share(peak.place - 100, EDGE)
    # Bone that was cut at 1000 makes a peak of one value too.
    is_cut = inside.num_high > 0.5 * around * inside.total
    if peak.steepness < STEEPNESS or around < max(0.1 if is_cut else 0.05, 0.8 * beyond):
        return None
    # Values in the range of air may be padding; in the range of bone there may be true air, with as
    # much below -600 as above.
    padding = inside.counts[PURE_AIR_HU[0] + EDGE : PURE_AIR_HU[1] + EDGE + 1].max() / inside.total
    air, below_fat = inside.share(*AIR_AND_LUNG_HU) - padding, inside.share(-600, -200)
    muscle = inside.peak(*SOFT_PEAK_HU, SOFT_REACH).place
    if air < 0.2 * around and below_fat > max(0.003, 0 if -70 < muscle < -25 else 2 * air):
        return f"values gather near {peak.place}, where air would lie if the sign were wrong"
    return None


def _negated_and_shifted(inside: Histogram) -> str | None:
    """Find bone below air, with nothing above tissue."""
    if inside.share(-EDGE, -1150) > 0.005 and inside.share(150, EDGE) < 1e-4:
        return "much lies below air, and nothing where bone does"
    return None


def _tissue_too_bright(inside: Histogram) -> str | None:
    """Find more voxels in the range of bone than a CT has, compared with the ranges beside it."""
    bright = inside.share(250, 4000)
    if bright > 0.25 and inside.soft < 0.1 * bright:
        return "tissue lies where only bone should"
    return None


def _no_soft_peak(inside: Histogram) -> str | None:
    """Refuse values that have neither a peak of air nor one of fat, muscle or organs."""
    air = inside.peak(*PURE_AIR_HU, REACH)
    if not has_soft_peak(inside) and (air.steepness < STEEPNESS or air.density < FEW):
        return "nothing gathers where air, fat, muscle and organs do"
    return None
