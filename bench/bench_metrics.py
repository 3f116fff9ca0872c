"""Compare the time of every NLP metric with pycocoevalcap's, on as many pairs as the paper's test set has.

make bench          (writes runs/bench/metrics.json)

There are 6,708 pairs of 130 words. METEOR is timed only if Java is installed; the total "without Java" never includes
it.
"""

import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench_timing import timed
from rich.console import Console
from rich.progress import track
from rich.table import Table

from argus_evaluation.metrics.nlp_metrics import METRICS
from argus_evaluation.metrics.report_words import TOKENIZER, split_words
from argus_evaluation.metrics.significance import confidence_interval, draw_reports
from argus_inference.console.terminal import show
from argus_processing.phantom.scans import report_of
from argus_processing.storage.whole_files import check_can_fill, write_json

NUM_PAIRS = 6708  # the test split: 1,064 + 1,564 + 4,080
NUM_WORDS = 130
# The metrics of pycocoevalcap, by scorer; its values are 0 to 1 (CIDEr 0 to 10), and Argus prints 100 times these.
PEERS = {"Bleu": ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"), "Rouge": ("ROUGE-L",), "Cider": ("CIDEr",)}
METEOR_PAIRS = 300  # both run the same Java program, which takes minutes for all pairs


def make_pairs(num_pairs: int = NUM_PAIRS, num_words: int = NUM_WORDS) -> tuple[list[str], list[str]]:
    """Make references of a given length from phantoms' reports, and predictions that share half of each reference."""
    reports = [split_words(report_of(seed)) for seed in range(num_pairs)]
    references, predictions = [], []
    for index in range(num_pairs):
        words = _join(reports, index, num_words)
        other = _join(reports, index + num_pairs // 2, num_words)
        references.append(" ".join(words))
        predictions.append(" ".join(words[: num_words // 2] + other[num_words // 2 :]))
    return predictions, references


def _join(reports: list[list[str]], first: int, num_words: int) -> list[str]:
    words: list[str] = []
    while len(words) < num_words:
        words += reports[first % len(reports)]
        first += 1
    return words[:num_words]


def run_bench(out: Path, num_pairs: int = NUM_PAIRS) -> dict[str, Any]:
    """Measure all metrics, write `metrics.json` into the folder `out`, print a table."""
    check_can_fill(out)
    predictions, references = make_pairs(num_pairs)
    argus = measure_argus(predictions, references)
    peers = {
        name: measure_peer(name, metrics, argus, predictions, references)
        for name, metrics in track(PEERS.items(), "pycocoevalcap", console=Console(stderr=True))
    }
    results = {
        "pairs": num_pairs,
        "words": NUM_WORDS,
        "tokenizer": TOKENIZER,
        "versions": {name: version(name) for name in ("sacrebleu", "rouge-score", "rapidfuzz", "pycocoevalcap")},
        "seconds_without_java": sum(row["seconds"] + row["interval_seconds"] for row in argus.values()),
        "cpu_seconds_without_java": sum(row["cpu_seconds"] for row in argus.values()),
        "argus": argus,
        "pycocoevalcap": peers,
        "meteor": measure_meteor(predictions[:METEOR_PAIRS], references[:METEOR_PAIRS]),
    }
    write_json(out / "metrics.json", results)
    show(build_table(results))
    return results


def measure_argus(predictions: list[str], references: list[str]) -> dict[str, dict[str, float]]:
    """Measure every metric except METEOR; return its value, its seconds and those of its confidence interval.

    The time of the first BLEU includes the counting of n-grams for all BLEU metrics.
    """
    rows = {}
    draws = draw_reports(len(references))
    metrics = {name: metric for name, metric in METRICS.items() if name != "METEOR"}
    for name, metric in track(metrics.items(), "argus", console=Console(stderr=True)):
        started = time.process_time()
        seconds, scores = timed(lambda metric=metric: metric.score(predictions, references))
        interval, _ = timed(lambda scores=scores: confidence_interval(scores, draws))
        rows[name] = {
            "value": scores.value,
            "seconds": seconds,
            "interval_seconds": interval,
            "cpu_seconds": time.process_time() - started,
        }
    return rows


def measure_peer(
    name: str, metrics: tuple[str, ...], argus: dict[str, Any], predictions: list[str], references: list[str]
) -> dict[str, Any]:
    """Run one of pycocoevalcap's scorers on the same words; return the seconds of both and the largest difference."""
    scorer = getattr(import_module(f"pycocoevalcap.{name.lower()}.{name.lower()}"), name)
    said, true = (
        {index: [" ".join(split_words(text))] for index, text in enumerate(texts)}
        for texts in (predictions, references)
    )
    options = {"verbose": 0} if name == "Bleu" else {}
    seconds, (values, _) = timed(lambda: scorer().compute_score(true, said, **options))
    values = values if isinstance(values, list) else [values]
    differences = [abs(argus[metric]["value"] / 100 - value) for metric, value in zip(metrics, values, strict=True)]
    own = sum(argus[metric]["seconds"] for metric in metrics)
    return {"metrics": list(metrics), "argus_seconds": own, "seconds": seconds, "largest_difference": max(differences)}


def measure_meteor(predictions: list[str], references: list[str]) -> dict[str, Any]:
    """Measure METEOR and pycocoevalcap's METEOR, or return the reason why METEOR is missing."""
    metric = METRICS["METEOR"]
    if reason := metric.missing():
        return {"missing": reason}
    seconds, scores = timed(lambda: metric.score(predictions, references))
    argus = {"METEOR": {"value": scores.value, "seconds": seconds}}
    return {"pairs": len(references)} | measure_peer("Meteor", ("METEOR",), argus, predictions, references)


def build_table(results: dict[str, Any]) -> Table:
    """Return the comparison of Argus and pycocoevalcap as a rich table."""
    caption = (
        f"all but METEOR, with intervals: {results['seconds_without_java']:.1f} s "
        f"({results['cpu_seconds_without_java']:.1f} s of CPU)"
    )
    title = f"{results['pairs']} pairs of {results['words']} words, seconds"
    table = Table("metrics", "argus", "pycocoevalcap", "largest difference", title=title, caption=caption)
    meteor = results["meteor"]
    for row in [*results["pycocoevalcap"].values(), *([] if "missing" in meteor else [meteor])]:
        pairs = f" ({row['pairs']} pairs)" if "pairs" in row else ""
        seconds = (f"{row['argus_seconds']:.1f}", f"{row['seconds']:.1f}")
        table.add_row(", ".join(row["metrics"]) + pairs, *seconds, f"{row['largest_difference']:.1e}")
    return table


if __name__ == "__main__":
    run_bench(Path(sys.argv[1]))
