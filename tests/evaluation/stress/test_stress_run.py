"""The whole stress test: an oracle and a constant beside real metrics, the files it writes, the command."""

import json
from dataclasses import replace

import numpy as np
import pytest
from measured_tables import fill

from argus_evaluation.metrics.cider import cider_d
from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions
from argus_evaluation.metrics.metric import Metric, mean_of_reports
from argus_evaluation.metrics.nlp_metrics import METRICS
from argus_evaluation.stress.changes import ERRORS, HARMLESS
from argus_evaluation.stress.report_facts import read_facts
from argus_evaluation.stress.stress_figure import save_stress_figure
from argus_evaluation.stress.stress_pairs import make_pairs
from argus_evaluation.stress.stress_references import phantom_references
from argus_evaluation.stress.stress_results import collect_results, read_stress_results
from argus_evaluation.stress.stress_run import run_stress
from argus_evaluation.stress.stress_table import stress_markdown
from argus_evaluation.stress.stressed_metrics import NINE, score_pairs, stressed_metrics

KEYS = ("labels", "stand-in")
COUNT = 16


def oracle(predictions, references):
    pairs = zip(predictions, references, strict=True)
    return mean_of_reports([float(read_facts(told) == read_facts(true)) for told, true in pairs])


def constant(predictions, references):
    return mean_of_reports([0.7] * len(predictions))


def test_an_oracle_sees_all_and_a_constant_nothing():
    reports = phantom_references(30).reports
    pairs = make_pairs(reports, 30)
    metrics = {"oracle": Metric(oracle, "oracle", scale=1), "constant": Metric(constant, "constant", scale=1)}
    results = collect_results(metrics, score_pairs(metrics, reports, pairs), pairs)
    for kind in ERRORS:
        best, worst = results["oracle"].errors[kind], results["constant"].errors[kind]
        assert (best.within.value, best.pooled.value, best.verdict) == (1.0, 1.0, "seen")
        assert (worst.within.value, worst.pooled.value, worst.verdict) == (0.5, 0.5, "blind")
        assert (best.drop.value, worst.drop.value) == (1.0, 0.0)
    for kind in HARMLESS:
        assert results["oracle"].harmless[kind].drop.value == results["constant"].harmless[kind].drop.value == 0.0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("stress")
    told = []
    options = ClinicalOptions(folder=out, answers=out / "answers.sqlite")
    results = run_stress(out, phantom_references(COUNT), (*KEYS, "rate"), options, wanted=COUNT, say=told.append)
    return out, results, told


def test_label_metrics_are_blind_to_what_is_no_label(run):
    labels = run[1].metrics["label F1 (per scan)"]
    assert {kind for kind, each in labels.errors.items() if each.verdict == "blind"} == {
        "side",
        "lobe",
        "severity",
        "size",
    }
    assert all(labels.errors[kind].within.value == 1.0 for kind in ("negation", "omission", "invention"))


def test_word_overlap_pays_for_rewording_and_not_for_blanks(run):
    for name in ("BLEU-4", "ROUGE-L", "CIDEr"):
        metric = run[1].metrics[name]
        assert metric.harmless["whitespace"].drop.value == pytest.approx(0.0, abs=1e-9)
        assert metric.harmless["paraphrase"].drop.low > 0
        assert metric.errors["side"].against["paraphrase"].value < 0.5


def test_a_metric_without_weights_is_told_and_marked_missing(run):
    _, results, told = run
    assert results.metrics["RaTEScore"].missing and any(line.startswith("RaTEScore is missing") for line in told)
    assert "RaTEScore is missing" in stress_markdown(results)


def test_every_metric_has_every_class(run):
    results = run[1]
    names = set(results.metrics)
    assert {*NINE, "label F1 (per scan)", "CRG", "laterality (rules)"} <= names
    assert not {"label F1", "BLEU-1 (mean)"} & names
    for metric in results.metrics.values():
        if metric.missing is None:
            assert metric.errors.keys() == ERRORS.keys() and metric.harmless.keys() == HARMLESS.keys()


def test_results_are_read_back_and_the_files_are_there(run):
    out, results, _ = run
    assert read_stress_results(out / "stress.json") == results
    assert (out / "stress.png").read_bytes().startswith(b"\x89PNG")
    assert stress_markdown(results) in (out / "stress.md").read_text()
    lines = [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]
    assert len(lines) == sum(results.pairs.values()) and all(line["text"] != line["reference"] for line in lines)


def test_a_page_is_filled_from_the_result_file(run):
    mark = f"<!-- measured: metrics under stress of {run[0] / 'stress.json'} -->\n"
    filled = fill(f"before\n{mark}old\n<!-- end of measured -->\nafter\n")
    assert filled == f"before\n{mark}{stress_markdown(run[1])}\n<!-- end of measured -->\nafter\n"


def test_the_same_seed_gives_the_same_results(run):
    reports = phantom_references(COUNT).reports
    pairs = make_pairs(reports, COUNT)
    metrics = stressed_metrics(KEYS, ClinicalOptions(), reports)
    del metrics["METEOR"]
    again = collect_results(metrics, score_pairs(metrics, reports, pairs), pairs)
    assert again == {name: run[1].metrics[name] for name in metrics}


def test_a_class_without_pairs_has_no_verdict(tmp_path):
    options = ClinicalOptions(folder=tmp_path, answers=tmp_path / "answers.sqlite")
    told = []
    references = replace(phantom_references(2), reports=("The heart is enlarged.", "No nodule is seen."))
    results = run_stress(tmp_path, references, ("stand-in",), options, wanted=3, say=told.append)
    assert results.pairs["size"] == 0 and any(line.startswith("size: 0 pairs of 3") for line in told)
    assert results.metrics["BLEU-1"].errors["size"].verdict == "unknown"
    assert "0: the references hold no more" in stress_markdown(results)
    save_stress_figure(tmp_path, results)


def test_reports_without_a_place_for_an_error_are_refused(tmp_path):
    references = replace(phantom_references(2), reports=("...", "!"), source="dots.csv")
    with pytest.raises(ValueError, match=r"dots.csv: no report has a place for an error"):
        run_stress(tmp_path, references, (), ClinicalOptions(), wanted=3)
    assert not (tmp_path / "stress.json").exists()


def test_a_damaged_result_file_is_refused_in_a_line(run, tmp_path):
    content = json.loads((run[0] / "stress.json").read_text())
    for key, value in (("format", 9), ("pairs", 3), ("strange", 1)):
        (tmp_path / "stress.json").write_text(json.dumps(content | {key: value}))
        with pytest.raises(ValueError, match=r"stress.json: .*; run argus stress-metrics again"):
            read_stress_results(tmp_path / "stress.json")


def test_a_corpus_metric_scores_a_report_the_same_in_any_company():
    reports = phantom_references(12).reports
    fixed = stressed_metrics((), ClinicalOptions(), reports)["CIDEr"]
    alone = fixed.score([reports[3]], [reports[4]]).per_report
    among = fixed.score(list(reports), [*reports[1:], reports[0]]).per_report
    assert alone[0] == pytest.approx(
        among[3] if False else fixed.score([reports[3]] * 2, [reports[4]] * 2).per_report[1]
    )
    assert among == pytest.approx(METRICS["CIDEr"].score(list(reports), [*reports[1:], reports[0]]).per_report)
    assert cider_d([reports[3]], [reports[4]]).per_report[0] == 0.0 < alone[0]


def test_a_metric_of_all_reports_at_once_is_refused(monkeypatch):
    monkeypatch.setitem(METRICS, "BLEU-1", Metric(constant, "constant", pairwise=False))
    with pytest.raises(ValueError, match="BLEU-1 depends on all reports at once"):
        stressed_metrics((), ClinicalOptions(), ("a", "b"))


def test_per_report_scores_are_those_of_the_metric_on_one_report():
    reports = phantom_references(8).reports
    pairs = make_pairs(reports, 8, changes={"side": ERRORS["side"]})
    metrics = {name: METRICS[name] for name in ("BLEU-2", "ROUGE-L")}
    scored = score_pairs(metrics, reports, pairs)
    for name, metric in metrics.items():
        alone = [metric.score([pair.text], [reports[pair.reference]]).value for pair in pairs]
        assert scored[name].changed == pytest.approx(np.array(alone))
