"""Compare the numbers of a prepared data set with Table 1 of the paper and the counts of its appendix A."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ...phantom.layouts import TRUTH_FILE
from ...sources.registry import SOURCES
from ...storage.foreign_files import read_yaml_object
from ...storage.markdown_table import literal_table, markdown_table
from ...storage.typed_json import from_json

PAPER = Path(__file__).parent / "paper_table1.yaml"
TABLE1_FILE = "table1.md"
ALL = "all"
TITLE = "CT-3DRRG: yours beside the paper's Table 1"
HEADINGS = ("subset", "number", "yours", "the paper's", "difference")
TOKENS = "A token here is a word, a number or a punctuation mark; the paper does not name its tokenizer."


@dataclass(frozen=True)
class SubsetNumbers:
    """The numbers of one subset: scans in all and by split, and tokens of a report."""

    scans: int
    train: int
    validation: int
    test: int
    average_tokens: float
    maximum_tokens: int


@dataclass(frozen=True)
class PaperTable1:
    """The numbers that the paper prints, by subset; `remark` tells where they do not add up."""

    source: str
    subsets: dict[str, SubsetNumbers]
    remark: str


@dataclass(frozen=True)
class Table1Row:
    """One number of a subset, ours and the paper's; the paper does not give the number of patients."""

    subset: str
    name: str
    ours: int | float
    paper: int | float | None = None

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """Return the row as text, under `HEADINGS`."""
        if self.paper is None:
            return self.subset, self.name, f"{self.ours:,}", "", ""
        if isinstance(self.paper, int):
            return self.subset, self.name, f"{self.ours:,}", f"{self.paper:,}", f"{self.ours - self.paper:+,}"
        # Our averages have one decimal, so the difference has no more.
        return self.subset, self.name, f"{self.ours:.1f}", f"{self.paper:.2f}", f"{self.ours - self.paper:+.1f}"


@dataclass(frozen=True)
class Table1:
    """The rows, subset by subset, and what a reader of them must know."""

    rows: tuple[Table1Row, ...]
    notes: tuple[str, ...]


def read_paper_table1() -> PaperTable1:
    """Read the numbers that the paper prints."""
    return from_json(PaperTable1, read_yaml_object(PAPER))


def phantom_sources(roots: Mapping[str, Path]) -> list[str]:
    """Return, in the paper's order, the sources whose download is not the real one but written by `argus phantom`."""
    return [name for name in SOURCES if name in roots and (roots[name] / TRUTH_FILE).is_file()]


def build_table1(statistics: Mapping[str, Mapping[str, Any]], phantoms: Sequence[str] = ()) -> Table1:
    """Set a data set's statistics beside the paper's numbers.

    Args:
        statistics: as in the manifest: for each prepared source and for "all", the numbers by name.
        phantoms: sources that hold phantoms.
    """
    paper = read_paper_table1()
    printed = paper.subsets
    absent = [name for name in printed if name not in statistics]
    # A part of the sources is not comparable with the paper's sum of all three.
    shown = [name for name in printed if name in statistics and not (name == ALL and absent)]
    rows = [row for name in shown for row in _rows_of(name, statistics[name], printed[name])]
    notes = [f"The paper's numbers: {paper.source}.", TOKENS]
    notes += [paper.remark] if ALL in shown else []
    return Table1(tuple(rows), (*_warnings(phantoms, [name for name in absent if name != ALL]), *notes))


def _warnings(phantoms: Sequence[str], absent: Sequence[str]) -> Iterator[str]:
    if phantoms:
        yield (
            f"Phantoms, not patients: {', '.join(phantoms)}. Their counts are those of the phantoms that were drawn, "
            "so the differences tell nothing about the curation."
        )
    if absent:
        yield f"Not prepared here: {', '.join(absent)}."


def _rows_of(subset: str, ours: Mapping[str, Any], paper: SubsetNumbers) -> list[Table1Row]:
    printed = asdict(paper)
    names = ["scans", "patients", *(field.name for field in fields(paper) if field.name != "scans")]
    return [Table1Row(subset, name.replace("_", " "), ours[name], printed.get(name)) for name in names]


def table1_markdown(table: Table1) -> str:
    """Return the table and its notes as Markdown."""
    shown = markdown_table(literal_table(HEADINGS, (row.cells for row in table.rows), numbers_from=2))
    return "\n".join([f"# {TITLE}", "", shown, "", *(f"- {note}" for note in table.notes)]) + "\n"
