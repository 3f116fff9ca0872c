"""Results on a card: every number is that of the result file, in the table and in the metadata."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from argus_evaluation.benchmark.card_results import card_results, read_card_results
from argus_evaluation.benchmark.evaluation_results import ControlResults, EvaluationResults, MetricValue, write_results
from argus_evaluation.benchmark.scored_scans import scored_scans
from argus_inference.model_folder import hash_model
from argus_training.assembly.model_card import model_subject, render_card


def results_of(model_hash: str = "ab" * 32) -> EvaluationResults:
    return EvaluationResults(
        metrics={
            "finding_f1": MetricValue(0.84269, "argus findings|phantom truth", 0.81309, 0.87072, scale=1),
            "BLEU-4": MetricValue(44.0412, "sacrebleu 2.6|tok:none", 42.0, 46.0),
            "METEOR": MetricValue(None, "meteor 1.5", missing="no Java; see /home/someone/jars"),
        },
        controls={"shuffled": ControlResults({"finding_f1": MetricValue(0.22, "f", scale=1)})},
        n_test=100,
        counts={"empty": 0, "duplicate": 3},
        model_hash=model_hash,
        subset="phantom",
        split="test",
        unreadable=("x",),
    )


def test_numbers_signatures_intervals_and_controls_stand_on_the_card(model_dir):
    text = render_card(model_subject(model_dir), [card_results(results_of())])
    assert "### phantom, split test: 100 reports, 1 more could not be read" in text
    assert "| finding F1 | 0.843 | 0.813-0.871 | 0.220 | shuffled images |  |" in text
    assert "| shuffled images | 0.220 |" in text and "Floors that were not computed here: constant normal" in text
    assert "Of 100 reports: 0 empty, 3 duplicate." in text
    assert "- BLEU-4: 44.04 (42.00 to 46.00)  sacrebleu 2.6|tok:none" in text
    assert "/home/someone" not in text


def test_the_metadata_read_back_are_the_results(model_dir):
    card = ModelCard(render_card(model_subject(model_dir), [card_results(results_of())]))
    entries = {entry.metric_name: entry for entry in card.data.eval_results}
    assert set(entries) == {"finding_f1", "BLEU-4"} and card.data.model_name == "argus-tiny"
    found = entries["finding_f1"]
    assert (found.metric_value, found.dataset_config, found.dataset_split) == (0.8427, "phantom", "test")
    assert found.metric_args == {
        "signature": "argus findings|phantom truth",
        "scale": 1,
        "reports": 100,
        "interval_95": [0.8131, 0.8707],
        "controls": {"shuffled": 0.22},
    }
    assert (entries["BLEU-4"].metric_type, entries["BLEU-4"].metric_value) == ("bleu-4", 44.0412)


def test_a_card_tells_which_scans_its_numbers_are_of(model_dir):
    scans = scored_scans({"a": "No effusion.", "b": "A nodule."})
    card = ModelCard(render_card(model_subject(model_dir), [card_results(replace(results_of(), scans=scans))]))
    assert f"The test set: 2 scans, SHA-256 of ids {scans.ids_sha256[:16]}, of references" in str(card)
    assert {one.metric_args["references_sha256"] for one in card.data.eval_results} == {scans.references_sha256}


def test_results_of_two_data_sets_stay_apart(model_dir):
    both = [card_results(results_of()), card_results(replace(results_of(), subset="ct-rate", n_test=7))]
    card = ModelCard(render_card(model_subject(model_dir), both))
    assert {(entry.dataset_config, entry.metric_args["reports"]) for entry in card.data.eval_results} == {
        ("phantom", 100),
        ("ct-rate", 7),
    }


def test_results_of_another_model_are_refused(model_dir, tmp_path):
    write_results(tmp_path, results_of())
    with pytest.raises(ValueError, match="is of another model .abababababab, this one is"):
        read_card_results(tmp_path / "results.json", hash_model(model_dir))
    write_results(tmp_path, results_of(hash_model(model_dir)))
    places = (tmp_path / "results.json", tmp_path)
    by_file, by_folder = (read_card_results(path, hash_model(model_dir)) for path in places)
    assert by_file == by_folder == card_results(results_of(hash_model(model_dir)))
    with pytest.raises(ValueError, match="results have the name results.json"):
        read_card_results(tmp_path / "other.json", hash_model(model_dir))
