"""`argus card`: a model's card with its results, a preset's before its training, and refusals of one line."""

import json
import shutil

import pytest

from argus_evaluation.benchmark.evaluation_results import EvaluationResults, MetricValue, write_results
from argus_inference.model_folder import hash_model


@pytest.fixture
def results(model_dir, tmp_path):
    folder = tmp_path / "evaluation"
    folder.mkdir()
    metrics = {"finding_f1": MetricValue(0.5, "f", scale=1)}
    told = {"model_hash": hash_model(model_dir), "subset": "phantom", "split": "test"}
    write_results(folder, EvaluationResults(metrics=metrics, n_test=4, **told))
    return folder / "results.json"


def test_a_models_card_is_printed_or_written(argus, model_dir, results, tmp_path):
    code, printed, stderr = argus("card", model_dir, "--results", results, "--name", "someone/argus-tiny")
    assert (code, stderr) == (0, "") and "| finding F1 | 0.500 |" in printed
    fetched = "hf download someone/argus-tiny --local-dir argus-tiny\n"
    assert f"{fetched}argus report scan.nii.gz --model argus-tiny\n" in printed
    out = tmp_path / "card.md"
    arguments = ("card", model_dir, "--results", results, "--name", "someone/argus-tiny", "--out", out)
    assert argus(*arguments) == (0, "", "") and out.read_text() == printed


def test_a_card_shows_the_measures_of_evidence_that_it_is_given(argus, model_dir, tmp_path):
    measured = {"model_hash": hash_model(model_dir), "seconds_per_sentence": 0.1}
    measured["pointing"] = {"value": 0.9126, "low": 0.854, "high": 0.961, "n": 103}
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps(measured))
    code, printed, stderr = argus("card", model_dir, "--evidence", path)
    assert (code, stderr) == (0, "") and "phantoms only" in printed
    assert "| peak within one voxel of the finding | 0.913 | 0.854 to 0.961 | 103 |" in printed


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"model_hash": "0" * 64}, "is of another model"),
        ({"pointing": {"value": "high"}}, "measure again"),
        ({"pointing": None}, "measure again"),
    ],
)
def test_measures_of_evidence_that_are_not_this_models_are_refused(argus, model_dir, tmp_path, changed, reason):
    share = {"value": 1.0, "low": 1.0, "high": 1.0, "n": 3}
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps({"model_hash": hash_model(model_dir), "pointing": share} | changed))
    code, stdout, stderr = argus("card", model_dir, "--evidence", path)
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 1) and reason in stderr


def test_without_results_it_is_the_card_in_the_folder(argus, model_dir):
    assert argus("card", model_dir)[1] == (model_dir / "README.md").read_text()


def test_a_presets_card_needs_no_weights(argus):
    code, printed, _ = argus("card", "argus-8b-hr")
    assert code == 0 and "**No weights yet:**" in printed


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("no/such",), "no such model folder"),
        (("argus-9b-hr",), "no such model folder"),
        (("argus-8b-hr", "--results", "{results}"), "is a preset, which has no results"),
        (("{other}", "--results", "{results}"), "is of another model"),
        (("{model}", "--results", "none/results.json"), "not there"),
        (("{model}", "--out", "no/such/card.md"), "does not exist"),
    ],
)
def test_what_a_user_can_put_right_is_one_line(argus, model_dir, results, tmp_path, arguments, reason):
    other = shutil.copytree(model_dir, tmp_path / "other")
    config = other / "generation_config.json"
    config.write_text(config.read_text().replace("{", '{"top_k": 3,', 1))
    places = {"results": results, "other": other, "model": model_dir}
    code, stdout, stderr = argus("card", *(argument.format(**places) for argument in arguments))
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 1) and reason in stderr
