"""Table 4 of the paper, from a reader study: mean score and deviation per system and subset, and agreement."""

import csv
import io
import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from argus_processing.storage.whole_files import check_can_fill, write_json, write_text

from .agreement import ordinal_alpha
from .answers import ANSWERS_FILE, last_scores, read_answers
from .study import STUDY_FILE

ALL = "all"
Scores = dict[tuple[str, str, str, str], int]  # by reader, subset, scan and system


def build_table4(folder: Path) -> dict[str, Any]:
    """Compute the table of a reader study.

    Returns:
        `systems`, `subsets`, `num_readers`; `scores`, one entry for each system and subset (and "all") with `mean`,
        `sd` (of the sample; None for a single score), `n` and `expected` number of scores; `agreement`, one entry for
        each subset with Krippendorff's ordinal `alpha` over the `units` (reports that at least two readers scored), or
        the reason why there is none.

    Raises:
        FileNotFoundError: if there is no study in `folder`.
        ValueError: if its answers do not belong to it.
    """
    path = Path(folder) / STUDY_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; give a folder written by argus reader-study")
    study = json.loads(path.read_text(encoding="utf-8"))
    scores = last_scores(read_answers(Path(folder) / ANSWERS_FILE))
    known = {(case["subset"], case["scan_id"], system) for case in study["cases"] for system in case["systems"]}
    stray = next((key for key in scores if key[1:] not in known), None)
    if stray:
        raise ValueError(
            f"{Path(folder) / ANSWERS_FILE}: holds an answer on {stray[1]} {stray[2]}, not in {STUDY_FILE}"
        )
    readers = sorted({key[0] for key in scores})
    subsets = list(dict.fromkeys(case["subset"] for case in study["cases"]))
    columns = [*subsets, ALL] if len(subsets) > 1 else subsets
    return {
        "systems": study["systems"],
        "subsets": columns,
        "num_readers": len(readers),
        "scores": [
            _summary(scores, known, system, subset, len(readers)) for system in study["systems"] for subset in columns
        ],
        "agreement": [_agreement(scores, subset) for subset in columns],
    }


def _summary(scores: Scores, known: set, system: str, subset: str, num_readers: int) -> dict[str, Any]:
    values = [score for key, score in scores.items() if key[3] == system and subset in (ALL, key[1])]
    reports = sum(1 for other, _, by in known if by == system and subset in (ALL, other))
    return {
        "system": system,
        "subset": subset,
        "mean": statistics.fmean(values) if values else None,
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
        "expected": reports * num_readers,
    }


def _agreement(scores: Scores, subset: str) -> dict[str, Any]:
    by_report = defaultdict(list)
    for key, score in scores.items():
        if subset in (ALL, key[1]):
            by_report[key[1:]].append(score)
    units = [values for values in by_report.values() if len(values) > 1]
    alpha = ordinal_alpha(units)
    row = {"subset": subset, "alpha": alpha, "units": len(units)}
    if alpha is None:
        row["missing"] = "all scores are equal" if units else "no report was scored by two readers"
    return row


def table4_markdown(table: dict[str, Any]) -> str:
    """Return the table in the paper's layout: a row per system, a column per subset, mean and deviation in cells."""
    by_cell = {(row["system"], row["subset"]): row for row in table["scores"]}
    lines = ["| score, 1 to 5 | " + " | ".join(table["subsets"]) + " |", "|---|" + "---|" * len(table["subsets"])]
    for system in table["systems"]:
        cells = [_cell(by_cell[system, subset]) for subset in table["subsets"]]
        lines.append(f"| {system.replace('|', '/')} | {' | '.join(cells)} |")
    agreement = [_alpha(row) for row in table["agreement"]]
    lines.append(f"| *agreement (alpha)* | {' | '.join(agreement)} |")
    return "\n".join(lines) + "\n\n" + _legend(table)


def _cell(row: dict[str, Any]) -> str:
    if row["mean"] is None:
        return "missing"
    deviation = "" if row["sd"] is None else f" ± {row['sd']:.2f}"
    return f"{row['mean']:.2f}{deviation} (n={row['n']})"


def _alpha(row: dict[str, Any]) -> str:
    return row["missing"] if row["alpha"] is None else f"{row['alpha']:.2f} ({row['units']} reports)"


def _legend(table: dict[str, Any]) -> str:
    given, expected = (
        sum(row[key] for row in table["scores"] if row["subset"] == table["subsets"][-1]) for key in ("n", "expected")
    )
    return (
        f"{table['num_readers']} readers, blinded; mean ± standard deviation of the sample; {given} of {expected} "
        "scores are given. Agreement is Krippendorff's alpha with the ordinal difference, over the reports that at "
        "least two readers scored.\n"
    )


def table4_csv(table: dict[str, Any]) -> str:
    """Return the table as CSV, one line per system and subset; a subset's agreement is on each of its lines."""
    alphas = {row["subset"]: row for row in table["agreement"]}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["system", "subset", "mean", "sd", "n", "expected", "alpha", "alpha_reports"])
    for row in table["scores"]:
        agreement = alphas[row["subset"]]
        values: Sequence[Any] = [row[key] for key in ("system", "subset", "mean", "sd", "n", "expected")]
        writer.writerow(["" if value is None else value for value in [*values, agreement["alpha"], agreement["units"]]])
    return out.getvalue()


def write_table4(folder: Path, out: Path) -> dict[str, Any]:
    """Write `table4.md`, `table4.csv` and `table4.json` into the folder `out` and return the table."""
    table = build_table4(folder)
    check_can_fill(out)
    write_text(out / "table4.md", table4_markdown(table))
    write_text(out / "table4.csv", table4_csv(table))
    write_json(out / "table4.json", table)
    return table
