import os
import pickle

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions, MissingWeightsError
from argus_evaluation.metrics.labels import CT_RATE_LABELS, read_labels
from argus_evaluation.metrics.labels.label_backends import LABEL_BACKENDS, label_reader
from argus_evaluation.metrics.labels.label_metrics import NAMES, label_metrics
from argus_evaluation.metrics.labels.label_scores import LABEL_SCORES
from argus_evaluation.metrics.labels.radbert_labels import CLASSIFIER, ENCODER
from argus_processing.storage.foreign_files import ForeignFileError

pytestmark = pytest.mark.usefixtures("empty_hub_cache")
WORDS = "no nodule effusion in the left right lung is normal heart large .".split()
REPORTS = ["no nodule in the left lung .", "", "effusion . heart large .", "nodule " * 600]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=514,
    )
    network = torch.nn.ModuleDict({"model": RobertaModel(config), "classifier": torch.nn.Linear(16, 18)}).eval()
    with torch.no_grad():
        for name in ("model.embeddings.word_embeddings.weight", "classifier.weight"):
            network.get_parameter(name).mul_(20)  # so that words differ in their labels
    return network


@pytest.fixture
def folder(tmp_path, network):
    """A folder as a user fills it: configuration and tokenizer of the encoder, and the classifier's file."""
    encoder = tmp_path / "models" / ENCODER.name
    network["model"].config.save_pretrained(encoder)
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<m>"}
    vocabulary = {word: place for place, word in enumerate([*special.values(), *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(encoder)
    state = network.state_dict() | {"model.embeddings.position_ids": torch.arange(514)[None]}
    torch.save(state, encoder.parent / CLASSIFIER)
    return encoder.parent


def options_for(folder, tmp_path, **more):
    return ClinicalOptions(
        folder=folder, answers=tmp_path / "answers.sqlite", label_backend="radbert", batch_size=3, **more
    )


def slow_labels(network, report):
    """One report alone, unpadded, as the published code computes it."""
    ids = [WORDS.index(word) + 5 for word in report.split()][:512] or [1]
    with torch.no_grad():
        pooled = network["model"](torch.tensor([ids])).pooler_output[0]
        probabilities = 1 / (1 + torch.exp(-network["classifier"](pooled)))
    return {label for label, each in zip(CT_RATE_LABELS, probabilities.tolist(), strict=True) if each >= 0.5}


def test_labels_are_those_of_the_network_and_long_reports_are_counted(folder, tmp_path, network):
    reader = label_reader("radbert", options_for(folder, tmp_path))
    read = reader.read(REPORTS)
    wanted = [slow_labels(network, report) for report in REPORTS]
    assert [set(each.labels) for each, report in zip(read, REPORTS, strict=True) if report] == [
        labels for labels, report in zip(wanted, REPORTS, strict=True) if report
    ]
    assert len({each.labels for each in read}) > 1
    assert [each.is_cut for each in read] == [False, False, False, True]
    assert "threshold:0.5" in reader.signature and "sha256:" in reader.signature


def test_the_classifier_stands_behind_the_same_call(folder, tmp_path, network):
    options = options_for(folder, tmp_path)
    assert read_labels(REPORTS[2], "radbert", options) == slow_labels(network, REPORTS[2])
    assert (tmp_path / "answers.sqlite").exists()
    (folder / CLASSIFIER).rename(folder / "away")
    assert label_reader("radbert", options).read(REPORTS[2:3])[0].labels  # kept: the weights are not asked again


def test_metrics_are_scored_by_it_with_its_own_signature(folder, tmp_path):
    metrics = label_metrics(options_for(folder, tmp_path))
    scores = metrics["label F1"].score(REPORTS, REPORTS)
    assert scores.value == 1 and scores.counts["cut"] == 2
    assert tuple(metrics) == NAMES and all("|radbert|" in metrics[name].signature for name in LABEL_SCORES)
    assert "argus-label-rules" in metrics["side agreement"].signature  # only rules tell the place of a label


def test_without_weights_each_metric_says_what_to_put_where(tmp_path):
    metrics = label_metrics(ClinicalOptions(folder=tmp_path, label_backend="radbert"))
    reasons = {metrics[name].missing() for name in LABEL_SCORES}
    assert tuple(metrics) == NAMES
    assert reasons == {
        f"no weights: put the model zzxslp/RadBERT-RoBERTa-4m into {tmp_path / ENCODER.name}, or let "
        "--clinical-download fetch it from the Hub"
    }


def test_a_missing_classifier_is_named(folder, tmp_path):
    (folder / CLASSIFIER).unlink()
    with pytest.raises(MissingWeightsError, match="put models/RadBertClassifier.pth of the data set ibrahimhamamci/CT"):
        label_reader("radbert", options_for(folder, tmp_path))


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: without(state, "classifier.bias"), "lacks 1 weights, the first is classifier.bias"),
        (lambda state: state | {"head.weight": torch.zeros(2)}, "does not know 1 weights, the first is head.weight"),
        (lambda state: state | {"classifier.bias": torch.zeros(20)}, "size mismatch for classifier.bias"),
        (lambda state: [1, 2], "cannot be loaded"),
    ],
)
def test_weights_of_another_model_are_refused(folder, tmp_path, network, change, message):
    torch.save(change(network.state_dict()), folder / CLASSIFIER)
    reader = label_reader("radbert", options_for(folder, tmp_path))
    with pytest.raises(ForeignFileError, match=message):
        reader.read(["nodule"])


class Evil:
    def __reduce__(self):
        return os.mkdir, ("run",)


def test_a_pickle_that_holds_more_than_tensors_is_not_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / CLASSIFIER).write_bytes(pickle.dumps({"classifier.bias": Evil()}))
    with pytest.raises(ForeignFileError):
        label_reader("radbert", options_for(folder, tmp_path)).read(["nodule"])
    assert not (tmp_path / "run").exists()


def test_an_unknown_reader_is_named():
    with pytest.raises(ValueError, match="no reader 'chexbert' of labels; there are rules, radbert"):
        read_labels("A nodule.", "chexbert")
    assert set(LABEL_BACKENDS) == {"rules", "radbert"}
