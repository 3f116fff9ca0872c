"""Weights of the clinical metrics that somebody else made: no setting of theirs reaches a constructor unread."""

import copy
import gzip
import io
import json
import os
import tarfile
import tracemalloc

import hostile_folders as hostile
import pytest
import torch
from odd_values import ODD, places_in, with_odd
from transformers import AutoModel, BertConfig

from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions, read_config, unpacked
from argus_evaluation.metrics.clinical.green_metric import GreenModel
from argus_evaluation.metrics.clinical.radgraph_metric import radgraph_metrics
from argus_evaluation.metrics.clinical.radgraph_weights import language_model_name, safe_config, safe_weights
from argus_evaluation.metrics.clinical.rate_model import RateModel
from argus_processing.saved_models.model_folders import TEXT_ENCODER
from argus_processing.saved_models.pretrained import build_model
from argus_processing.storage.foreign_files import ForeignFileError, read_json_object

BERT = {"type": "pretrained_transformer_mismatched", "model_name": "someone/bert", "max_length": 512}
# In the form of the published model's, with the parts that only its training needed.
PUBLISHED = {
    "data_loader": {"sampler": {"type": "random"}},
    "dataset_reader": {"type": "dygie", "max_span_width": 12, "token_indexers": {"bert": BERT}},
    "model": {
        "type": "dygie",
        "embedder": {"token_embedders": {"bert": BERT}},
        "feature_size": 20,
        "feedforward_params": {"dropout": 0.4, "hidden_dims": 150, "num_layers": 2},
        "initializer": {"regexes": [["_span_width_embedding.weight", {"type": "xavier_normal"}]]},
        "loss_weights": {"coref": 0, "events": 0, "ner": 0.2, "relation": 1},
        "max_span_width": 12,
        "module_initializer": {"regexes": [[".*weight", {"type": "xavier_normal"}]]},
        "modules": {
            "coref": {"coref_prop": 0, "max_antecedents": 100, "spans_per_word": 0.3},
            "events": {
                "argument_spans_per_word": 0.8,
                "loss_weights": {"arguments": 0.2, "trigger": 0.2},
                "trigger_spans_per_word": 0.3,
            },
            "ner": {},
            "relation": {"spans_per_word": 0.5},
        },
        "target_task": "relation",
    },
    "trainer": {"optimizer": {"type": "adamw"}},
}


def spoiled(*keys, to):
    content = copy.deepcopy(PUBLISHED)
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    return content


def test_only_what_the_package_reads_of_a_configuration_is_kept(tmp_path):
    safe = safe_config(PUBLISHED, tmp_path)
    assert safe.keys() == {"dataset_reader", "model"}
    for name in ("feature_size", "feedforward_params", "loss_weights", "max_span_width", "modules", "target_task"):
        assert safe["model"][name] == PUBLISHED["model"][name]
    bert = {"model_name": "someone/bert", "max_length": 512}
    assert safe["dataset_reader"] == {"max_span_width": 12, "token_indexers": {"bert": bert}}
    assert safe["model"]["initializer"] == safe["model"]["module_initializer"] == {}
    assert language_model_name(PUBLISHED, tmp_path) == "someone/bert"


def runs(mark):
    return {"regexes": [[".*", {"type": "subprocess.Popen", "args": ["touch", str(mark)]}]]}


SETTINGS = {
    **{
        f"regularizer of {module}": lambda mark, module=module: spoiled(
            "model", "modules", module, "regularizer", to=runs(mark)
        )
        for module in ("ner", "coref", "relation", "events")
    },
    "regularizer": lambda mark: spoiled("model", "regularizer", to=runs(mark)),
    "class of a module": lambda mark: spoiled("model", "modules", "ner", to={"type": "subprocess.Popen"}),
    "unknown module": lambda mark: spoiled("model", "modules", "evil", to={}),
    "unknown setting": lambda mark: spoiled("model", "evil", to=1),
    "module of words": lambda mark: spoiled("model", "modules", "ner", to="subprocess.Popen"),
    "no modules": lambda mark: spoiled("model", "modules", to=None),
    "width": lambda mark: spoiled("model", "feature_size", to=10**9),
    "half a width": lambda mark: spoiled("model", "feature_size", to=2.5),
    "true": lambda mark: spoiled("model", "feature_size", to=True),
    "layers": lambda mark: spoiled("model", "feedforward_params", "num_layers", to=10**7),
    "dropout": lambda mark: spoiled("model", "feedforward_params", "dropout", to=-1),
    "spans": lambda mark: spoiled("dataset_reader", "max_span_width", to=10**6),
    "wide": lambda mark: spoiled("model", "feedforward_params", "hidden_dims", to=8192),
    "pairs": lambda mark: spoiled("model", "modules", "relation", "spans_per_word", to=10),
    "not a number": lambda mark: spoiled("model", "modules", "coref", "spans_per_word", to=float("nan")),
    "task": lambda mark: spoiled("model", "target_task", to="evil"),
    "language model elsewhere": lambda mark: spoiled(
        "model", "embedder", "token_embedders", "bert", "model_name", to="../../elsewhere"
    ),
    "other language model": lambda mark: spoiled(
        "dataset_reader", "token_indexers", "bert", "model_name", to="/elsewhere"
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_published_weights_do_not_have_is_refused_in_a_line(tmp_path, name):
    mark = tmp_path / "marker"
    folder = tmp_path / "radgraph-xl"
    (folder / "vocabulary").mkdir(parents=True)
    (folder / "vocabulary" / "non_padded_namespaces.txt").write_text("*labels\n")
    (folder / "config.json").write_text(json.dumps(SETTINGS[name](mark)))
    torch.save({}, folder / "weights.th")
    with pytest.raises(ForeignFileError) as error, safe_weights(folder, folder.name):
        pass
    assert str(error.value).startswith(str(folder)) and "\n" not in str(error.value)
    (folder / "bert").mkdir()
    (folder / "bert" / "config.json").write_text("{}")
    pytest.importorskip("radgraph")
    metric = radgraph_metrics(ClinicalOptions(folder=tmp_path, answers=tmp_path / "a.sqlite"))["RadGraph-XL partial"]
    with pytest.raises(ValueError):
        metric.score(["Nodule."], ["Nodule."])
    assert not mark.exists()


def archive_of(path, *members):
    """Write a .tar.gz of (header, content) pairs."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return path


def member(name, content=b"", size=None, **fields):
    header = tarfile.TarInfo(name)
    header.size = len(content) if size is None else size
    for field, value in fields.items():
        setattr(header, field, value)
    return header, content


CONFIG = member("config.json", json.dumps(PUBLISHED).encode())
ARCHIVES = {
    "large": [member("config.json", bytes(9 << 20))],
    "large before": [member("vocabulary/a.txt", bytes(9 << 20)), CONFIG],
    "many": [member(f"{number}.txt") for number in range(300)],
    "upwards": [member("../escaped.txt", b"x")],
    "inside and upwards": [member("a/../../escaped.txt", b"x")],
    "absolute": [member("/escaped.txt", b"x")],
    "link": [member("vocabulary", type=tarfile.SYMTYPE, linkname="/etc")],
    "hard link": [member("config.json", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
    "pipe": [member("config.json", type=tarfile.FIFOTYPE)],
    "device": [member("config.json", type=tarfile.CHRTYPE, devmajor=1, devminor=5)],
    "below zero": [member("weights.th", pax_headers={"size": "-1099511627776"}), CONFIG],
    "header": [member("config.json", pax_headers={"comment": "x" * (2 << 20)}), CONFIG],
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_of_anything_but_a_few_plain_files_is_refused(tmp_path, name):
    archive = archive_of(tmp_path / "radgraph-xl.tar.gz", *ARCHIVES[name])
    for read in (lambda: read_config(archive), lambda: unpacked(archive, "radgraph-xl").__enter__()):
        tracemalloc.start()
        with pytest.raises(ForeignFileError) as error:
            read()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert str(error.value).startswith(str(archive)) and "\n" not in str(error.value)
        assert peak < 32 << 20
    assert not (tmp_path / "escaped.txt").exists() and not (tmp_path.parent / "escaped.txt").exists()


@pytest.mark.parametrize("other", ["config.json", "./config.json", "config.json/"])
def test_a_name_that_comes_twice_is_refused(tmp_path, other):
    archive = archive_of(tmp_path / "radgraph-xl.tar.gz", CONFIG, member(other, CONFIG[1]))
    with pytest.raises(ForeignFileError, match="twice"), unpacked(archive, "radgraph-xl"):
        pass


def test_only_what_is_needed_is_unpacked(tmp_path):
    inner = archive_of(tmp_path / "inner.tar.gz", CONFIG).read_bytes()
    names = ("evil.py", "weights.th/evil", "vocabulary/a.txt", "vocabulary/in/a.txt", "sitecustomize.pth", "x" * 300)
    members = [member(name, b"x") for name in names] + [member("inner.tar.gz", inner)]
    archive = archive_of(tmp_path / "radgraph-xl.tar.gz", CONFIG, *members)
    with unpacked(archive, "radgraph-xl") as folder:
        found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert found == ["config.json", "vocabulary/a.txt"]


def test_headers_in_headers_are_refused(tmp_path):
    long = tarfile.TarInfo("x")
    long.size, long.type = 3, tarfile.GNUTYPE_LONGNAME
    chain = (long.tobuf(tarfile.GNU_FORMAT) + b"abc".ljust(512, b"\0")) * 20_000
    path = tmp_path / "radgraph-xl.tar.gz"
    path.write_bytes(gzip.compress(chain, 1))
    with pytest.raises(ForeignFileError) as error:
        read_config(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


@pytest.mark.parametrize("odd", ODD)
def test_no_odd_value_of_a_configuration_reaches_the_package(tmp_path, odd):
    path = tmp_path / "config.json"
    for place in places_in(PUBLISHED):
        path.write_text(with_odd(PUBLISHED, place, odd))
        try:
            safe = safe_config(read_json_object(path), path)
        except ForeignFileError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error) and len(str(error)) < 600
            continue
        assert safe["model"].keys() == safe_config(PUBLISHED, path)["model"].keys() or place[-1] == "display_metrics"
        assert not any(word in json.dumps(safe) for word in ("Popen", "extVar", "xxxx")), place


def test_a_language_model_larger_than_the_weights_is_not_built(tmp_path):
    folder = tmp_path / "bert"
    BertConfig(hidden_size=8192, num_hidden_layers=50, num_attention_heads=8).save_pretrained(folder)
    torch.save({}, tmp_path / "weights.th")
    tracemalloc.start()
    with pytest.raises(ForeignFileError, match="weights, many more than"):
        build_model(AutoModel, folder, TEXT_ENCODER, [tmp_path / "weights.th"])
    assert tracemalloc.get_traced_memory()[1] < 256 << 20
    tracemalloc.stop()


def test_a_sparse_member_and_a_length_without_content_are_refused(tmp_path):
    header = tarfile.TarInfo("config.json").tobuf()
    claims = tarfile.TarInfo("x")
    claims.size, claims.type = 1 << 30, tarfile.GNUTYPE_LONGNAME
    sparse = tarfile.TarInfo("config.json")
    sparse.type = tarfile.GNUTYPE_SPARSE
    for content in (claims.tobuf(tarfile.GNU_FORMAT), sparse.tobuf(tarfile.GNU_FORMAT), header[:100], b"x" * 600):
        path = tmp_path / "radgraph-xl.tar.gz"
        path.write_bytes(gzip.compress(content + bytes(2048)))
        with pytest.raises(ForeignFileError):
            read_config(path)


VOCABULARIES = {
    "missing": lambda folder: (folder / "non_padded_namespaces.txt").unlink(),
    "code": lambda folder: (folder / "evil.py").write_text(""),
    "pipe": lambda folder: os.mkfifo(folder / "a.txt"),
    "large": lambda folder: (folder / "a.txt").write_text("x" * (5 << 20)),
    "labels": lambda folder: (folder / "a.txt").write_text("x\n" * 200_000),
    "link to a device": lambda folder: (folder / "a.txt").symlink_to("/dev/zero"),
    "name of two lines": lambda folder: (folder / "a\nb.txt").write_text(""),
    "many": lambda folder: [(folder / f"a{number}.txt").write_text("") for number in range(100)],
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_vocabulary_is_a_few_small_text_files(tmp_path, name):
    folder = tmp_path / "radgraph-xl"
    (folder / "vocabulary").mkdir(parents=True)
    (folder / "vocabulary" / "non_padded_namespaces.txt").write_text("*labels\n")
    (folder / "config.json").write_text(json.dumps(PUBLISHED))
    torch.save({}, folder / "weights.th")
    with safe_weights(folder, folder.name) as safe:
        assert sorted(path.name for path in safe.iterdir()) == ["config.json", "vocabulary", "weights.th"]
    VOCABULARIES[name](folder / "vocabulary")
    with pytest.raises(ForeignFileError), safe_weights(folder, folder.name):
        pass


@pytest.mark.parametrize("name", ["code", "kernel", "layers", "quantizer", "not a number"])
def test_green_and_ratescore_go_through_the_door_of_all_models(model_dir, tmp_path, name):
    folder = hostile.copy_folder(model_dir.parent / "llm", tmp_path / "GREEN-radllama2-7b")
    hostile.ANY_MODEL[name](folder)
    for load in (lambda: GreenModel(folder, 1), lambda: RateModel(folder, folder, 1)):
        with pytest.raises(ForeignFileError) as error:
            load()
        assert str(error.value).startswith(str(folder)) and "\n" not in str(error.value)
    assert not (tmp_path / hostile.MARK).exists()
