"""Read the layout of the paper's Table 2 and the 288 numbers printed in it, kept apart from what is measured here."""

import csv
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

from argus_processing.storage.foreign_files import read_yaml_object
from argus_processing.storage.typed_json import from_json

from ..benchmark.run_list import label_of

LAYOUT = Path(__file__).parent / "paper_table2.yaml"
VALUES = LAYOUT.with_suffix(".csv")
Place = tuple[str, str, str, str]  # resolution, row, subset, heading


@dataclass(frozen=True)
class Resolution:
    """One block of the table: its name and its grid as the paper writes it."""

    name: str
    grid: str


@dataclass(frozen=True)
class PaperTable2:
    """The layout of the table; `metrics` are the names of ours by the paper's headings."""

    source: str
    resolutions: dict[str, Resolution]
    subsets: dict[str, str]
    sizes: tuple[str, ...]
    systems: tuple[str, ...]
    metrics: dict[str, str]

    @property
    def rows(self) -> list[str]:
        """Return the labels of a block's rows in the paper's order."""
        return [label_of(system, size) for size in self.sizes for system in self.systems]


@cache
def read_paper_table2() -> PaperTable2:
    """Read the layout."""
    return from_json(PaperTable2, read_yaml_object(LAYOUT))


@cache
def read_paper_values() -> dict[Place, float]:
    """Read the paper's numbers by place.

    Raises:
        ValueError: if a place of the layout has no number, comes twice, or a number has no place.
    """
    paper, values = read_paper_table2(), dict[Place, float]()
    with VALUES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            place = (row["resolution"], label_of(row["system"], row["size"]), row["subset"], row["metric"])
            if place in values:
                raise ValueError(f"{VALUES}: {', '.join(place)} comes twice")
            values[place] = float(row["value"])
    if set(values) != set(product(paper.resolutions, paper.rows, paper.subsets, paper.metrics)):
        raise ValueError(f"{VALUES}: its places are not those of {LAYOUT.name}")
    return values
