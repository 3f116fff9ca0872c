"""Run the stress test: make the pairs, score them, and write results, tables, figure and pairs into a folder."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from argus_processing.storage.claimed_folders import claimed_folder
from argus_processing.storage.json_lines import json_line
from argus_processing.storage.whole_files import write_text

from ..metrics.clinical.clinical_weights import ClinicalOptions
from ..metrics.labels.rule_reader import RULES
from .changes import ERRORS
from .stress_figure import save_stress_figure
from .stress_pairs import StressPair, make_pairs
from .stress_references import References
from .stress_results import StressResults, collect_results, count_pairs, write_stress_results
from .stress_table import write_stress_table
from .stressed_metrics import score_pairs, stressed_metrics

PAIRS_FILE = "pairs.jsonl"


def run_stress(
    out: Path,
    references: References,
    clinical: Collection[str],
    options: ClinicalOptions,
    wanted: int = 500,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
    started: float | None = None,
) -> StressResults:
    """Test metrics with planted errors and harmless changes.

    Args:
        out: folder for `stress.json`, `.md` and `.png`, and `pairs.jsonl` with the changed reports.
        references: reports to change.
        clinical: keys of the clinical metrics.
        options: options of the clinical metrics.
        wanted: pairs of each class.
        seed: of all draws.
        say: called with a line for each metric that is missing, and each class of which there are fewer pairs.
        started: `time.monotonic` at the start of what is timed. Default: now.

    Raises:
        ValueError: if `wanted` is below 1, a metric is unknown, no report has a place for an error, or another process
            is writing into `out`.
    """
    start = time.monotonic() if started is None else started
    metrics = stressed_metrics(clinical, options, references.reports)
    for name, metric in metrics.items():
        if reason := metric.missing():
            say(f"{name} is missing: {reason}")
    with claimed_folder(out) as folder:
        pairs = make_pairs(references.reports, wanted, seed)
        counts = count_pairs(pairs)
        for kind, count in counts.items():
            if count < wanted:
                say(f"{kind}: {count} pairs of {wanted}; {references.source} holds no more")
        if not any(counts[kind] for kind in ERRORS):
            raise ValueError(f"{references.source}: no report has a place for an error; give reports of chest CTs")
        write_text(folder / PAIRS_FILE, "".join(_line_of(pair, references) for pair in pairs))
        scores = score_pairs(metrics, references.reports, pairs)
        results = StressResults(
            source=references.source,
            num_references=len(references.reports),
            references_sha256=references.sha256,
            label_rules=RULES,
            wanted=wanted,
            pairs=counts,
            seed=seed,
            metrics=collect_results(metrics, scores, pairs),
        )
        save_stress_figure(folder, results)
        results = replace(results, seconds=round(time.monotonic() - start, 1))
        write_stress_table(folder, results)
        write_stress_results(folder, results)
    return results


def _line_of(pair: StressPair, references: References) -> str:
    return json_line(
        {
            "kind": pair.kind,
            "number": pair.reference,
            "reference": references.reports[pair.reference],
            "text": pair.text,
        }
    )
