import sys

import pytest

from argus_cli import main
from argus_evaluation.benchmark.evaluation_results import EvaluationResults, write_results
from argus_evaluation.benchmark.scoring import score_stored
from argus_evaluation.benchmark.stored_reports import StoredReport, write_stored_reports
from argus_evaluation.metrics.clinical.clinical_answers import printable
from argus_evaluation.metrics.clinical.clinical_metrics import CLINICAL_METRICS, clinical_metrics
from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions, Weights, identify
from argus_evaluation.metrics.nlp_metrics import METRICS

pytestmark = pytest.mark.usefixtures("empty_hub_cache")
NAMES = ["RadGraph-XL simple", "RadGraph-XL partial", "RadGraph-XL complete", "GREEN", "RaTEScore"]


def test_what_is_asked_for_comes_in_the_table_s_order(tmp_path):
    assert list(clinical_metrics(["rate", "green", "radgraph"], ClinicalOptions(folder=tmp_path))) == NAMES
    assert list(clinical_metrics(["rate"], ClinicalOptions(folder=tmp_path))) == ["RaTEScore"]
    assert clinical_metrics([], ClinicalOptions()) == {}


def test_each_entry_builds_the_metrics_it_names(tmp_path):
    for entry in CLINICAL_METRICS.values():
        assert tuple(entry.build(ClinicalOptions(folder=tmp_path))) == entry.names


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match="no clinical metric bleu; there are radgraph, green, rate"):
        clinical_metrics(["green", "bleu"], ClinicalOptions())


def test_results_show_a_missing_metric_as_missing_and_not_as_zero(tmp_path):
    reports = [StoredReport("a", "No nodule.", {"model": "A nodule."}, False)]
    results = score_stored(reports, clinical_metrics(CLINICAL_METRICS, ClinicalOptions(folder=tmp_path)))
    for name in NAMES:
        assert results.metrics[name].value is None
        assert results.metrics[name].missing.startswith("no weights: put ")
    assert "StanfordAIMI/GREEN-radllama2-7b" in results.metrics["GREEN"].missing


def test_cached_weights_are_named_by_commit_and_others_by_files(tmp_path):
    snapshot = tmp_path / "models--lab--net" / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert identify(snapshot) == "commit:0123456789ab"
    own = tmp_path / "snapshots" / "net"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    before = identify(own)
    assert before.startswith("sha256:")
    (own / "config.json").write_text("[]")
    assert identify(own) != before


def test_weights_of_the_hub_s_cache_are_found_without_a_network(empty_hub_cache):
    snapshot = empty_hub_cache / "models--lab--net" / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    refs = empty_hub_cache / "models--lab--net" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123456789abcdef")
    assert Weights("lab/net", "net").find(ClinicalOptions()) == snapshot


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        (" \n\t", ""),
        ("a\x00b\x1bc", "a b c"),
        ("a\nb", "a\nb"),
        ("\ud800x", "?x"),
        ("漢字 отчёт", "漢字 отчёт"),
    ],
)
def test_text_is_made_printable(text, clean):
    assert printable(text) == clean


def test_an_archive_in_the_folder_will_do_and_is_named_by_its_bytes(tmp_path):
    archive = tmp_path / "net.tar.gz"
    archive.write_bytes(b"one")
    weights = Weights("lab/net", "net", archive="net.tar.gz")
    assert weights.find(ClinicalOptions(folder=tmp_path)) == archive
    before = identify(archive)
    archive.write_bytes(b"two")
    assert before.startswith("sha256:") and identify(archive) != before


def test_a_download_that_fails_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    reason = clinical_metrics(["green"], ClinicalOptions(folder=tmp_path, download=True))["GREEN"].missing()
    assert reason.startswith("not fetched from the Hub (") and str(tmp_path / "GREEN-radllama2-7b") in reason


ANSWER = "[Clinically Significant Errors]:\n(b) Missing: 1. x\n\n[Matched Findings]:\n3. y"


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder that GREEN is found in, with written answers in place of the model's."""

    class Recorded:
        def answer(self, pairs):
            return [{"text": ANSWER if prediction else "?", "cut": False} for prediction, _ in pairs]

    monkeypatch.setattr("argus_evaluation.metrics.clinical.green_metric.GreenModel", lambda *_: Recorded())
    folder = tmp_path / "models" / "GREEN-radllama2-7b"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder.parent


def test_the_command_scores_keeps_answers_and_names_what_is_missing(models, tmp_path, monkeypatch, capsys):
    controls = dict.fromkeys(("blank", "shuffled", "most_frequent"), "A nodule.")
    texts = {"a": "Nodule.", "b": ""}
    reports = [StoredReport(name, "No nodule.", {"model": text, **controls}, False) for name, text in texts.items()]
    out = tmp_path / "run"
    out.mkdir()
    write_stored_reports(out, reports)
    scores = vars(score_stored(reports, METRICS))
    write_results(out, EvaluationResults(**scores, model_hash="0" * 64, subset="phantom", split="test"))
    command = ["argus", "evaluate", out, "--recompute", "--clinical", "green, rate", "--clinical-models", models]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    with pytest.raises(SystemExit):
        main.main()
    stdout, stderr = capsys.readouterr()
    assert "GREEN: 37.50 (" in stdout and "1 unparsed  green|argus:1|" in stdout
    assert "RaTEScore: missing: no weights: put the model Angelakeke/RaTE-NER-Deberta into" in stdout
    assert "argus: RaTEScore is missing: no weights" in stderr
    assert (out / "clinical_answers.sqlite").is_file()
