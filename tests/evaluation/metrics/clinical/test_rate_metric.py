import json
import sys
from pathlib import Path

import numpy as np
import pytest
from rate_networks import REPORTS, save_models

from argus_evaluation.metrics.clinical import rate_metric
from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions
from argus_evaluation.metrics.clinical.rate_affinity import AFFINITY, KINDS, NEGATION_WEIGHT, OPPOSITES
from argus_evaluation.metrics.clinical.rate_metric import rate_metrics
from argus_evaluation.metrics.clinical.rate_model import RateModel, join_tags, rate_score

pytestmark = pytest.mark.usefixtures("empty_hub_cache")
# What RaTEScore 0.6.0 gave (with spaCy 3.7 and numpy 1.26) for random tags, and random embeddings with random types.
RECORDED = json.loads((Path(__file__).parent / "ratescore_recorded.json").read_text())
EAST, NORTH = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])


@pytest.mark.parametrize("case", RECORDED["tags"], ids=lambda case: " ".join(case["tags"]))
def test_tags_join_to_the_entities_of_the_package(case):
    found = [
        [" ".join(f"t{place}" for place in range(first, last + 1)), kind]
        for first, last, kind in join_tags(case["tags"])
    ]
    assert found == case["entities"]


def test_scores_are_those_of_the_package():
    for case in RECORDED["scores"]:
        sides = [np.array(case["predicted"]), case["predicted_types"], np.array(case["wanted"]), case["wanted_types"]]
        assert rate_score(*sides) == pytest.approx(case["score"], abs=1e-5)


def test_the_same_entities_score_one_and_unrelated_ones_zero():
    both = np.concatenate([EAST, NORTH])
    assert rate_score(both, ["DISEASE", "ANATOMY"], both, ["DISEASE", "ANATOMY"]) == pytest.approx(1)
    assert rate_score(EAST, ["DISEASE"], NORTH, ["DISEASE"]) == 0


def test_a_contradiction_costs_the_negation_weight():
    assert rate_score(EAST, ["NON-DISEASE"], EAST, ["DISEASE"]) == pytest.approx(NEGATION_WEIGHT)
    assert rate_score(EAST, ["ANATOMY"], EAST, ["DISEASE"]) == pytest.approx(1)


def test_entities_weigh_by_their_type_and_that_of_the_nearest():
    # Both diseases are nearest to the one written: precision 1, recall by weight of (DISEASE, DISEASE) alone.
    wanted, kinds = np.concatenate([EAST, NORTH]), ["DISEASE", "ANATOMY"]
    disease, anatomy = AFFINITY["DISEASE", "DISEASE"], AFFINITY["ANATOMY", "DISEASE"]
    recall = disease / (disease + anatomy)
    assert rate_score(EAST, ["DISEASE"], wanted, kinds) == pytest.approx(2 * recall / (1 + recall))


def test_a_side_without_an_entity_scores_a_half_as_published():
    nothing = np.zeros((0, 2))
    assert rate_score(nothing, [], EAST, ["DISEASE"]) == rate_score(EAST, ["DISEASE"], nothing, []) == 0.5
    assert rate_score(nothing, [], nothing, []) == 0.5


def test_the_affinities_cover_all_pairs_and_eight_of_them_contradict():
    assert set(AFFINITY) == {(one, other) for one in KINDS for other in KINDS}
    assert len(OPPOSITES) == 8 and OPPOSITES <= set(AFFINITY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models") / "clinical")


@pytest.fixture(scope="module")
def model(folder):
    return RateModel(folder / "RaTE-NER-Deberta", folder / "BioLORD-2023-C", batch_size=1)


def test_a_batch_finds_the_entities_of_single_reports(model):
    alone = [model.find_entities([report])[0] for report in REPORTS]
    assert model.find_entities(REPORTS) == alone
    assert alone[1] == alone[3] == []
    assert len(set(map(str, alone))) >= 4
    assert {kind for found in alone for _, kind in found} <= set(KINDS)


def test_entities_are_the_words_of_the_report(model):
    for report, found in zip(REPORTS, model.find_entities(REPORTS), strict=True):
        squeezed = "".join(report.lower().split())
        assert all("".join(name.split()) in squeezed for name, _ in found)


def test_an_empty_report_shifts_no_other_pair(model):
    pairs = [(REPORTS[0], REPORTS[2]), ("", REPORTS[4]), (REPORTS[4], REPORTS[0])]
    alone = [model.answer([pair])[0] for pair in pairs]
    together = model.answer(pairs)
    assert [one["score"] for one in together] == pytest.approx([one["score"] for one in alone], abs=1e-5)
    assert [one["entities"] for one in together] == [one["entities"] for one in alone]
    assert together[1]["score"] == 0.5 and together[1]["entities"][0] == 0


def test_a_report_is_the_best_match_of_itself(model):
    scores = [model.answer([(REPORTS[0], other)])[0]["score"] for other in (REPORTS[0], REPORTS[2], REPORTS[4])]
    assert scores[0] == max(scores)


def test_pairs_are_scored_once_and_pairs_without_entities_are_counted(folder, tmp_path, monkeypatch):
    asked = []
    compare = RateModel.answer

    def count(self, pairs):
        asked.extend(pairs)
        return compare(self, pairs)

    monkeypatch.setattr(RateModel, "answer", count)
    options = ClinicalOptions(folder=folder, answers=tmp_path / "answers.sqlite")
    predictions, references = [REPORTS[0], "", "", REPORTS[0]], [REPORTS[2], REPORTS[2], "ab", REPORTS[2]]
    first = rate_metrics(options)["RaTEScore"].score(predictions, references)
    again = rate_metrics(options)["RaTEScore"].score(predictions, references)
    assert asked == [[REPORTS[0], REPORTS[2]], ["", REPORTS[2]], ["", "ab"]]
    assert first.per_report.tolist() == again.per_report.tolist()
    assert first.per_report[1:3].tolist() == [50, 50]
    assert first.counts == {"no_entity": 2, "no_entity_on_both_sides": 1}


ODD = ["", "   \n", "\x00\x07", "漢字 отчёт تقرير", "\ud800 nodule", "nodule\r\n\teffusion.", "nodule effusion " * 2500]


def test_odd_reports_have_a_value(folder, tmp_path):
    metric = rate_metrics(ClinicalOptions(folder=folder, answers=tmp_path / "answers.sqlite"))["RaTEScore"]
    scores = metric.score(ODD, ODD[::-1])
    assert np.isfinite(scores.per_report).all()
    assert scores.per_report[:3].tolist() == [50] * 3


def test_the_signature_names_both_models_and_changes_with_their_weights(folder, tmp_path):
    signature = rate_metrics(ClinicalOptions(folder=folder))["RaTEScore"].signature
    assert "Angelakeke/RaTE-NER-Deberta,sha256:" in signature and "FremyCompany/BioLORD-2023-C,sha256:" in signature
    other = save_models(tmp_path / "clinical")
    assert rate_metrics(ClinicalOptions(folder=other))["RaTEScore"].signature == signature
    config = other / "BioLORD-2023-C" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert rate_metrics(ClinicalOptions(folder=other))["RaTEScore"].signature != signature


def test_a_model_with_other_types_is_refused(folder, tmp_path):
    copy = save_models(tmp_path / "clinical") / "RaTE-NER-Deberta"
    config = json.loads((copy / "config.json").read_text())
    config["id2label"]["1"] = "B-DRUG"
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="DRUG"):
        RateModel(copy, folder / "BioLORD-2023-C", 1)


def test_either_missing_model_says_where_to_put_it(folder, tmp_path):
    (tmp_path / rate_metric.ENTITY_WEIGHTS.name).symlink_to(folder / rate_metric.ENTITY_WEIGHTS.name)
    reason = rate_metrics(ClinicalOptions(folder=tmp_path))["RaTEScore"].missing()
    assert f"FremyCompany/BioLORD-2023-C into {tmp_path / 'BioLORD-2023-C'}" in reason


def test_the_backend_is_argus_s_own_code_unless_the_package_is_asked_for(folder, monkeypatch):
    assert rate_metrics(ClinicalOptions(folder=folder))["RaTEScore"].signature.startswith(
        "rate|argus:1|affinity:long|sentences:argus-sentences-v1|entities:Angelakeke/RaTE-NER-Deberta,sha256:"
    )
    with pytest.raises(ValueError, match="no backend 'medspacy' of RaTEScore; there are argus, package"):
        rate_metrics(ClinicalOptions(folder=folder, rate_backend="medspacy"))
    monkeypatch.setattr("argus_evaluation.metrics.clinical.rate_package.PACKAGES", ("no-such-package",))
    missing = rate_metrics(ClinicalOptions(folder=folder, rate_backend="package"))["RaTEScore"].missing()
    assert missing == "RaTEScore and medspacy are not installed: pip install --no-deps -r metric-packages.txt"


def test_a_package_that_cannot_be_imported_is_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("argus_evaluation.metrics.clinical.rate_package.PACKAGES", ("torch", "numpy"))
    monkeypatch.setitem(sys.modules, "loguru", None)
    options = ClinicalOptions(folder=folder, answers=tmp_path / "answers.sqlite", rate_backend="package")
    metric = rate_metrics(options)["RaTEScore"]
    assert metric.missing() is None and "|package:torch " in metric.signature
    with pytest.raises(
        ValueError, match=r"RaTEScore cannot be imported \(.*loguru.*\): pip install --no-deps -r metric-"
    ):
        metric.score(REPORTS[:1], REPORTS[2:3])
