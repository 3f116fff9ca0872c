import json

import pytest
from bench_metrics import make_pairs, run_bench

from argus_evaluation.metrics.nlp_metrics import METRICS


def test_pairs_have_the_wanted_length_and_share_half():
    predictions, references = make_pairs(6, 40)
    assert {len(text.split()) for text in (*predictions, *references)} == {40}
    assert all(p.split()[:20] == r.split()[:20] != p.split()[20:] for p, r in zip(predictions, references, strict=True))


def test_the_bench_times_every_metric_and_agrees_with_pycocoevalcap(tmp_path):
    results = run_bench(tmp_path, num_pairs=12)
    assert json.loads((tmp_path / "metrics.json").read_text()) == results
    assert set(results["argus"]) == set(METRICS) - {"METEOR"} and "Java" in results["meteor"]["missing"]
    assert all(row["largest_difference"] < 1e-4 for row in results["pycocoevalcap"].values())
    assert results["seconds_without_java"] == pytest.approx(
        sum(row["seconds"] + row["interval_seconds"] for row in results["argus"].values())
    )
