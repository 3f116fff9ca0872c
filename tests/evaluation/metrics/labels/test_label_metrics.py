import json

import evaluate
import pytest

from argus_evaluation.benchmark.compare import compare_runs
from argus_evaluation.benchmark.evaluation_results import EvaluationResults, write_results
from argus_evaluation.benchmark.results_table import signature_lines
from argus_evaluation.benchmark.scoring import score_stored
from argus_evaluation.benchmark.stored_reports import StoredReport, write_stored_reports
from argus_evaluation.metrics.clinical.clinical_metrics import clinical_metrics
from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions
from argus_evaluation.metrics.labels import read_labels
from argus_evaluation.metrics.labels.label_metrics import NAMES, label_metrics
from argus_evaluation.metrics.nlp_metrics import METRICS
from argus_processing.phantom.findings import FINDING_KINDS, Finding
from argus_processing.phantom.scans import report_of, truth_of
from argus_processing.phantom.wording import WORDINGS, wording_of

TRUE = ["A nodule in the left lung. No pleural effusion.", "Cardiomegaly and a pleural effusion.", "Normal lungs."]
TOLD = ["There is a pulmonary nodule.", "The heart is enlarged.", "Normal lungs."]
CONTROLS = ("blank", "shuffled", "most_frequent")


def stored(reports):
    return [
        StoredReport(str(place), true, {"model": told, **dict.fromkeys(CONTROLS, "Normal lungs.")}, False)
        for place, (true, told) in enumerate(zip(TRUE, reports, strict=True))
    ]


def write_run(folder, reports):
    folder.mkdir()
    write_stored_reports(folder, stored(reports))
    scores = vars(score_stored(stored(reports), METRICS))
    write_results(folder, EvaluationResults(**scores, model_hash="0" * 64, subset="phantom", split="test"))
    return folder


def test_every_phantom_s_report_reads_back_as_its_truth():
    for seed in range(150):
        assert read_labels(report_of(seed)) == {finding.label for finding in truth_of(seed)}, report_of(seed)


def test_every_wording_of_a_phantom_reads_back_alone():
    for kind in FINDING_KINDS.values():
        for side, place in set(kind.locations):
            wording = wording_of(Finding(kind.label, side, place))
            for text in wording.present + wording.short:
                assert read_labels(text.format(side=side, lobe=place, place=place)) == {kind.label}, text
    for wording in WORDINGS.values():
        for text in wording.absent:
            assert read_labels(text) == set(), text


def test_an_evaluation_tells_labels_with_interval_signature_and_parts():
    results = score_stored(stored(TOLD), clinical_metrics(["labels"], ClinicalOptions()))
    assert tuple(results.metrics) == NAMES
    told = results.metrics["label F1"]
    assert told.value == pytest.approx(0.8) and told.low <= told.value <= told.high
    assert told.parts["Cardiomegaly"].value == 1 and told.parts["Pleural effusion"].value == 0
    assert told.parts["Pleural effusion"].counts == {"present": 1}
    assert results.metrics["CRG"].value == pytest.approx(1 / (2 - 1 / 3))  # 2 of 3 found, nothing invented
    assert results.controls["blank"].metrics["CRG"].value == pytest.approx(1 / 3)
    lines = [line for line in signature_lines(EvaluationResults(**vars(results), model_hash="", subset="", split=""))]
    assert any("CRG: 0.600" in line and "ct-rate labels|argus-label-rules-v3|crg" in line for line in lines)


def test_the_command_recomputes_an_evaluation_with_labels(argus, tmp_path):
    out = write_run(tmp_path / "run", TOLD)
    code, stdout, _ = argus("evaluate", out, "--recompute", "--clinical", "labels")
    assert "label F1 (macro)" in stdout and "CRG" in stdout and "1 no_label_on_both_sides" in stdout
    code, stdout, stderr = argus("evaluate", out, "--recompute", "--clinical", "labels", "--label-backend", "radbert")
    assert "label F1: missing: no weights: put the model zzxslp/RadBERT-RoBERTa-4m" in " ".join(stdout.split())


def test_two_systems_are_compared_by_their_labels(tmp_path):
    folders = [write_run(tmp_path / "a", TOLD), write_run(tmp_path / "b", ["Normal lungs."] * 3)]
    compared = compare_runs(*folders, label_metrics(ClinicalOptions())).metrics["label F1"]
    assert (compared.first, compared.second) == (pytest.approx(0.8), 0) and compared.difference < 0


def test_evaluate_gives_the_same_values_and_details(load_metric):
    metric = load_metric("argus_labels")
    scores = metric.compute(predictions=TOLD, references=TRUE)
    assert scores == {name: each.score(TOLD, TRUE).value for name, each in label_metrics(ClinicalOptions()).items()}
    assert json.loads(json.dumps(scores)) == scores
    details = metric.compute(predictions=TOLD, references=TRUE, details=True)
    assert details["label F1"]["labels"]["Lung nodule"] == 1 and len(details["CRG"]["per_report"]) == 3
    assert "argus-label-rules" in details["CRG"]["signature"] and details["CRG"]["labels"] == {}
    assert isinstance(metric, evaluate.Metric)
