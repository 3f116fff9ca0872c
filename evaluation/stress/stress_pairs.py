"""Make the pairs of the stress test: changed reports of every class, as many as asked for."""

import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from argus_processing.storage.progress import progress_bar

from .changes import ERRORS, HARMLESS, Change

# A reference that gives nothing new so many times in turn is given up.
FRUITLESS = 8


@dataclass(frozen=True)
class StressPair:
    """A changed report and the number of the reference that it was made from."""

    kind: str
    reference: int
    text: str


def make_pairs(
    references: Sequence[str], wanted: int, seed: int = 0, changes: Mapping[str, Change] | None = None
) -> list[StressPair]:
    """Make up to `wanted` pairs of each class; the same seed gives the same pairs.

    Every reference is changed once before any is changed again, and no changed report occurs twice in a class.

    Args:
        references: distinct reports.
        wanted: number of pairs of each class; there are fewer if the references have no more places for such a change.
        seed: seed of all draws.
        changes: classes by name. Default: `ERRORS` and `HARMLESS`.

    Raises:
        ValueError: if `wanted` is below 1.
    """
    if wanted < 1:
        raise ValueError(f"a class needs at least 1 pair, got {wanted}")
    chosen = ERRORS | HARMLESS if changes is None else changes
    with progress_bar() as progress:
        tracked = progress.track(chosen.items(), description="changes")
        return [pair for kind, change in tracked for pair in _pairs_of(kind, change, references, wanted, seed)]


def _pairs_of(kind: str, change: Change, references: Sequence[str], wanted: int, seed: int) -> list[StressPair]:
    key = zlib.crc32(kind.encode())
    pairs: dict[tuple[int, str], StressPair] = {}
    # In one order for all classes, so that they share as many references as they can.
    fruitless = dict.fromkeys(np.random.default_rng(seed).permutation(len(references)).tolist(), 0)
    for number in itertools.count():
        for place in list(fruitless):
            if len(pairs) == wanted:
                return list(pairs.values())
            text = change.make(references[place], np.random.default_rng([seed, key, place, number]))
            if text is not None and (place, text) not in pairs:
                pairs[place, text] = StressPair(kind, place, text)
                fruitless[place] = 0
            elif fruitless[place] + 1 < FRUITLESS:
                fruitless[place] += 1
            else:
                del fruitless[place]
        if not fruitless:
            break
    return list(pairs.values())
