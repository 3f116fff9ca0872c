"""Measure the sentence rules on labelled sentences: precision and recall of each rule.

python bench/measure_rules.py tests/processing/curation/labelled_sentences.csv hub_cards/sentence_rules.json
python bench/measure_rules.py ... --real real_sentences.csv --reports 100 --name "Hospital A"

The second command also measures on sentences of real reports, which stay outside the repository. Its results are stored
under `--name` and are kept when the command is later run without these sentences or with others.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

from rich.table import Table

from argus_inference.console.terminal import show
from argus_processing.curation.judges import RuleJudge
from argus_processing.curation.sentence_rules import NAMES, judge_sentence
from argus_processing.storage.whole_files import write_json

HALVES = ("tune", "held_out")
REAL = "held_out_real"
KEEP, ARGUABLE = "keep", "?"

Measured = dict[str, dict[str, float]]


def read_sentences(path: Path) -> list[dict[str, str]]:
    """Read `sentence`, `rule` (or "keep") and `half`: "tune" if the rules were tuned on the sentence, or "held_out"."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_real_sentences(path: Path) -> tuple[list[tuple[str, frozenset[str]]], int]:
    """Read `sentence` and `rules` of real sentences; `rules` is "keep", or names of rules joined by "+".

    A "?" at the end marks a label that is arguable.

    Returns:
        the sentences with the rules that apply to them, and the number of arguable ones, which are left out.

    Raises:
        ValueError: if a column is missing, or a label is unknown.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"sentence", "rules"} <= set(rows[0]):
        raise ValueError(f"{path}: has no rows with the columns sentence and rules")
    sentences, arguable = [], 0
    for number, row in enumerate(rows, start=2):
        labels = frozenset(label.strip() for label in row["rules"].rstrip(ARGUABLE).split("+"))
        if unknown := labels - {KEEP, *NAMES}:
            raise ValueError(
                f"{path}, row {number}: label {sorted(unknown)[0]!r} is none of {KEEP}, {', '.join(NAMES)}"
            )
        if KEEP in labels and len(labels) > 1:
            raise ValueError(f"{path}, row {number}: {KEEP} stands beside a rule")
        if row["rules"].endswith(ARGUABLE):
            arguable += 1
        else:
            sentences.append((row["sentence"], labels - {KEEP}))
    return sentences, arguable


def measure(rows: list[dict[str, str]]) -> dict[str, Measured]:
    """Compute precision, recall and support of each rule on each half; a sentence has one rule, the first that fits."""
    return {half: _measure_half([row for row in rows if row["half"] == half]) for half in HALVES}


def measure_real(path: Path, reports: int) -> dict[str, dict[str, float] | int | str]:
    """Compute the same on real sentences, for which several rules may apply.

    The rule that the judge names is correct if it is one of them; a sentence that any rule drops counts as dropped for
    each of its rules.
    """
    sentences, arguable = read_real_sentences(path)
    judged = [((judge_sentence(sentence) or (KEEP, ""))[0], due) for sentence, due in sentences]
    rates = {
        rule: _rates(
            hits=sum(named == rule and rule in due for named, due in judged),
            found=sum(named == rule for named, _ in judged),
            dropped=sum(named != KEEP and rule in due for named, due in judged),
            due=sum(rule in due for _, due in judged),
        )
        for rule in NAMES
    }
    return rates | {
        "sentences": len(sentences),
        "arguable": arguable,
        "reports": reports,
        "judge": RuleJudge().name,
    }


def _measure_half(rows: list[dict[str, str]]) -> Measured:
    pairs = [((judge_sentence(row["sentence"]) or (KEEP, ""))[0], row["rule"]) for row in rows]
    rates = {}
    for rule in NAMES:
        hits = sum(named == due == rule for named, due in pairs)
        found, due = sum(named == rule for named, _ in pairs), sum(due == rule for _, due in pairs)
        rates[rule] = _rates(hits, found, hits, due)
    return rates


def _rates(hits: int, found: int, dropped: int, due: int) -> dict[str, float]:
    return {
        "precision": round(hits / found, 4) if found else 0.0,
        "recall": round(dropped / due, 4) if due else 0.0,
        "support": due,
    }


def _print(results: dict[str, Measured], real: dict[str, Measured]) -> None:
    table = Table("rule", "sentences of", "precision", "recall", "sentences", title="Sentence rules")
    for name, rules in (results | real).items():
        for rule in NAMES:
            row = rules[rule]
            table.add_row(rule, name, f"{row['precision']:.3f}", f"{row['recall']:.3f}", str(row["support"]))
    show(table)


def main(arguments: list[str] | None = None) -> int:
    """Measure the rules, print a table, write the numbers for the data set card."""
    parser = argparse.ArgumentParser(description="Measure the sentence rules on labelled sentences.")
    parser.add_argument("sentences", type=Path, help="CSV file with the columns sentence, rule, half")
    parser.add_argument("out", type=Path, help="JSON file to write; the data set card reads it")
    parser.add_argument("--real", type=Path, help="CSV file with the columns sentence, rules, from real reports")
    parser.add_argument("--reports", type=int, help="number of reports from which the real sentences come")
    parser.add_argument("--name", help="name of these reports on the card")
    options = parser.parse_args(arguments)
    if len({option is None for option in (options.real, options.reports, options.name)}) > 1:
        parser.error("--real, --reports and --name go together")
    try:
        results = measure(read_sentences(options.sentences))
        real = json.loads(options.out.read_text(encoding="utf-8")).get(REAL, {}) if options.out.exists() else {}
        if options.real:
            real[options.name] = measure_real(options.real, options.reports)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _print(results, real)
    write_json(options.out, results | ({REAL: real} if real else {}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
