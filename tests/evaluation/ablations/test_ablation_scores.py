"""Scores of a cell: each subset apart, and the mean clinical metric that is the axis of the paper's figures."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import datasets
import pytest

from argus_evaluation.ablations import ablation_scores
from argus_evaluation.ablations.ablation_results import AblationRun, write_kept
from argus_evaluation.ablations.ablation_scores import Evaluation, missing_metrics, over_subsets, with_average
from argus_evaluation.benchmark.evaluation_results import EvaluationResults, MetricValue
from argus_inference.model_folder import Loading
from argus_training.ablations.ablation_recipes import ReportRecipe

THREE = {"GREEN": 30.0, "RaTEScore": 60.0, "RadGraph-XL partial": 15.0}


def recipe(**evaluation) -> ReportRecipe:
    return ReportRecipe(
        data={"subset": "all", "subset_options": {"data_dir": "data"}},
        preset="argus-tiny",
        llm="given",
        llms={"given": {"path": "llm"}},
        vision=[],
        sft={},
        evaluation=evaluation,
    )


def test_the_mean_clinical_metric_needs_all_three():
    assert with_average(THREE)["Avg. clinical"] == 35.0
    assert with_average(THREE | {"GREEN": None})["Avg. clinical"] is None
    assert "Avg. clinical" not in with_average({"GREEN": 30.0})


def test_a_missing_metric_keeps_its_reason_and_gives_it_to_the_average():
    values = {
        "BLEU-1": MetricValue(9.0, ""),
        "GREEN": MetricValue(None, "", missing="no weights"),
        "RaTEScore": MetricValue(None, "", missing="pip install x"),
        "CIDEr": MetricValue(None, ""),  # not defined on these reports, which is no reason
    }
    results = EvaluationResults(n_test=1, metrics=values, model_hash="h", subset="all", split="test")
    assert missing_metrics(results) == {
        "GREEN": "no weights",
        "RaTEScore": "pip install x",
        "Avg. clinical": "no weights; pip install x",
    }


def test_a_metric_is_there_for_each_subset_and_as_their_mean():
    joined = over_subsets({"ct-rate": {"GREEN": 50.0, "loss": 1.0}, "inspect": {"GREEN": 30.0, "loss": None}})
    assert joined == {
        "GREEN": 40.0,
        "loss": None,
        "GREEN ct-rate": 50.0,
        "loss ct-rate": 1.0,
        "GREEN inspect": 30.0,
        "loss inspect": None,
    }


@pytest.fixture
def evaluated(monkeypatch) -> list[tuple]:
    """Evaluations that were asked for; a subset's scores are as long as its name."""
    asked: list[tuple] = []

    def evaluate(model_dir, dataset, train_reports, out, *, subset, split, metrics, **options):
        asked.append((subset, split, out, options, train_reports))
        values = {name: MetricValue(float(len(subset)), "") for name in (*THREE, "BLEU-1")}
        return EvaluationResults(n_test=len(dataset), metrics=values, model_hash="h", subset=subset, split=split)

    def load(subset, split, options, limit=None):
        return datasets.Dataset.from_dict({"scan_id": [f"{subset} {split} {options['data_dir']} {limit}"] * 2})

    monkeypatch.setattr(ablation_scores, "evaluate_model", evaluate)
    monkeypatch.setattr(ablation_scores, "load_split", load)
    monkeypatch.setattr(ablation_scores, "load_train_reports", lambda subset, options: [f"report of {subset}"])
    monkeypatch.setattr(ablation_scores, "report_loss", lambda *arguments: 2.0)
    monkeypatch.setattr(ablation_scores, "load_processor", lambda path: SimpleNamespace(num_image_tokens=8))
    return asked


def test_each_subset_is_evaluated_apart_in_a_folder_of_its_own(evaluated, tmp_path):
    said = recipe(subsets=["ct-rate", "inspect"], clinical=["green"], batch_size=3)
    run = Evaluation(said, tmp_path, tmp_path).score(Path("model"))
    assert evaluated == [
        (subset, "test", tmp_path / subset, {"batch_size": 3, "loading": Loading()}, [f"report of {subset}"])
        for subset in ("ct-rate", "inspect")
    ]
    assert run.num_scans == 4 and run.metrics["Avg. clinical"] == 7.0 and run.metrics["Avg. clinical inspect"] == 7.0
    assert run.metrics["BLEU-1"] == 7.0 and run.metrics["report_loss"] == 2.0 and run.metrics["num_visual_tokens"] == 8


def test_the_floors_of_a_recipe_are_asked_for_with_the_training_scans(evaluated, tmp_path):
    Evaluation(recipe(floors=["nearest", "normal"], floor_scans=5), tmp_path, tmp_path).score(Path("model"))
    ((*_, options, _),) = evaluated
    floors = options["floors"]
    assert (floors.names, floors.num_train_scans) == (("nearest", "normal"), 5)
    assert floors.train_scans["scan_id"][0].split()[:2] == ["all", "train"] and "floor_scans" not in options


def test_a_scan_without_a_report_is_no_score(evaluated, tmp_path, monkeypatch):
    fine = ablation_scores.evaluate_model
    monkeypatch.setattr(ablation_scores, "evaluate_model", lambda *a, **b: replace(fine(*a, **b), unreadable=("s7",)))
    with pytest.raises(ValueError, match="inspect: no report on 1 of 2 scans, the first is s7; what was written is"):
        Evaluation(recipe(subsets=["inspect"]), tmp_path, tmp_path).score(Path("model"))


def test_without_subsets_the_trained_one_is_evaluated(evaluated, tmp_path):
    run = Evaluation(recipe(limit=2), tmp_path, tmp_path).score(Path("model"))
    assert [entry[:3] for entry in evaluated] == [("all", "test", tmp_path)]
    assert run.metrics["BLEU-1"] == 3.0 and "BLEU-1 all" not in run.metrics


def test_a_clinical_metric_that_was_missing_is_computed_later(monkeypatch, tmp_path):
    evaluation = Evaluation(recipe(clinical=["green"]), tmp_path, tmp_path)
    assert not evaluation.is_done()
    reason: list[str | None] = ["no weights"]
    metric = SimpleNamespace(missing=lambda: reason[0])
    monkeypatch.setattr(ablation_scores, "clinical_metrics", lambda asked, options: {"GREEN": metric})
    write_kept(evaluation.file, AblationRun(metrics={"GREEN": None}, seconds={}))
    assert evaluation.is_done()
    reason[0] = None
    assert not evaluation.is_done()
    write_kept(evaluation.file, AblationRun(metrics={"GREEN": 30.0}, seconds={}))
    assert evaluation.is_done()


def test_a_model_too_large_for_a_gpu_is_spread_as_the_recipe_says():
    spread = Evaluation(recipe(device_map="auto", batch_size=2), Path("out"), Path("steps"))
    assert spread.loading.device_map == "auto" and spread.options == {"batch_size": 2}
    assert Evaluation(recipe(), Path("out"), Path("steps")).loading.device_map is None
