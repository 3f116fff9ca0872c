"""RadEval by its own package in an environment of its own, against Argus's metrics; `make test-metric-packages`.

The file is not named as a test, so that `make test`, where RadEval is not installed, does not pass over it.
"""

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from radgraph_network import BERT, save_network
from rate_networks import REPORTS, save_models
from transformers import BertConfig, BertModel, BertTokenizerFast, DistilBertConfig, DistilBertModel

from argus_evaluation.metrics.clinical.clinical_metrics import clinical_metrics
from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions
from argus_evaluation.metrics.clinical.radgraph_metric import LANGUAGE_MODEL, MODEL_TYPE
from argus_evaluation.metrics.nlp_metrics import METRICS
from argus_evaluation.metrics.radeval.radeval_metric import MODEL_METRICS
from argus_evaluation.metrics.radeval.radeval_process import RadEvalPython

PYTHON = Path(os.environ["ARGUS_RADEVAL_PYTHON"])
# Words that no stemmer shortens, in small letters.
WORDS = "no lung left right upper lobe small scar heart cyst calm mass edema clear".split()
OURS = {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-1", "ROUGE-2"}
GRAPHED = [(first, side, size) for first in ("no", "small") for side in ("left", "right") for size in ("no", "small")]


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return ClinicalOptions(answers=tmp_path / "answers.sqlite", radeval_python=PYTHON)


def score(options, told, true):
    metrics = clinical_metrics(["radeval"], options)
    assert all(metric.missing() is None for metric in metrics.values())
    return {name.removeprefix("RadEval "): metric.score(told, true) for name, metric in metrics.items()}


def random_reports(seed, count):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(6, 40))) for _ in range(count)]


def test_bleu_and_rouge_of_plain_words_are_ours(options):
    true = random_reports(0, 60)
    told = [" ".join(report.split()[: 4 + place % 30]) + " cyst no" for place, report in enumerate(true)]
    theirs = score(options, told, true)
    ours = {name: METRICS[name].score(told, true) for name in OURS} | {
        "ROUGE-L": METRICS["ROUGE-L (F1)"].score(told, true)
    }
    assert theirs.keys() == ours.keys()
    for name, scores in theirs.items():
        assert scores.value == pytest.approx(ours[name].value, abs=1e-6), name
        # Where no n-gram of an order matches, RadEval's BLEU is not zero but almost.
        assert np.abs(scores.per_report - ours[name].per_report).max() < (0.05 if "BLEU" in name else 1e-9), name


# Prediction, reference, metric, RadEval's value, ours.
DIFFERENCES = [
    # Their BLEU splits at blanks and keeps capitals: "No", "effusion." are not "no", "effusion".
    ("No effusion.", "no effusion", "BLEU-1", 0, 100),
    ("No effusion. No nodule", "No effusion, no nodule", "BLEU-1", 50, 100),
    # Their ROUGE compares stems.
    ("nodules", "nodule", "ROUGE-1", 100, 0),
    # Their ROUGE takes 3.5 apart: "3" and "mm" of "3", "5", "mm" are in "3", "mm".
    ("3.5 mm", "3 mm", "ROUGE-1", 80, 50),
    # Their ROUGE takes a word apart at letters that are not ASCII: of "gr", "e" one is in "gr".
    ("größe", "gr", "ROUGE-1", 200 / 3, 0),
]


def test_where_they_differ_and_why(options):
    told, true = ([each[side] for each in DIFFERENCES] for side in (0, 1))
    found = score(options, told, true)
    for place, (prediction, reference, name, theirs, ours) in enumerate(DIFFERENCES):
        assert found[name].per_report[place] == pytest.approx(theirs, abs=1e-3), prediction
        assert METRICS[name].score([prediction], [reference]).value == pytest.approx(ours), prediction


def test_an_empty_report_scores_nothing(options):
    for name, scores in score(options, ["", "no effusion"], ["no effusion", "no effusion"]).items():
        assert scores.per_report[0] == pytest.approx(0, abs=1e-9), name
        assert scores.value > 0 or name in ("BLEU-3", "BLEU-4")  # of two words


def test_answers_are_kept(options, monkeypatch):
    first = score(options, ["no effusion"], ["no large effusion"])
    monkeypatch.setattr(RadEvalPython, "ask", lambda *_: pytest.fail("was asked again"))
    again = score(options, ["no effusion"], ["no large effusion"])
    assert {name: scores.value for name, scores in again.items()} == {
        name: found.value for name, found in first.items()
    }


def test_metrics_without_weights_are_named(options):
    missing = {name: metric.missing() for name, metric in clinical_metrics(["radeval-models"], options).items()}
    assert all(missing.values())
    for name, metric in MODEL_METRICS.items():
        for row in metric.rows:
            assert missing[row].startswith(f"RadEval cannot make {name}, which searches {metric.weights}: ")
            assert "No module named" not in missing[row] and missing[row].endswith(f" ({PYTHON})")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """RadEval's metrics and ours, with small random networks where each searches its weights."""
    folder = tmp_path_factory.mktemp("networks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(folder / "home"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        hub, clinical = folder / "home" / "hub", save_models(folder / "clinical")
        save_network(clinical / MODEL_TYPE)
        shutil.copytree(clinical / MODEL_TYPE, folder / "cache" / "radgraph" / "0.1.18" / MODEL_TYPE)
        bert = shutil.copytree(clinical / MODEL_TYPE / LANGUAGE_MODEL, cached(hub, BERT))
        BertModel(BertConfig.from_pretrained(bert)).save_pretrained(bert)
        for name in ("Angelakeke/RaTE-NER-Deberta", "FremyCompany/BioLORD-2023-C"):
            shutil.copytree(clinical / name.partition("/")[2], cached(hub, name))
        save_distilbert(cached(hub, "distilbert-base-uncased"))
        answers = folder / "answers.sqlite"
        options = ClinicalOptions(clinical, answers, rate_backend="package", radeval_python=PYTHON)
        yield clinical_metrics(["radeval-models", "radgraph", "rate"], options)


def cached(hub: Path, name: str) -> Path:
    """Name the folder, which is not there yet, of a repository in the Hub's cache."""
    repository = hub / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0")
    return repository / "snapshots" / "0"


def save_distilbert(folder: Path) -> None:
    shape = {"dim": 16, "hidden_dim": 32, "n_heads": 2, "n_layers": 6, "vocab_size": 5 + len(WORDS)}
    DistilBertModel(DistilBertConfig(**shape)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)


def test_bertscore_by_a_small_network(networks):
    metric = networks["RadEval BERTScore"]
    assert metric.missing() is None and "X-rays" not in metric.signature
    scores = metric.score(["no scar", "clear lung", "mass"], ["no scar", "no scar", "mass"])
    # Equal reports have cosine 1 everywhere, which the baseline of DistilBERT's fifth layer leaves at 1.
    assert scores.per_report[[0, 2]] == pytest.approx([1, 1], abs=1e-5)
    assert scores.per_report[1] < 1


@pytest.mark.parametrize("level", ["simple", "partial", "complete"])
def test_radgraph_by_a_small_network_is_ours(level, networks):
    true = [f"{first} nodule in the {side} upper lobe . effusion is {size} ." for first, side, size in GRAPHED]
    told = [*true[3:], *true[:3]]
    theirs, ours = networks[f"RadEval RadGraph {level}"], networks[f"RadGraph-XL {level}"]
    assert theirs.missing() is None and theirs.signature.endswith("made on X-rays")
    scores = ours.score(told, true).per_report
    assert 100 * theirs.score(told, true).per_report == pytest.approx(scores, abs=1e-6)
    assert len(set(scores)) > 3  # not all alike


def test_ratescore_by_small_networks_is_its_authors_package(networks):
    true = [report for report in REPORTS if len(report.split()) > 1]
    told = [*true[1:], true[0]]
    theirs, package = networks["RadEval RaTEScore"], networks["RaTEScore"]
    assert theirs.missing() is None and package.missing() is None
    scores = package.score(told, true).per_report
    assert 100 * theirs.score(told, true).per_report == pytest.approx(scores, abs=1e-4)
    assert len(set(scores)) > 1
