import pytest

from argus_evaluation.clinical_answers import printable
from argus_evaluation.clinical_metrics import CLINICAL_METRICS, clinical_metrics
from argus_evaluation.clinical_weights import ClinicalOptions, Weights, identify
from argus_evaluation.score_reports import score_stored
from argus_evaluation.stored_reports import StoredReport

NAMES = ["RadGraph-XL simple", "RadGraph-XL partial", "RadGraph-XL complete", "GREEN", "RaTEScore"]


def test_all_metrics_are_in_the_table_and_what_was_not_asked_for_says_so():
    metrics = clinical_metrics([], ClinicalOptions())
    assert list(metrics) == NAMES
    assert metrics["GREEN"].missing() == "not asked for: --clinical green"


def test_each_entry_builds_the_metrics_it_names(tmp_path):
    for entry in CLINICAL_METRICS.values():
        assert tuple(entry.build(ClinicalOptions(folder=tmp_path))) == entry.names


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match="no clinical metric bleu; there are radgraph, green, rate"):
        clinical_metrics(["green", "bleu"], ClinicalOptions())


def test_results_show_a_missing_metric_as_missing_and_not_as_zero(tmp_path):
    reports = [StoredReport("a", "No nodule.", {"model": "A nodule."}, False)]
    results = score_stored(reports, clinical_metrics(["green"], ClinicalOptions(folder=tmp_path)))
    for name in NAMES:
        assert results["metrics"][name]["value"] is None
    assert "StanfordAIMI/GREEN-radllama2-7b" in results["metrics"]["GREEN"]["missing"]
    assert results["metrics"]["RaTEScore"]["missing"] == "not asked for: --clinical rate"


def test_weights_of_the_hub_s_cache_are_named_by_their_commit_and_others_by_their_files(tmp_path):
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


def test_weights_of_the_hub_s_cache_are_found_without_a_network(tmp_path, monkeypatch):
    snapshot = tmp_path / "models--lab--net" / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    refs = tmp_path / "models--lab--net" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123456789abcdef")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
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


def test_a_download_that_fails_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    reason = clinical_metrics(["green"], ClinicalOptions(folder=tmp_path, download=True))["GREEN"].missing()
    assert reason.startswith("not fetched from the Hub (") and str(tmp_path / "GREEN-radllama2-7b") in reason
