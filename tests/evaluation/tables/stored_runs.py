"""Evaluation folders with given numbers, as the tables read them."""

import json
from dataclasses import replace
from pathlib import Path

from argus_evaluation.benchmark.evaluation_results import EvaluationResults, MetricValue, write_results
from argus_evaluation.benchmark.run_list import Run

JAVA = "needs Java & 50% more_time|see {docs}"


def store_run(root: Path, run: str, values: dict[str, float], subset: str = "ct-rate", **changes) -> Run:
    """Write the results of a run such as "Argus 8B hr 0" (a size or a seed of "-" is none) with its metrics."""
    system, size, resolution, seed = run.split()
    folder = root / f"{run.replace(' ', '_')}_{subset}"
    folder.mkdir()
    metrics = {name: MetricValue(value, f"signature of {name}", value - 1, value + 1) for name, value in values.items()}
    metrics["METEOR"] = MetricValue(None, "meteor|1.5", missing=JAVA)
    digest = run.encode().hex().ljust(64, "0")[:64]
    results = EvaluationResults(subset=subset, split="test", n_test=20, model_hash=digest, metrics=metrics)
    write_results(folder, replace(results, **changes))
    (folder / "predictions.jsonl.settings.json").write_text(
        json.dumps({"model_hash": digest, "subset": subset, "split": "test", "dataset": "same"})
    )
    return Run(system, resolution, folder, size.strip("-"), None if seed == "-" else int(seed))
