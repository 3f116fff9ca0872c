import json
import os
import pickle
import random
import shutil
import zipfile
from pathlib import Path

import hostile_folders as hostile
import pytest

pytest.importorskip("radgraph")

import torch
from odd_values import ODD, places_in, with_odd
from radgraph.rewards import compute_reward
from radgraph_network import ABSENT, ANATOMY, BERT, CONFIG, OBSERVATION, save_network

from argus_evaluation.metrics.clinical import radgraph_metric
from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions, unpacked
from argus_evaluation.metrics.clinical.radgraph_metric import (
    LANGUAGE_MODEL,
    MODEL_TYPE,
    RadGraphReader,
    locate_entities,
    radgraph_metrics,
)
from argus_processing.storage.foreign_files import ForeignFileError


def entity(tokens, label, *relations):
    return {"tokens": tokens, "label": label, "start_ix": 0, "end_ix": 0, "relations": [list(r) for r in relations]}


def graph(*entities):
    return {"entities": {str(place): one for place, one in enumerate(entities, start=1)}}


# "Small nodule in the left lobe. No effusion."
WANTED = graph(
    entity("nodule", OBSERVATION, ("located_at", "2")),
    entity("lobe", ANATOMY),
    entity("left", ANATOMY, ("modify", "2")),
    entity("effusion", ABSENT),
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / MODEL_TYPE
    save_network(folder)
    return folder


@pytest.fixture(scope="module")
def reader(weights):
    return RadGraphReader(weights, weights / LANGUAGE_MODEL, batch_size=4)


def rewards(written, wanted=WANTED):
    return [compute_reward(written, wanted, level) for level in ("simple", "partial", "complete")]


def test_rewards_are_f1_of_entities_related_entities_and_relations():
    assert rewards(WANTED) == [1.0, 1.0, 1.0]
    # "lobe" and "effusion" are right; "nodule" has lost its place, "left" has become "right".
    written = graph(
        entity("nodule", OBSERVATION), entity("lobe", ANATOMY), entity("right", ANATOMY, ("modify", "2")),
        entity("effusion", ABSENT),
    )  # fmt: skip
    assert rewards(written) == pytest.approx([3 / 4, 2 / 4, 2 / 4])
    # Two entities, both right, neither with its relation: precision 1 and recall 1/2 by entities alone.
    assert rewards(graph(entity("nodule", OBSERVATION), entity("left", ANATOMY))) == pytest.approx([2 / 3, 0, 0])
    # A relation of another kind still counts as one in `partial`.
    suggested = graph(entity("nodule", OBSERVATION, ("suggestive_of", "2")), *list(WANTED["entities"].values())[1:])
    assert rewards(suggested) == pytest.approx([1, 1, 3 / 4])
    assert rewards(graph()) == [0, 0, 0]


def test_only_tokens_with_a_relation_are_lower_cased_as_published():
    upper = graph(entity("Nodule", OBSERVATION, ("located_at", "2")), *list(WANTED["entities"].values())[1:])
    assert rewards(upper) == pytest.approx([3 / 4, 3 / 4, 1])


def test_a_batch_reads_the_same_graphs_as_the_package_does_one_by_one(reader):
    reports = [
        "No evidence of pneumothorax.",
        "Small nodule in the left upper lobe, pleural effusion is small. " * 4,
        "Effusion.",
        "nodule",
        "Pleural effusion (right) 3.5 mm",
    ]
    alone = [{"entities": reader._radgraph([report])["0"]["entities"]} for report in reports]
    assert reader.answer(reports) == alone
    assert any(one["relations"] for found in alone for one in found["entities"].values())
    assert len({json.dumps(found) for found in alone}) > 3


def test_a_long_report_is_read_in_parts_cut_after_a_full_stop(reader, monkeypatch):
    monkeypatch.setattr(radgraph_metric, "MAX_TOKENS", 8)
    first, second = "No nodule in the lobe.", "Small left effusion."
    apart = reader.answer([first, second])
    joined = reader.answer([f"{first} {second}"])[0]["entities"]
    shift = len(apart[0]["entities"])
    assert list(joined) == [str(number) for number in range(1, len(joined) + 1)]
    moved = [
        {**one, "relations": [[kind, str(int(other) + shift)] for kind, other in one["relations"]]}
        for one in apart[1]["entities"].values()
    ]
    assert list(joined.values()) == [*apart[0]["entities"].values(), *moved]


ODD_REPORTS = [
    "",
    "   \n",
    "\x00\x07",
    "漢字 отчёт تقرير",
    "\ud800 nodule",
    "nodule\r\n\teffusion.",
    "nodule effusion " * 2500,
]


def test_odd_reports_have_a_value(weights, tmp_path, monkeypatch):
    # Random weights relate everything with everything: short parts keep that quick.
    monkeypatch.setattr(radgraph_metric, "MAX_TOKENS", 16)
    options = ClinicalOptions(folder=weights.parent, answers=tmp_path / "answers.sqlite")
    scores = radgraph_metrics(options)["RadGraph-XL partial"].score(ODD_REPORTS, ODD_REPORTS)
    assert scores.per_report[:3].tolist() == [0] * 3
    assert scores.per_report[-2:].tolist() == [100] * 2
    assert scores.flags["no_entity"][:3].all()


def test_the_metrics_read_each_report_once_and_keep_the_graphs(weights, tmp_path, monkeypatch):
    asked = []
    read = RadGraphReader.answer

    def count(self, reports):
        asked.extend(reports)
        return read(self, reports)

    monkeypatch.setattr(RadGraphReader, "answer", count)
    options = ClinicalOptions(folder=weights.parent, answers=tmp_path / "answers.sqlite")
    predictions, references = ["Small nodule in the left lobe.", "", "Effusion."], ["Effusion.", "Nodule.", "Effusion."]

    def score():
        return {name: one.score(predictions, references) for name, one in radgraph_metrics(options).items()}

    first = score()
    assert sorted(asked) == sorted(["", "Effusion.", "Nodule.", "Small nodule in the left lobe."])
    again = score()
    assert len(asked) == 4
    for name, scores in first.items():
        assert again[name].value == scores.value
        assert scores.per_report[1] == 0 and scores.per_report[2] == 100
        assert scores.counts == {"no_entity": 1}


def test_the_signature_names_package_weights_and_reward(weights, tmp_path):
    metrics = radgraph_metrics(ClinicalOptions(folder=weights.parent, answers=tmp_path / "a.sqlite"))
    signature = metrics["RadGraph-XL partial"].signature
    assert signature.startswith("radgraph|version:0.1.18|model:radgraph-xl|weights:sha256:")
    assert "|reward:partial|" in signature
    assert len({metric.signature for metric in metrics.values()}) == 3


def test_missing_weights_say_where_to_put_them(tmp_path):
    metrics = radgraph_metrics(ClinicalOptions(folder=tmp_path / "models"))
    assert list(metrics) == ["RadGraph-XL simple", "RadGraph-XL partial", "RadGraph-XL complete"]
    for metric in metrics.values():
        assert "radgraph-xl.tar.gz of StanfordAIMI/RRG_scorers" in metric.missing()
        assert str(tmp_path / "models" / "radgraph-xl") in metric.missing()
        with pytest.raises(ValueError, match="no weights"):
            metric.score(["a"], ["b"])


def test_a_missing_package_says_what_to_install(weights, monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def not_found(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(radgraph_metric, "version", not_found)
    metrics = radgraph_metrics(ClinicalOptions(folder=weights.parent))
    assert {metric.missing() for metric in metrics.values()} == {radgraph_metric.INSTALL}


def test_a_missing_language_model_is_named(weights, tmp_path):
    (tmp_path / MODEL_TYPE).mkdir()
    (tmp_path / MODEL_TYPE / "config.json").write_text(json.dumps(CONFIG))
    for metric in radgraph_metrics(ClinicalOptions(folder=tmp_path)).values():
        assert BERT in metric.missing() and str(tmp_path / MODEL_TYPE / LANGUAGE_MODEL) in metric.missing()


def test_an_archive_is_unpacked_for_as_long_as_it_is_read(weights, tmp_path):
    import tarfile

    archive = tmp_path / "radgraph-xl.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("config.json", "vocabulary", "weights.th"):
            tar.add(weights / name, arcname=name)
    assert RadGraphReader(archive, weights / LANGUAGE_MODEL, 2).answer(["Nodule."])[0]["entities"]
    with unpacked(archive, MODEL_TYPE) as folder:
        assert (folder / "config.json").is_file()
    assert not folder.exists()
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(archive.read_bytes()[:500])
    with pytest.raises(ValueError, match="damaged"), unpacked(damaged, MODEL_TYPE):
        pass


class Evil:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def pickled(folder: Path, mark: Path) -> None:
    (folder / "weights.th").write_bytes(pickle.dumps({"a": Evil(mark)}))


def pickled_as_torch_does(folder: Path, mark: Path) -> None:
    torch.save({"a": Evil(mark)}, folder / "weights.th")


def pickled_in_another_part(folder: Path, mark: Path) -> None:
    with zipfile.ZipFile(folder / "weights.th", "a") as archive:
        archive.writestr(f"{archive.namelist()[0].split('/')[0]}/data.pkl", pickle.dumps(Evil(mark)))


def compressed(folder: Path, mark: Path) -> None:
    with zipfile.ZipFile(folder / "weights.th", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights/data.pkl", bytes(10_000_000))


def of_one_number_spread_wide(folder: Path, mark: Path) -> None:
    weights = torch.load(folder / "weights.th")
    weights[min(weights)] = torch.zeros(1).expand(1 << 40)
    torch.save(weights, folder / "weights.th")


def no_weights(folder: Path, mark: Path) -> None:
    torch.save(["no", "weights"], folder / "weights.th")


def large_language_model(folder: Path, mark: Path) -> None:
    hostile.edit(folder / LANGUAGE_MODEL / "config.json", "vocab_size", to=1 << 23)


def code_of_a_language_model(folder: Path, mark: Path) -> None:
    hostile.edit(folder / LANGUAGE_MODEL / "config.json", "auto_map", to={"AutoConfig": "evil.Config"})
    hostile.edit(folder / LANGUAGE_MODEL / "config.json", "model_type", to="evil")
    (folder / LANGUAGE_MODEL / "evil.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")


def no_encoder(folder: Path, mark: Path) -> None:
    hostile.edit(folder / LANGUAGE_MODEL / "config.json", "model_type", to="timm_wrapper")


SPOILT = (
    *(pickled, pickled_as_torch_does, pickled_in_another_part, compressed, of_one_number_spread_wide, no_weights),
    *(large_language_model, code_of_a_language_model, no_encoder),
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("spoil", SPOILT)
def test_hostile_weights_are_refused_in_a_line_and_run_nothing(weights, tmp_path, spoil):
    folder, mark = tmp_path / MODEL_TYPE, tmp_path / "mark"
    shutil.copytree(weights, folder)
    spoil(folder, mark)
    with pytest.raises(ForeignFileError) as error:
        RadGraphReader(folder, folder / LANGUAGE_MODEL, batch_size=4)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600 and not mark.exists()


def test_no_variable_lets_pickled_weights_run_on_a_gpu(weights, tmp_path, monkeypatch):
    folder, mark = tmp_path / MODEL_TYPE, tmp_path / "mark"
    shutil.copytree(weights, folder)
    pickled_as_torch_does(folder, mark)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # the package then says nothing of pickles
    with pytest.raises(ForeignFileError, match="hold more than tensors"):
        RadGraphReader(folder, folder / LANGUAGE_MODEL, batch_size=4)
    assert not mark.exists()


def test_odd_values_of_the_language_model_are_refused_in_a_line_or_read(weights, tmp_path):
    folder = tmp_path / MODEL_TYPE
    shutil.copytree(weights, folder)
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / LANGUAGE_MODEL / name
        content = json.loads(path.read_text())
        cases = [(place, odd) for place in places_in(content) for odd in ODD]
        for place, odd in random.Random(name).sample(cases, 12):
            path.write_text(with_odd(content, place, odd))
            try:
                reader = RadGraphReader(folder, folder / LANGUAGE_MODEL, batch_size=4)
            except ForeignFileError as error:
                assert "\n" not in str(error) and len(str(error)) < 600, (place, odd)
                continue
            assert len(reader.answer(["small nodule in the left lobe ."])) == 1, (place, odd)
        path.write_text(json.dumps(content))


@pytest.mark.parametrize("tokens", [512, 20])  # in one part, and in three
def test_entities_are_located_where_their_words_stand(reader, monkeypatch, tokens):
    monkeypatch.setattr("argus_evaluation.metrics.clinical.radgraph_metric.MAX_TOKENS", tokens)
    report = "Small nodule (5 mm). In the left\nlobe, 20%. No effusion. " * 3
    graph = reader.answer([report])[0]
    found = list(locate_entities(report, graph))
    assert [entity for _, entity in found] == list(graph["entities"].values()) != []
    for (start, end), entity in found:
        assert "".join(report[start:end].split()) == entity["tokens"].replace(" ", "")
    starts = [start for (start, _), _ in found]
    assert starts == sorted(starts)
