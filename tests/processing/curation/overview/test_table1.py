import io
from dataclasses import asdict

from rich.console import Console

from argus_cli.prepare import beside_the_paper
from argus_inference.console.terminal import show
from argus_processing.curation.overview.table1 import (
    Table1Row,
    build_table1,
    phantom_sources,
    read_paper_table1,
    table1_markdown,
)
from argus_processing.phantom.layouts import write_layout

OURS = {"scans": 25_690, "patients": 21_000, "train": 21_715, "validation": 2_411, "test": 1_564}
OURS |= {"average_tokens": 201.9, "maximum_tokens": 900}
NOT_PAPER = OURS | {"scans": 1}
STATISTICS = {"ct-rate": OURS, "bimcv-r": NOT_PAPER, "inspect": NOT_PAPER, "all": NOT_PAPER}


def cells_of(statistics, subset):
    return {cells[1]: cells[2:] for row in build_table1(statistics).rows for cells in [row.cells] if cells[0] == subset}


def test_ours_stand_beside_the_papers_with_the_difference():
    assert cells_of(STATISTICS, "ct-rate") == {
        "scans": ("25,690", "25,691", "-1"),
        "patients": ("21,000", "", ""),
        "train": ("21,715", "21,715", "+0"),
        "validation": ("2,411", "2,412", "-1"),
        "test": ("1,564", "1,564", "+0"),
        "average tokens": ("201.9", "201.40", "+0.5"),
        "maximum tokens": ("900", "824", "+76"),
    }


def test_the_papers_numbers_are_those_printed_in_table_1_and_appendix_a():
    numbers = {name: tuple(asdict(numbers).values()) for name, numbers in read_paper_table1().subsets.items()}
    assert numbers == {
        "bimcv-r": (5_322, 3_726, 532, 1_064, 97.19, 406),
        "ct-rate": (25_691, 21_715, 2_412, 1_564, 201.40, 824),
        "inspect": (20_400, 14_280, 2_040, 4_080, 48.71, 267),
        "all": (49_849, 39_721, 4_984, 5_144, 130.03, 824),
    }


def test_the_papers_numbers_add_up_where_the_table_says_so():
    printed = {(row.subset, row.name): row.paper for row in build_table1(STATISTICS).rows}
    sources = ("bimcv-r", "ct-rate", "inspect")
    for source in sources:
        assert printed[source, "scans"] == sum(printed[source, split] for split in ("train", "validation", "test"))
    for split in ("train", "validation"):
        assert printed["all", split] == sum(printed[source, split] for source in sources)
    left_out = printed["ct-rate", "test"]
    for number, told in (("test", 6_708), ("scans", 51_413)):
        assert sum(printed[source, number] for source in sources) == told == printed["all", number] + left_out
    weighted = sum(printed[source, "average tokens"] * printed[source, "scans"] for source in sources) / 51_413
    assert round(weighted, 2) == printed["all", "average tokens"]


def test_a_part_of_the_sources_is_not_compared_with_the_sum_of_all():
    table = build_table1({"inspect": OURS, "all": OURS})
    assert {row.subset for row in table.rows} == {"inspect"}
    assert "Not prepared here: bimcv-r, ct-rate." in table.notes
    assert not any("6,708" in note for note in table.notes)


def test_phantoms_are_said_to_be_phantoms(tmp_path):
    drawn, real = write_layout(tmp_path / "drawn", "inspect", 1), tmp_path / "real"
    assert phantom_sources({"ct-rate": real, "inspect": drawn}) == ["inspect"]
    text = table1_markdown(build_table1(STATISTICS, ["inspect"]))
    assert "- Phantoms, not patients: inspect." in text
    assert "Phantoms" not in table1_markdown(build_table1(STATISTICS))
    assert "| ct-rate | average tokens | 201.9 | 201.40 | +0.5 |" in text


def test_a_terminal_of_80_columns_shows_every_heading_and_number():
    console = Console(width=80, record=True, file=io.StringIO())
    table = build_table1(STATISTICS)
    show(beside_the_paper(table), console)
    text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    words = text.replace("┃", " ").replace("│", " ").split()
    for cells in (("subset", "number", "yours", "the paper's", "difference"), *(row.cells for row in table.rows)):
        assert all(word in words for cell in cells for word in cell.split())


def test_a_number_that_the_paper_does_not_give_has_no_difference():
    assert Table1Row("all", "patients", 1_000).cells == ("all", "patients", "1,000", "", "")
