"""Write Table 4 as Markdown, with the paper's rows beside ours, as CSV and as JSON."""

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from argus_processing.storage.markdown_table import literal_table, markdown_table
from argus_processing.storage.whole_files import check_can_fill, write_json, write_text

from .table4 import Agreement, PaperModel, Score, Table4, build_table4

NOT_IN_STUDY = "not in the study"


def table4_markdown(table: Table4) -> str:
    """Return the table in the paper's form: a row per model, a column per subset, mean and deviation in the cells.

    If the study has one of the paper's subsets, each of the paper's models has a row, with ours above it and the
    difference of the means below.
    """
    columns = _columns(table)
    headings = [table.paper.subsets.get(column, column) for column in columns]
    rows: list[list[str]] = []
    cells = {(score.system, score.subset): score for score in table.scores}
    ours = {
        system: [system.replace("|", "/"), *(_cell(cells.get((system, column))) for column in columns)]
        for system in table.systems
    }
    if _has_paper_subset(table):
        for model in table.paper.models:
            name = model.find_ours(table.systems)
            rows += [ours.pop(name)] if name else []
            rows += _paper_rows(model, name, columns, cells)
    rows += ours.values()
    agreement = {row.subset: _alpha(row) for row in table.agreement}
    rows.append(["*agreement (alpha)*", *(agreement.get(column, "") for column in columns)])
    return markdown_table(literal_table(["Model", *headings], rows)) + "\n\n" + _legend(table)


def _has_paper_subset(table: Table4) -> bool:
    return bool(set(table.subsets) & set(table.paper.subsets))


def _columns(table: Table4) -> list[str]:
    """Return the subsets: the paper's in its order, if the study has one of them, then the others, then "all"."""
    first = list(table.paper.subsets) if _has_paper_subset(table) else []
    return [*first, *(subset for subset in table.subsets if subset not in first)]


def _paper_rows(
    model: PaperModel, name: str | None, columns: list[str], cells: dict[tuple[str, str], Score]
) -> Iterator[list[str]]:
    """Yield the paper's row, and the difference of ours, which has this name, if it has a score."""
    printed = [model.scores.get(column) for column in columns]
    yield [f"*paper: {model.name}*", *(f"{score.mean:.1f} ± {score.sd:.1f}" if score else "" for score in printed)]
    means = [found.mean if name and (found := cells.get((name, column))) else None for column in columns]
    differences = [
        "" if mean is None or score is None else f"{mean - score.mean:+.1f}"
        for mean, score in zip(means, printed, strict=True)
    ]
    if any(differences):
        yield ["*difference*", *differences]


def _cell(score: Score | None) -> str:
    if score is None:
        return NOT_IN_STUDY
    if score.mean is None:
        return "missing"
    deviation = "" if score.sd is None else f" ± {score.sd:.2f}"
    return f"{score.mean:.2f}{deviation} (n={score.n})"


def _alpha(row: Agreement) -> str:
    return (row.missing or "") if row.alpha is None else f"{row.alpha:.2f} ({row.units} reports)"


def _legend(table: Table4) -> str:
    last = [score for score in table.scores if score.subset == table.subsets[-1]]
    given, expected = sum(score.n for score in last), sum(score.expected for score in last)
    legend = (
        f"{table.num_readers} readers, blinded; correctness from 1 to 5, mean ± standard deviation of the sample; "
        f"{given} of {expected} scores are given. Agreement is Krippendorff's alpha with the ordinal difference, over "
        "the reports that at least two readers scored.\n"
    )
    return legend + (f"\nThe paper's rows: {table.paper.source}.\n" if _has_paper_subset(table) else "")


def table4_csv(table: Table4) -> str:
    """Return the table as CSV, one line per system and subset; a subset's agreement is on each of its lines."""
    alphas = {row.subset: row for row in table.agreement}
    paper = {model.find_ours(table.systems): model.scores for model in table.paper.models}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = ["system", "subset", "mean", "sd", "n", "expected", "alpha", "alpha_reports", "paper_mean", "paper_sd"]
    writer.writerow(heads)
    for score in table.scores:
        agreement = alphas[score.subset]
        printed = paper.get(score.system, {}).get(score.subset)
        own = [*asdict(score).values(), agreement.alpha, agreement.units]
        values = [*own, *((printed.mean, printed.sd) if printed else (None, None))]
        writer.writerow(["" if value is None else value for value in values])
    return out.getvalue()


def write_table4(folder: Path, out: Path) -> Table4:
    """Write `table4.md`, `table4.csv` and `table4.json` into the folder `out` and return the table."""
    table = build_table4(folder)
    check_can_fill(out)
    write_text(out / "table4.md", table4_markdown(table))
    write_text(out / "table4.csv", table4_csv(table))
    write_json(out / "table4.json", asdict(table))
    return table
