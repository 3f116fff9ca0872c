"""Find two acquisitions, phases or reconstructions whose slices alternate within one series.

What the header says is judged first, then times and numbers that jump to and fro, then the pictures themselves.
"""

from pathlib import Path

import numpy as np

from .ct_checks import read_error
from .dicom_slices import CLOCK_KEYWORDS, NUMBERS, PHASE_KEYWORDS, DicomSlice
from .dicom_values import as_numbers

ALTERNATING_RUN = 5  # slices in a row that are more like the next but one than like the next
# Of the difference to the next but one, against that to the next. It is 1 or more where nothing alternates; numbers in
# no order at all come below a quarter now and then, but not for a whole run.
CLOCK_LIKENESS = 0.25
PICTURE_LIKENESS = 0.7
GRAIN_STEP = 0.1  # of the logarithm; noise of one reconstruction changes less from slice to slice
BLOCK = 8  # voxels a side, whose mean leaves the noise behind
STEP = 2  # voxels of a block that are looked at
SAME_NUMBER = 0.05  # of it; phases and reconstructions lie further apart
FORGOTTEN = 3  # a slice here and there may lack a label that the others have
ADVICE = "give one acquisition, phase and reconstruction per folder"


def check_labels(slices: list[DicomSlice], folder: Path) -> None:
    """Refuse slices, given in order along the body, whose labels or times go to and fro.

    Raises:
        CTReadError: if so. A label may change along the body (a scan in two steps), but not back again and again.
    """
    for index, keyword in enumerate(PHASE_KEYWORDS):
        labels = [item.phases[index] for item in slices]
        labels = _classes(labels) if keyword in NUMBERS else labels
        stated = [label for label in labels if label]
        if _returns(stated) > 1 or _returns(labels) > FORGOTTEN:
            cause = f"slices of {len(set(labels))} acquisitions, phases or reconstructions alternate ({keyword})"
            raise read_error(folder, cause, ADVICE)
    for index, keyword in enumerate(CLOCK_KEYWORDS):
        times = [item.clocks[index] for item in slices if item.clocks[index] is not None]
        if len(times) == len(slices) and alternates(np.array(times)[:, None], CLOCK_LIKENESS):
            raise read_error(
                folder, f"slices of two acquisitions or phases alternate ({keyword} jumps to and fro)", ADVICE
            )


def _classes(labels: list[str]) -> list[str]:
    """Give numbers that lie close to each other one label, the lowest of them."""
    numbers = {label: parts[0] for label in set(labels) if (parts := as_numbers(label, 1)) is not None}
    classes, last = {}, None
    for label in sorted(numbers, key=numbers.__getitem__):
        near = last is not None and numbers[label] - numbers[last] <= SAME_NUMBER * abs(numbers[label])
        classes[label] = classes[last] if near else label
        last = label
    return [classes.get(label, label) for label in labels]


def _returns(labels: list[str]) -> int:
    """Count how often a label comes again after another."""
    runs = 1 + sum(one != other for one, other in zip(labels, labels[1:], strict=False))
    return runs - len(set(labels))


def check_pictures(hu: np.ndarray, folder: Path) -> None:
    """Refuse `(slice, row, column)` HU in which each slice is more like the next but one than like the next."""
    pictures, grain = _features(hu)
    if alternates(pictures, PICTURE_LIKENESS) or alternates(grain, PICTURE_LIKENESS, GRAIN_STEP):
        raise read_error(folder, "slices of two acquisitions or phases alternate, as their pictures show", ADVICE)


def alternates(features: np.ndarray, likeness: float, least: float = 0.0) -> bool:
    """Say whether `(slice, feature)` numbers go to and fro, by more than `least`, for `ALTERNATING_RUN` slices."""
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


def _features(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give each slice's blocks' means, and the logarithm of how much its voxels differ within the blocks."""
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
