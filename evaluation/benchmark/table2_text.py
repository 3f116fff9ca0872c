"""Write Table 2 as Markdown, LaTeX and JSON; the three hold the same cells, footnotes and signatures."""

from dataclasses import asdict
from pathlib import Path
from string import ascii_lowercase

from argus_processing.storage.markdown_table import literal_table, markdown_table
from argus_processing.storage.whole_files import check_can_fill, write_json, write_text

from .table2 import Block, Table2, TableNumber

_LATEX = {
    **{"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}", "<": r"\textless{}"},
    **{">": r"\textgreater{}"},
}
_MARKDOWN = {"|": r"\|", "\n": " "}


class Footnotes:
    """Reasons why numbers are missing; each has a letter, in order of first use."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def mark(self, reason: str) -> str:
        """Return the letters of a reason (a, b, ... z, aa, ab, ...); add a new reason."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return _letters(self.reasons.index(reason))

    def lines(self) -> list[tuple[str, str]]:
        """Return every mark with its reason."""
        return [(_letters(index), reason) for index, reason in enumerate(self.reasons)]


def _letters(index: int) -> str:
    first, last = divmod(index, len(ascii_lowercase))
    return (ascii_lowercase[first - 1] if first else "") + ascii_lowercase[last]


def _digits(number: TableNumber, value: float | None) -> str:
    """Format a value of a table's number; a share, which is at most 1, has three digits."""
    return "" if value is None else f"{value:.{3 if number.scale == 1 else 2}f}"


def _escape(text: str, table: dict[str, str]) -> str:
    return "".join(table.get(letter, letter) for letter in text)


def table2_markdown(table: Table2) -> str:
    """Return one Markdown table per subset, then the missing numbers with reasons, then the metrics' signatures."""
    notes = Footnotes()
    parts = [_markdown_block(table, block, notes) for block in table.blocks]
    lines = [f"- [{mark}] {_escape(reason, _MARKDOWN)}" for mark, reason in notes.lines()]
    parts.append("\n".join(["Missing:", "", *lines]) if lines else "")
    parts.append("\n".join(["Signatures:", "", *(f"- {line}" for line in _signature_lines(table))]))
    parts.append("\n\n".join(_remarks(table)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_block(table: Table2, block: Block, notes: Footnotes) -> str:
    columns = _columns(table)
    heads = ["metric", *(f"{system} {resolution}" for resolution, system in columns)]
    rows = (
        [metric, *(_markdown_number(block.cells[*column, metric], notes) for column in columns)]
        for metric in block.metrics
    )
    shown = markdown_table(literal_table(heads, rows, numbers_from=1))
    return f"### {block.subset}, {block.split}, {block.n_test} reports\n\n{shown}"


def _markdown_number(number: TableNumber, notes: Footnotes) -> str:
    text = f"missing [{notes.mark(number.missing)}]" if number.missing else _digits(number, number.value)
    if number.low is not None and number.high is not None:
        text += f" ({_digits(number, number.low)} to {_digits(number, number.high)})"
    return text if number.paper is None else f"{text}<br>*paper: {_digits(number, number.paper)}*"


def table2_latex(table: Table2) -> str:
    r"""Return one `table*` per subset for LaTeX with `booktabs`, with the intervals in small type."""
    notes = Footnotes()
    blocks = [_latex_block(table, block, notes) for block in table.blocks]
    lines = [rf"\textsuperscript{{{mark}}} {_escape(reason, _LATEX)}.\\" for mark, reason in notes.lines()]
    remarks = [_escape(remark, _LATEX) + r"\\" for remark in _remarks(table)]
    signatures = [f"% {line}" for line in _signature_lines(table)]
    return "\n".join([*blocks, r"\noindent\small", *lines, *remarks, *signatures]) + "\n"


def _latex_block(table: Table2, block: Block, notes: Footnotes) -> str:
    columns, count = _columns(table), len(table.systems)
    groups = " & ".join(rf"\multicolumn{{{count}}}{{c}}{{{name}}}" for name in table.resolutions.values())
    heads = " & ".join(_escape(system, _LATEX) for _, system in columns)
    lines = [
        r"\begin{table*}",
        r"\centering\small",
        rf"\caption{{{_escape(block.subset, _LATEX)}, {block.split}, {block.n_test} reports.}}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        rf" & {groups} \\",
        rf"metric & {heads} \\",
        r"\midrule",
    ]
    for metric in block.metrics:
        cells = [_latex_number(block.cells[*column, metric], notes) for column in columns]
        lines.append(rf"{_escape(metric, _LATEX)} & {' & '.join(cells)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}"])


def _latex_number(number: TableNumber, notes: Footnotes) -> str:
    text = rf"--\textsuperscript{{{notes.mark(number.missing)}}}" if number.missing else _digits(number, number.value)
    small = []
    if number.low is not None and number.high is not None:
        small.append(f"[{_digits(number, number.low)}, {_digits(number, number.high)}]")
    if number.paper is not None:
        small.append(rf"\textit{{paper: {_digits(number, number.paper)}}}")
    return text + "".join(rf" {{\scriptsize {part}}}" for part in small)


def table2_json(table: Table2) -> dict[str, object]:
    """Return the table as plain data: every cell with its value, or None and the reason."""
    return {
        "paper": {"source": table.source, "has_values": table.has_paper_values},
        "systems": list(table.systems),
        "resolutions": table.resolutions,
        "subsets_without_a_run": list(table.left_out),
        "subsets": [
            {
                "subset": block.subset,
                "split": block.split,
                "n_test": block.n_test,
                "model_hashes": {f"{system} {at}": value for (at, system), value in block.model_hashes.items()},
                "cells": [
                    {"metric": metric, "resolution": resolution, "system": system, **asdict(cell)}
                    for (resolution, system, metric), cell in block.cells.items()
                ],
            }
            for block in table.blocks
        ],
    }


def _columns(table: Table2) -> list[tuple[str, str]]:
    return [(resolution, system) for resolution in table.resolutions for system in table.systems]


def _signature_lines(table: Table2) -> list[str]:
    """Return each metric's signature; several for one metric get a warning that its numbers cannot be compared."""
    lines = []
    for metric in dict.fromkeys(metric for block in table.blocks for metric in block.metrics):
        found = sorted({signature for block in table.blocks for signature in block.signatures(metric)})
        warning = "COMPUTED DIFFERENTLY, do not compare: " if len(found) > 1 else ""
        if found:
            lines.append(f"{metric}: {warning}{'; '.join(found)}")
    return lines


def _remarks(table: Table2) -> list[str]:
    remarks = ["Numbers come from this project's result files; in brackets, 95% bootstrap intervals."]
    if table.left_out:
        remarks.append(f"No evaluation in the runs file is of: {', '.join(table.left_out)}.")
    if table.has_paper_values:
        remarks.append(f"Numbers marked as the paper's are from {table.source}, not measured here.")
    else:
        remarks.append(f"The paper's own numbers ({table.source}) are not kept here, so none are shown beside.")
    return remarks


def write_table2(table: Table2, out: Path) -> None:
    """Write `table2.md`, `table2.tex` and `table2.json` into the folder `out`."""
    check_can_fill(out)
    write_text(out / "table2.md", table2_markdown(table))
    write_text(out / "table2.tex", table2_latex(table))
    write_json(out / "table2.json", table2_json(table))
