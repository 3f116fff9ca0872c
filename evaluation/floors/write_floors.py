"""Write the reports of an evaluation's floors."""

import random
from collections.abc import Callable, Mapping, Sequence

import datasets
import numpy as np

from .floor_list import FLOORS, WITHOUT_SCANS, choose_floors
from .floor_material import FLIP, NOTHING, SCANS, FloorMaterial, FloorOptions, FloorReports, ScanFeatures
from .tower_features import POOLING, TowerFeatures


def floors_to_write(options: FloorOptions) -> tuple[str, ...]:
    """Return the names of the floors that the options ask for; a run of FLIP asks for its own.

    Raises:
        ValueError: if there is none of a name, or what a floor needs is not given.
    """
    asked = WITHOUT_SCANS if options.names is None else options.names
    own = [name for name, floor in FLOORS.items() if floor.needs == FLIP and options.flip is not None]
    names = choose_floors([*asked, *own])
    given = {NOTHING: True, SCANS: options.train_scans is not None, FLIP: options.flip is not None}
    missing = {SCANS: "the scans of the training split", FLIP: "the folder of a run of FLIP"}
    for need, told in missing.items():
        if lacking := [FLOORS[name].title for name in names if FLOORS[name].needs == need and not given[need]]:
            raise ValueError(f"{', '.join(lacking)}: needs {told}")
    return names


def needs(names: Sequence[str], need: str) -> bool:
    """Return whether one of the floors needs SCANS or FLIP."""
    return any(FLOORS[name].needs == need for name in names)


def scan_features(
    tower: TowerFeatures, options: FloorOptions, test: datasets.Dataset, seed: int, say: Callable[[str], None]
) -> ScanFeatures:
    """Compute or read the features of training and test scans; every process of an evaluation calls this.

    Raises:
        ValueError: if no training scan, or not every test scan, can be read.
    """
    train = options.train_scans
    if train is None:
        raise ValueError("features need the scans of the training split")
    if options.num_train_scans is not None and options.num_train_scans < len(train):
        train = train.select(sorted(random.Random(seed).sample(range(len(train)), options.num_train_scans)))
    known = tower.of_scans(train, "features of training scans", say)
    own = tower.of_scans(test, "features of test scans", say)
    if not known or len(own) < len(test):
        raise ValueError(
            f"features of {len(known)} training and {len(own)} of {len(test)} test scans could be computed"
        )
    reports = train["report"]
    return ScanFeatures(
        np.stack(list(known.values())),
        tuple(reports[place] for place in known),
        np.stack(list(own.values())),
        f"{POOLING}|{len(known)} training scans",
    )


def write_floors(names: Sequence[str], material: FloorMaterial) -> Mapping[str, FloorReports]:
    """Return the reports of every named floor."""
    return {name: FLOORS[name].write(material) for name in names}
