"""Check by a scan's histogram that its values are Hounsfield units, not other numbers that are often stored.

Every CT has air near -1000 (around the body, in lung or bowel, or as padding below it) and soft tissue, from fat at
-100 to blood at 60, in one narrow peak; few values lie between -500 and -200; bone gets rarer from 200 to 1500.
A missing or doubled intercept moves that peak, a window turns the histogram's ends into piles of equal values, and
other modalities have no such peak. The limits here and in `ct_peaks` were set on real CTs: chest, abdomen, pelvis,
limbs, heads with and without bone kernel, contrast, metal, noise as at a low dose, padding of -1000 to -8192, and
thousands of crops of them.
"""

from collections.abc import Callable

import numpy as np

from .ct_arrays import HuVolume
from .ct_counts import EDGE, RESCALE_ADVICE, SOFT_HU, Histogram, Refusal
from .ct_drawings import FILL_ADVICE, FILL_HU, FILL_SHARE, why_drawing_is_not_hu
from .ct_peaks import has_soft_peak, why_peaks_are_not_hu

FAT_HU = (-150, -30)
PURE_FAT_HU = (-150, -66)
SOME_FAT = 1e-4  # share of fat in the smallest crop of muscle
AIR_LIMIT_HU = -500  # lung and air lie below
HARMLESS_CUT_HU = (-950, 1000)  # a cut beyond these limits removes nothing that a model's window keeps
PILE_VOXELS = 20
LOW_PILE_RATIO = 3.0  # ratio of the voxels at the lowest value to those at any of the ten above it
PEAK_RATIO = 2.5  # ratio of the densest 40 HU of soft tissue to the values on both sides of it; MR has 0.02 to 2.5
PILE_RATIO = 20.0  # ratio of the voxels at the highest value to those at each of the values below it
BODY_MASK_HU = -250  # a cut below this was made outside a mask of the body
END_HU = 5  # width of an end of the histogram
END_VOXELS = 30  # the histogram of a scan that was not cut ends with a few
END_RATIO = 0.3  # ratio of the density at the end to that beside it
FAR_RATIO = 0.05  # ratio of the density further in to that at the end
BYTE_ENDS = (-128, 127)
NARROW_HU = 60  # range of normalised numbers
BEYOND_BONE_HU = 4000  # metal on an extended scale
NOTABLE_SHARE = 0.01
PILE_HU = (-950, 2000)  # range where no value may have a pile of voxels, except in a drawing
FRAME_TISSUES = ((-150, -50), (20, 80))
COUCH_HU = -200
AIR_PEAK_HU = (-1030, -990)
EVEN_RATIO = 50.0  # ratio of voxels at air's value to those at any above it: 1 to 28 in scans, 60 to 530 in phantoms
EVEN_SUM = 2.5  # ratio to those at all 60 HU above it: 0.4 to 1.6 in scans, 3.4 to 170 in phantoms
DRAWN_SHARE = 0.003  # share of the voxels at a second value
END_PILE_RATIO = 1000.0
NOISY_SHARE = 0.05  # share of the voxels beside those values; edges of a drawing that was resampled have no peak
FILL_RATIO = 4.0  # ratio of the voxels at this value to those at any value near it
FILL_AROUND = 60  # HU; wider than the steps of any rescale slope
HU_ADVICE = "give the CT in Hounsfield units"
WINDOW_ADVICE = "give the CT in Hounsfield units, not windowed or normalised"


def why_not_hu(hu: HuVolume, ends: tuple[float, float] | None = None) -> Refusal | None:
    """Return cause and advice if a volume's values cannot be Hounsfield units, None if they can.

    Args:
        hu: finite values, any shape of three axes.
        ends: the lowest and the highest of them, if they are known.
    """
    histogram = Histogram.of(hu, ends)
    rules: tuple[Callable[[Histogram], Refusal | None], ...] = (
        _no_negative_value,
        _missing_intercept,
        _cut_below,
        _too_narrow,
        _normalised,
        _rescaled_twice,
        _no_soft_tissue,
        _cut_above,
        _cut_away,
        _other_modality,
        _filled,
        why_peaks_are_not_hu,
        why_drawing_is_not_hu,
    )
    return next((refusal for rule in rules if (refusal := rule(histogram)) is not None), _framed(hu))


def _span(histogram: Histogram) -> str:
    return f"the values run from {histogram.low:.6g} to {histogram.high:.6g}"


def _no_negative_value(histogram: Histogram) -> Refusal | None:
    """Find the reason why values without any negative one are not HU."""
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


def _normalised(histogram: Histogram) -> Refusal | None:
    """Find numbers in a range far too narrow for HU: scores, or 0 to 1, beside padding."""
    inside = histogram.without_padding()
    if not histogram.fractional or not inside.total:
        return None
    sums = np.cumsum(inside.counts)
    first, last = (int(np.searchsorted(sums, share * inside.total)) for share in (0.001, 0.999))
    if last - first < NARROW_HU:
        cause = f"nearly all values but padding lie within {last - first + 1} of each other: a normalised picture"
        return cause, WINDOW_ADVICE
    return None


def _cut_below(histogram: Histogram) -> Refusal | None:
    """Find a pile at the lowest value if air and lung should lie below it."""
    for part in (histogram, histogram.without_padding()):
        start = int(np.clip(round(part.low), -EDGE, EDGE)) + EDGE
        steep = part.num_low > LOW_PILE_RATIO * part.counts[start + 1 : start + 11].max(initial=0)
        piled = steep and part.num_low >= max(PILE_VOXELS, NOTABLE_SHARE * part.total)
        # A drawing without noise has a pile of its own beside padding, so the values above it are compared too.
        isolated = part is not histogram and part.is_drawn
        if part.low > HARMLESS_CUT_HU[0] and piled and not isolated:
            cause = f"{part.num_low / part.total:.0%} of the voxels are exactly {part.low:.6g}: a window was cut out"
            return cause, WINDOW_ADVICE
    return None


def _too_narrow(histogram: Histogram) -> Refusal | None:
    """Refuse values without air or lung, unless they look like a crop from inside a body: fat, organs, no piles."""
    inside = histogram.without_padding()
    if (inside.low, inside.high) == BYTE_ENDS:
        return "the values fill the range of 8 bits, -128 to 127: they were cut or wrapped", WINDOW_ADVICE
    if histogram.low <= -200:
        return None
    water, flesh, fat = (
        histogram.share(*ends) / (ends[1] - ends[0] + 1) for ends in ((-20, 10), (20, 80), (-130, -70))
    )
    crop = histogram.low < -60 and histogram.share(*PURE_FAT_HU) > SOME_FAT and histogram.soft > 0.5
    if (
        crop
        and max(fat, flesh) > 1.25 * water
        and histogram.share(20, 80) > 0.05
        and histogram.share(1500, EDGE) < 0.05
    ):
        return None
    cause = f"{_span(histogram)}: no air or lung, so these are not Hounsfield units (MR, or a cut window?)"
    return cause, WINDOW_ADVICE


def _missing_intercept(histogram: Histogram) -> Refusal | None:
    """Find the narrow peak of soft tissue near 1024, with almost nothing in the range of lung and fat."""
    inside = histogram.without_padding()
    tissue = inside.share(1000, 1130)
    beside = inside.share(750, 850) + inside.share(1250, 1350)
    air_or_lung = inside.share(-60, 400)
    if tissue > max(beside, NOTABLE_SHARE) and inside.share(-800, -30) < 0.25 * tissue and air_or_lung > 0.005:
        cause = "soft tissue lies near 1024, and below 0 there is only padding: the intercept was not applied"
        return cause, "convert the scan with its rescale intercept (often -1024)"
    return None


def _rescaled_twice(histogram: Histogram) -> Refusal | None:
    """Find air near -2024 and tissue near -1000: different values below all tissue, not one padding value."""
    inside = histogram.without_padding()
    below = max(inside.share(-2150, -1500), histogram.share(-2150, -1900))
    moved = histogram.soft < 0.05 and not has_soft_peak(inside)
    if moved and below > NOTABLE_SHARE and inside.share(-1250, -850) > 2 * histogram.soft:
        shifted_fat, shifted_lung = inside.share(-1250, -1060), inside.share(-2000, -1500)
        if max(shifted_fat, shifted_lung) > NOTABLE_SHARE or histogram.soft < 0.002:
            cause = "air lies near -2000 and soft tissue near -1000: slope and intercept were applied twice"
            return cause, "use the file as published, without applying its metadata's intercept again"
    return None


def _no_soft_tissue(histogram: Histogram) -> Refusal | None:
    if histogram.high < SOFT_HU[0]:
        return f"{_span(histogram)}: air only, no tissue", f"give a scan of a body, {RESCALE_ADVICE}"
    # A drawing may be one bright object in air.
    if histogram.soft >= 0.002 or (histogram.is_drawn and histogram.share(-1050, -950) > NOTABLE_SHARE):
        return None
    cause = f"{_span(histogram)}, and nearly nothing lies where soft tissue does ({SOFT_HU[0]} to {SOFT_HU[1]})"
    return cause, f"{HU_ADVICE}, {RESCALE_ADVICE}"


def _cut_above(histogram: Histogram) -> Refusal | None:
    """Find a pile at the highest value, which a histogram without a cut does not have."""
    high = histogram.high
    if high >= HARMLESS_CUT_HU[1] or histogram.num_high < PILE_VOXELS:
        return None
    below = histogram.count(high - 50, high - 1) / 50
    # Nothing at all below the pile: a drawing of one value, not a cut.
    if 0.2 < below and histogram.num_high > PILE_RATIO * below:
        cause = f"{histogram.num_high / histogram.total:.1%} of the voxels are exactly {high:.6g}: a window was cut out"
        return cause, WINDOW_ADVICE
    return None


def _cut_away(histogram: Histogram) -> Refusal | None:
    """Find a histogram that ends too sharply: values outside a window were set to air."""
    inside = histogram.without_padding()
    low, high = int(np.floor(inside.low)), int(np.ceil(inside.high))
    if not inside.is_drawn and low > BODY_MASK_HU and _breaks_off(inside, low, 1, 0):
        return f"the values break off at {low}: a window was cut out", WINDOW_ADVICE
    if not inside.is_drawn and high < HARMLESS_CUT_HU[1] and _breaks_off(inside, high, -1, inside.num_high):
        return f"the values break off at {high}: a window was cut out", WINDOW_ADVICE
    return None


def _breaks_off(inside: Histogram, end: int, way: int, pile: int) -> bool:
    """Compare the last few HU with those further in; `way` is 1, up from the low end, or -1, down from the high end.

    The histogram of a scan that was not cut ends slowly; a single region drawn with noise has nothing further in.
    """

    def density(first: int, last: int) -> float:
        return inside.count(*sorted((end + way * first, end + way * last))) / (last - first + 1)

    there, beside, far = density(0, END_HU - 1) - pile / END_HU, density(END_HU, 49), density(60, 99)
    return there * END_HU >= END_VOXELS and there > END_RATIO * beside and far > FAR_RATIO * there


def _other_modality(histogram: Histogram) -> Refusal | None:
    """Refuse broad intensities, as in MR, that look like Hounsfield units because of padding or an offset."""
    inside = histogram.without_padding()
    soft, bright = inside.soft, inside.share(300, EDGE)
    airless = inside.share(-EDGE, AIR_LIMIT_HU) < 0.005
    no_peak = airless and soft < 0.85 and bright > 0.15 and inside.share(*FAT_HU) < 0.003
    valley = inside.share(-500, -200)
    beside = (valley + inside.share(250, 550)) * 40 / 602  # share in 40 of these 602 HU, on average
    peak = max(inside.share(start, start + 39) for start in range(-140, 120, 10))
    background = histogram.share(-1100, -900) > 0.15 or valley > 0.3
    filled_valley = background and valley > 0.08 and peak < PEAK_RATIO * beside
    broad = (no_peak or filled_valley) and not inside.is_drawn
    if broad or histogram.share(BEYOND_BONE_HU, EDGE) > 0.2:
        return f"{_span(histogram)} without the peak of soft tissue that a CT has (MR?)", HU_ADVICE
    return None


def _piles(histogram: Histogram, share: float) -> list[int]:
    """Find single values in `PILE_HU` with at least this share of the voxels, far above all values near them."""
    counts = histogram.counts
    high = EDGE if histogram.high > EDGE else round(histogram.high)
    piles = []
    first, last = (edge + EDGE for edge in PILE_HU)
    for place in np.flatnonzero(counts[first : last + 1] > share * histogram.total) + PILE_HU[0]:
        around = np.sort(counts[place - FILL_AROUND + EDGE : place + FILL_AROUND + EDGE + 1])
        # The next value may belong to the same pile, if the steps between values are not larger than that.
        near = around[-3] if np.count_nonzero(around) > FILL_AROUND else around[-2]
        end = place == high  # end of a scale or of a cut, where all brighter values gather
        ratio = END_PILE_RATIO if end else FILL_RATIO
        if counts[place + EDGE] > ratio * max(1, near):
            piles.append(int(place))
    return piles


def _filled(histogram: Histogram) -> Refusal | None:
    """Find parts that were filled with one value: a background of 0, or voxels outside a mask.

    A drawing has such values too: everywhere, or in the couch around a body with noise.
    """
    if histogram.is_drawn:
        return None
    piles = _piles(histogram, DRAWN_SHARE)
    large = [place for place in piles if histogram.count(place, place) > FILL_SHARE * histogram.total]
    rest = histogram.without(piles)
    has_noise = rest.total > NOISY_SHARE * histogram.total and has_soft_peak(rest)
    for place in large:
        is_couch = place < COUCH_HU and (len(piles) > 1 or _has_even_air(histogram))
        if place > FILL_HU and not is_couch and (has_noise or len(piles) == 1):
            share = histogram.share(place, place)
            return f"{share:.0%} of the voxels are exactly {place}: filled with the value of a tissue", FILL_ADVICE
    return None


def _has_even_air(histogram: Histogram) -> bool:
    """Return whether air has one value and no noise, as in a phantom; a scan cut at -1024 has noise above it."""
    first = AIR_PEAK_HU[0] + EDGE
    place = first + int(np.argmax(histogram.counts[first : AIR_PEAK_HU[1] + EDGE + 1]))
    above = histogram.counts[place + 1 : place + FILL_AROUND + 1]
    pile = int(histogram.counts[place])
    return pile > EVEN_RATIO * above.max() and pile > EVEN_SUM * above.sum()


def _framed(hu: HuVolume) -> Refusal | None:
    """Find one value along all four edges of an axis: a filled background, or a round field of view.

    In a crop from inside a drawing, the edges may have the value of its fat or muscle.
    """
    for axis in range(3):
        sides = np.moveaxis(hu, axis, 0)
        edges = sides[:, :: max(1, sides.shape[1] - 1), :: max(1, sides.shape[2] - 1)]
        value = float(edges.flat[0])
        if value > FILL_HU and (edges == value).all() and not any(low <= value <= high for low, high in FRAME_TISSUES):
            return f"the picture is framed in the value {value:.6g}: filled with the value of a tissue", FILL_ADVICE
    return None
