"""How well the sentence rules do what they say, on labelled sentences.

python -m argus_evaluation.measure_rules tests/processing/labelled_sentences.csv hub_cards/sentence_rules.json
"""

import csv
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from argus_processing.sentence_rules import RULES, judge_sentence
from argus_processing.whole_files import write_json

HALVES = ("tune", "held_out")
KEEP = "keep"


def read_sentences(path: Path) -> list[dict[str, str]]:
    """Read `sentence`, `rule` (or "keep") and `half`: those the rules were tuned on, and those held out."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measure(rows: list[dict[str, str]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return precision, recall and support of each rule on each half; a sentence has one rule, the first that fits."""
    return {half: _measure_half([row for row in rows if row["half"] == half]) for half in HALVES}


def _measure_half(rows: list[dict[str, str]]) -> dict[str, dict[str, float]]:
    pairs = [((judge_sentence(row["sentence"]) or (KEEP, ""))[0], row["rule"]) for row in rows]
    return {rule.name: _rates(pairs, rule.name) for rule in RULES}


def _rates(pairs: list[tuple[str, str]], rule: str) -> dict[str, float]:
    hits = sum(found == due == rule for found, due in pairs)
    found, due = sum(found == rule for found, _ in pairs), sum(due == rule for _, due in pairs)
    return {
        "precision": round(hits / found, 4) if found else 0.0,
        "recall": round(hits / due, 4) if due else 0.0,
        "support": due,
    }


def main(sentences: Path, out: Path) -> None:
    """Measure, print a table, write the figures for the data set card."""
    results = measure(read_sentences(sentences))
    table = Table("rule", "half", "precision", "recall", "sentences", title="Sentence rules")
    for half, rules in results.items():
        for rule, row in rules.items():
            table.add_row(rule, half, f"{row['precision']:.3f}", f"{row['recall']:.3f}", str(row["support"]))
    Console().print(table)
    write_json(out, results)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
