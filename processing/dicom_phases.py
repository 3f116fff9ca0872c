"""Find two or more acquisitions, phases or reconstructions whose slices alternate within one series.

Labels in the header are checked first, then times and numbers that jump back and forth, then the pictures.
"""

from pathlib import Path

import numpy as np

from .ct_arrays import HuVolume
from .ct_checks import read_error
from .dicom_slices import CLOCK_KEYWORDS, NUMBERS, PHASE_KEYWORDS, DicomSlice
from .dicom_values import as_numbers

ALTERNATING_RUN = 5  # slices in a row that are more similar to the second next slice than to the next
# Ratio of the difference to the second next slice to that to the next. It is 1 or more if nothing alternates; for
# numbers in random order it is below a quarter now and then, but not for a whole run.
CLOCK_LIKENESS = 0.25
PICTURE_LIKENESS = 0.7
GRAIN_STEP = 0.1  # step of the logarithm; noise of one reconstruction changes less from slice to slice
BLOCK = 8  # voxels a side; their mean has little noise
STEP = 2  # every second voxel of a block is used, along each axis
SAME_NUMBER = 0.05  # relative difference; phases and reconstructions differ by more
FORGOTTEN = 3  # this many slices may lack a label that the others have
PASS_STEP = 8  # slices from one slice of a phase to its next
PASS_SHARE = 0.6  # share of the body that a pass covers
MIN_PASS = 5  # slices
PERIODS = (2, 3, 4, 6)  # slices until the pattern repeats: ABAB, ABB, AABB, AAABBB
PERIODIC_SHARE = 0.75  # of the change from slice to slice; at most 0.5 if nothing alternates
JUMP = 10.0  # times the usual change between neighbours of one phase
MANY_JUMPS = 8, 0.2  # jumps up and down in turn, and share of slices; 4 and 0.13 (of 31) if nothing alternates
LEAST_CHANGES = (3.0, 1.0, 1.0)  # HU of tissue, and displacement of the body in voxels
SEEN_SIDE = 128  # pixels a side that are enough for these features
BODY_HU, TISSUE_HU = -300, (-150, 300)
ADVICE = "give one acquisition, phase and reconstruction per folder"


def check_labels(slices: list[DicomSlice], folder: Path) -> None:
    """Check that labels and times of slices, given in order along the body, do not alternate.

    Raises:
        CTReadError: if they do. A label may change along the body (a scan in two steps), but not back repeatedly.
    """
    for index, keyword in enumerate(PHASE_KEYWORDS):
        labels = [item.phases[index] for item in slices]
        labels = _classes(labels) if keyword in NUMBERS else labels
        stated = [label for label in labels if label]
        if _returns(stated) > 1 or _returns(labels) > FORGOTTEN:
            cause = f"slices of {len(set(labels))} acquisitions, phases or reconstructions alternate ({keyword})"
            raise read_error(folder, cause, ADVICE)
    for index, keyword in enumerate(CLOCK_KEYWORDS):
        known = [item.clocks[index] for item in slices if item.clocks[index] is not None]
        times = np.array(known, dtype=np.float64)
        if len(times) < len(slices):
            continue
        numbered = keyword == "InstanceNumber" and len({item.path for item in slices}) == len(slices)
        if alternates(times[:, None], CLOCK_LIKENESS) or _passes(times) > 1 or _comes_again(times, numbered):
            raise read_error(
                folder, f"slices of two acquisitions or phases alternate ({keyword} jumps to and fro)", ADVICE
            )


def _classes(labels: list[str]) -> list[str]:
    """Replace numbers that are close to each other by one label, the lowest of them."""
    numbers = {label: parts[0] for label in set(labels) if (parts := as_numbers(label, 1)) is not None}
    classes: dict[str, str] = {}
    last: str | None = None
    for label in sorted(numbers, key=numbers.__getitem__):
        if last is not None and numbers[label] - numbers[last] <= SAME_NUMBER * abs(numbers[label]):
            classes[label] = classes[last]
        else:
            classes[label] = label
        last = label
    return [classes.get(label, label) for label in labels]


def _returns(labels: list[str]) -> int:
    """Count how often a label returns after another one."""
    runs = 1 + sum(one != other for one, other in zip(labels, labels[1:], strict=False))
    return runs - len(set(labels))


def _passes(times: np.ndarray) -> int:
    """Count the passes along most of the body in the order of time: one for each phase, in any mix of slices."""
    places = np.argsort(times, kind="stable")
    steps = np.diff(places)
    passes, start = 0, 0
    for place in range(1, len(places) + 1):
        if place < len(places) and 0 < steps[place - 1] * np.sign(steps[start]) <= PASS_STEP:
            continue
        is_long = place - start >= max(MIN_PASS, len(places) // 5)
        passes += is_long and abs(places[place - 1] - places[start]) >= PASS_SHARE * (len(places) - 1)
        start = place
    return passes


def _comes_again(numbers: np.ndarray, unique: bool) -> bool:
    """Return whether every number occurs equally often, more than once, and numbers alternate along the body.

    If each number should occur once (`unique`), equal numbers of neighbours count as well.
    """
    distinct, counts = np.unique(numbers, return_counts=True)
    steps = np.diff(numbers)
    up, down, even = (np.count_nonzero(np.sign(steps) == sign) for sign in (1, -1, 0))
    returns = max(min(up, down), even if unique else 0)
    return bool(len(distinct) >= MIN_PASS and counts.min() == counts.max() > 1 and returns > FORGOTTEN)


def check_pictures(hu: HuVolume, folder: Path) -> None:
    """Refuse `(slice, row, column)` HU in which slices are more similar to the second next slice than to the next."""
    pictures, grain = _features(hu)
    to_and_fro = alternates(pictures, PICTURE_LIKENESS) or alternates(grain, PICTURE_LIKENESS, GRAIN_STEP)
    facts = _tissue_and_place(hu)
    if to_and_fro or is_periodic(facts, np.array(LEAST_CHANGES)) or _jumps_about(facts, np.array(LEAST_CHANGES)):
        raise read_error(folder, "slices of two acquisitions or phases alternate, as their pictures show", ADVICE)


def alternates(features: np.ndarray, likeness: float, least: float = 0.0) -> bool:
    """Return whether `(slice, feature)` numbers alternate, by more than `least`, for `ALTERNATING_RUN` slices."""
    if len(features) < ALTERNATING_RUN + 2 or not features.size:
        return False
    next_one = np.sqrt(np.square(np.diff(features, axis=0)).mean(axis=1))
    next_but_one = np.sqrt(np.square(features[2:] - features[:-2]).mean(axis=1))
    step = np.minimum(next_one[:-1], next_one[1:])
    to_and_fro = (next_but_one < likeness * step) & (step > least)
    run = 0
    for one in to_and_fro:
        run = run + 1 if one else 0
        if run >= ALTERNATING_RUN:
            return True
    return False


def _features(hu: HuVolume) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of each slice's blocks, and the logarithm of its variation within blocks."""
    rows, columns = (side // BLOCK * BLOCK for side in hu.shape[1:])
    means, grain = [], []
    for picture in hu[:, :rows:STEP, :columns:STEP]:
        side = BLOCK // STEP
        blocks = picture.reshape(rows // BLOCK, side, columns // BLOCK, side).astype(np.float32)
        blocks = np.clip(blocks, -1024, 1500)
        mean = blocks.mean(axis=(1, 3), keepdims=True)
        means.append(mean.ravel())
        grain.append(np.log(np.median(np.abs(blocks - mean).mean(axis=(1, 3))) + 1))
    return np.array(means), np.array(grain)[:, None]


def _tissue_and_place(hu: HuVolume) -> np.ndarray:
    """Return each slice's mean HU of soft tissue, and the row and column of the body's centre."""
    step = max(1, min(hu.shape[1:]) // SEEN_SIDE)
    facts = []
    for picture in hu[:, ::step, ::step]:
        body = picture > BODY_HU
        tissue = picture[(picture > TISSUE_HU[0]) & (picture < TISSUE_HU[1])]
        weights = [body.sum(axis=axis) for axis in (1, 0)]
        middles = [step * (weight @ np.arange(len(weight))) / max(1, weight.sum()) for weight in weights]
        facts.append((tissue.mean() if tissue.size else 0.0, *middles))
    return np.array(facts)


def is_periodic(facts: np.ndarray, least: np.ndarray) -> bool:
    """Return whether any of `(slice, fact)` numbers changes by `least` or more in a repeating pattern.

    The change along the body is subtracted first, as a mean over one period.
    """
    for period in PERIODS:
        if len(facts) < 4 * period:
            continue
        weights = np.full(period, 1.0) if period % 2 else np.r_[0.5, np.ones(period - 1), 0.5]
        reach = len(weights) // 2
        means = np.array([np.convolve(fact, weights / period, "valid") for fact in facts.T]).T
        changes = facts[reach : len(facts) - reach] - means
        phases = np.arange(len(changes)) % period
        pattern = np.array([changes[phases == phase].mean(axis=0) for phase in range(period)])
        freedom = (len(changes) - 1) / (len(changes) - period)
        rest = freedom * np.square(changes - pattern[phases]).sum(axis=0)
        repeated = rest <= (1 - PERIODIC_SHARE) * np.square(changes).sum(axis=0)
        if (repeated & (np.ptp(pattern, axis=0) >= least)).any():
            return True
    return False


def _jumps_about(facts: np.ndarray, least: np.ndarray) -> bool:
    """Return whether any of `(slice, fact)` numbers jumps up and down many times, in any pattern."""
    steps = np.diff(facts, axis=0)
    usual = np.quantile(np.abs(steps), 0.25, axis=0)
    for fact_steps, limit in zip(steps.T, np.maximum(2 * least, JUMP * usual), strict=True):
        signs = np.sign(fact_steps[np.abs(fact_steps) > limit])
        if 1 + np.count_nonzero(np.diff(signs)) >= max(MANY_JUMPS[0], MANY_JUMPS[1] * len(facts)):
            return True
    return False
