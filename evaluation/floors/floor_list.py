"""List the floors that an evaluation can have; a new one is a class and a line here."""

from collections.abc import Collection, Sequence

from .constant_floors import MostFrequentReport, NormalReport
from .floor_material import FLIP, NOTHING, Floor
from .image_floors import BlankImage, ShuffledImages
from .label_to_text import LabelToText
from .nearest_report import NearestInFLIPSpace, NearestReport

# In the order of every table.
FLOORS: dict[str, Floor] = {
    "normal": NormalReport(),
    "most_frequent": MostFrequentReport(),
    "label_to_text": LabelToText(),
    "nearest": NearestReport(),
    "nearest_flip": NearestInFLIPSpace(),
    "blank": BlankImage(),
    "shuffled": ShuffledImages(),
}
WITHOUT_SCANS = tuple(name for name, floor in FLOORS.items() if floor.needs == NOTHING)
WITHOUT_FLIP = tuple(name for name, floor in FLOORS.items() if floor.needs != FLIP)  # those that every model can have
ALL = "all"


def choose_floors(names: Sequence[str]) -> tuple[str, ...]:
    """Return the named floors in the order of `FLOORS`; "all" names every one that needs no run of FLIP.

    Raises:
        ValueError: if there is none of a name.
    """
    if unknown := sorted(set(names) - {*FLOORS, ALL}):
        raise ValueError(f"no floor {', '.join(unknown)}; there are {ALL}, {', '.join(FLOORS)}")
    return tuple(name for name in FLOORS if name in names or (ALL in names and name in WITHOUT_FLIP))


def title_of(name: str) -> str:
    """Return a floor's name in tables; floors of other versions are shown by their key."""
    return FLOORS[name].title if name in FLOORS else name.replace("_", " ")


def missing_floors(computed: Collection[str]) -> str:
    """Return one sentence that names the floors which numbers lack; it is empty if they lack none."""
    lacking = [FLOORS[name].title for name in WITHOUT_FLIP if name not in computed]
    return f"Floors that were not computed here: {', '.join(lacking)} (argus evaluate --floors all)." if lacking else ""
