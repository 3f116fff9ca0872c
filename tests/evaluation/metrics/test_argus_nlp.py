import json
import re
from pathlib import Path

import evaluate
import pytest

import argus_evaluation
from argus_evaluation.metrics.nlp_metrics import METRICS
from argus_evaluation.metrics.reference_hash import references_hash

FOLDERS = [Path(argus_evaluation.__file__).parent / "metrics" / name for name in ("argus_nlp", "argus_labels")]
PREDICTIONS, REFERENCES = ["No effusion.", "", "a\x00\nb 结节"], ["No pleural effusion.", "A nodule.", "a b"]


@pytest.fixture(scope="module")
def metric(load_metric):
    return load_metric("argus_nlp")


def test_evaluate_gives_the_same_values_as_the_functions(metric):
    scores = metric.compute(predictions=PREDICTIONS, references=REFERENCES)
    for name in ("BLEU-1", "BLEU-2 (mean)", "ROUGE-L", "CIDEr"):
        expected = METRICS[name].score(PREDICTIONS, REFERENCES).value
        assert scores[name] == expected
    assert all(type(score) is float for score in scores.values())
    assert json.loads(json.dumps(scores)) == scores and "METEOR" not in scores


def test_numbers_of_several_modules_are_combined(metric):
    both = evaluate.combine({"ours": metric, "again": metric}, force_prefix=True)
    scores = both.compute(predictions=PREDICTIONS, references=REFERENCES)
    assert scores["ours_ROUGE-L"] == scores["again_ROUGE-L"] == METRICS["ROUGE-L"].score(PREDICTIONS, REFERENCES).value


def test_evaluate_gives_details_on_demand_and_takes_batches(metric):
    metric.add_batch(predictions=PREDICTIONS[:2], references=REFERENCES[:2])
    metric.add(prediction=PREDICTIONS[2], reference=REFERENCES[2])
    scores = metric.compute(details=True)
    assert scores["METEOR"]["value"] is None and "Java" in scores["METEOR"]["missing"]
    assert scores["ROUGE-1"]["signature"] == METRICS["ROUGE-1"].signature
    assert scores["ROUGE-1"]["references_sha256"] == references_hash(REFERENCES[::-1]) != references_hash(["a"])
    assert scores["ROUGE-1"]["per_report"] == METRICS["ROUGE-1"].score(PREDICTIONS, REFERENCES).per_report.tolist()


def test_the_way_the_documents_load_them_never_looks_on_the_hub(tmp_path, monkeypatch):
    root = Path(__file__).parents[3]
    told = [*root.glob("docs/*.md"), root / "README.md"]
    told += [file for folder in FOLDERS for file in (folder / "README.md", folder / f"{folder.name}.py")]
    paths = {path for file in told for path in re.findall(r"evaluate\.load\(\"(.*?)\"", file.read_text("utf-8"))}
    assert paths == {f"./evaluation/metrics/{folder.name}" for folder in FOLDERS}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate.loading, "HubEvaluationModuleFactory", lambda *_, **__: pytest.fail("asked the Hub"))
    for path in paths:
        with pytest.raises(FileNotFoundError):
            evaluate.load(path)
