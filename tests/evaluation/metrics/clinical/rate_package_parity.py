"""RaTEScore's own package beside Argus's code, on the same networks; `make test-metric-packages` installs it.

The file is not named as a test, so that `make test`, where the package is not installed, does not pass over it.
"""

from pathlib import Path

import pytest
import torch
from rate_networks import REPORTS, save_models
from RaTEScore import RaTEScore
from transformers import BertForTokenClassification, BertModel

from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions
from argus_evaluation.metrics.clinical.rate_metric import rate_metrics
from argus_evaluation.metrics.clinical.rate_model import RateModel
from argus_evaluation.metrics.clinical.rate_package import PackagedRateModel

# One or more sentences, cut at the same places by medspacy and by Argus.
WHOLE = [
    REPORTS[0],
    "Small effusion (right, 3.5 mm).",
    REPORTS[4],
    "Normal heart.",
    "The heart is small. No effusion. No nodule in the right lung.",
    "Nodule of 5 mm in the left lung, no effusion.",
    "There is no small nodule in the lung. Right effusion, normal heart.",
]
PAIRS = [(one, other) for one in WHOLE for other in WHOLE]


def tag_no_end(folder: Path) -> None:
    """Make a random network tag no full stop and no [SEP], as a trained one does not: about half of its words are "O".

    Where the word before [SEP] is in an entity, the package goes by what the network says of [SEP], which no training
    teaches it, and may lose the entity; Argus goes by the words alone.
    """
    tagger = BertForTokenClassification.from_pretrained(folder)
    words = (folder.parent / "vocab.txt").read_text().split()
    with torch.no_grad():
        away = torch.nn.functional.layer_norm(torch.randn(16), (16,))
        for word in (".", "[SEP]"):
            tagger.bert.embeddings.word_embeddings.weight[words.index(word)] = 300 * away
        tagger.classifier.weight[0] = 2 * away
    tagger.save_pretrained(folder)


def set_apart(folder: Path) -> None:
    """Make a random network's embeddings differ: with the initial weights all cosines are 1 but for rounding."""
    embedder = BertModel.from_pretrained(folder)
    with torch.no_grad():
        for weight in embedder.parameters():
            weight.mul_(20 if weight.ndim > 1 else 1)
    embedder.save_pretrained(folder)


@pytest.fixture(scope="module", params=range(6))
def names(request, tmp_path_factory):
    folder = save_models(tmp_path_factory.mktemp("models") / "clinical", seed=request.param)
    tag_no_end(folder / "RaTE-NER-Deberta")
    set_apart(folder / "BioLORD-2023-C")
    return folder / "RaTE-NER-Deberta", folder / "BioLORD-2023-C"


@pytest.fixture(scope="module")
def package(names):
    return RaTEScore(*map(str, names), batch_size=8, use_gpu=False)


@pytest.fixture(scope="module")
def packaged(names):
    return PackagedRateModel(*names, batch_size=1)


def test_the_package_its_backend_and_argus_give_equal_scores(names, package, packaged):
    alone = package.compute_score(*map(list, zip(*PAIRS, strict=True)))
    through = [answer["score"] for answer in packaged.answer(PAIRS)]
    own = [answer["score"] for answer in RateModel(*names, batch_size=1).answer(PAIRS)]
    assert len(set(alone)) > 5
    assert through == pytest.approx(alone, abs=1e-6)
    assert own == pytest.approx(alone, abs=1e-5)


def test_the_backend_is_the_package_whatever_the_network_tags(tmp_path):
    folder = save_models(tmp_path / "clinical")
    names = folder / "RaTE-NER-Deberta", folder / "BioLORD-2023-C"
    alone = RaTEScore(*map(str, names), batch_size=8, use_gpu=False).compute_score(*map(list, zip(*PAIRS, strict=True)))
    assert [answer["score"] for answer in PackagedRateModel(*names, batch_size=1).answer(PAIRS)] == alone


def test_they_find_the_same_entities(names, packaged):
    found = packaged.find_entities(WHOLE)
    assert found == RateModel(*names, batch_size=1).find_entities(WHOLE) and any(found)


def test_reports_without_a_sentence_score_a_half_and_shift_nothing(package, packaged):
    pairs = [("", WHOLE[0]), (WHOLE[0], WHOLE[1]), ("ab", ""), (WHOLE[2], WHOLE[3])]
    answers = packaged.answer(pairs)
    alone = [package.compute_score([one], [other])[0] for one, other in pairs[1::2]]
    assert [answer["score"] for answer in answers] == pytest.approx([0.5, alone[0], 0.5, alone[1]], abs=1e-6)
    assert answers[0]["entities"][0] == 0 and answers[2]["entities"] == [0, 0]
    assert package.compute_score(["", WHOLE[0]], [WHOLE[0], WHOLE[1]])[0] != 0.5  # the package's own shift


def test_the_metric_names_what_computed_it_and_prints_no_report(names, tmp_path, capfd):
    options = ClinicalOptions(folder=names[0].parent, answers=tmp_path / "answers.sqlite", rate_backend="package")
    metric = rate_metrics(options)["RaTEScore"]
    assert metric.missing() is None
    assert metric.signature.startswith(
        "rate|package:RaTEScore 0.6.0|affinity:long|sentences:medspacy 1.3.1,PyRuSH 1.0.13|"
    )
    capfd.readouterr()
    scores = metric.score(WHOLE, WHOLE[::-1])
    assert "nodule" not in "".join(capfd.readouterr())
    own = rate_metrics(ClinicalOptions(folder=names[0].parent, answers=tmp_path / "answers.sqlite"))["RaTEScore"]
    assert scores.per_report == pytest.approx(own.score(WHOLE, WHOLE[::-1]).per_report, abs=1e-3)
