"""The record beside a model: it reads back the same, tells only what is known, and takes no path and no odd text."""

import json
from dataclasses import replace

import pytest

from argus_processing.saved_models.provenance import (
    NEVER_TRAINED,
    NOT_RECORDED,
    PATIENTS,
    PHANTOM_REPORTS,
    PHANTOMS,
    PHANTOMS_ONLY,
    PRETRAINED,
    PROVENANCE_FILE,
    RANDOM,
    UNKNOWN,
    LanguagePart,
    Provenance,
    TrainedSubset,
    TrainingRun,
    TrainingStage,
    VisionPart,
    describe_provenance,
    read_provenance,
    recordable,
    write_provenance,
)
from argus_processing.storage.foreign_files import ForeignFileError

RUN = TrainingRun("8 x NVIDIA H100 80GB HBM3", {"torch": "2.13.0+cpu", "argus-ct": "0.1.0"}, 7200.5)


def stage_on(*subsets: TrainedSubset, name: str = "stage 1") -> TrainingStage:
    return TrainingStage(
        name=name,
        parts=("connector",),
        subsets=subsets,
        data_sha256="d" * 64,
        recipe_sha256="e" * 64,
        num_epochs=1.0,
        num_steps=10,
        batch_size=16,
        learning_rate=1e-4,
    )


PHANTOM_STAGE = stage_on(TrainedSubset("phantom", 3000, PHANTOMS))
MODEL = Provenance(
    vision=VisionPart("argus", RANDOM, 768, 86_000_000),
    language=LanguagePart("llama", 8_030_261_248, "meta-llama/Llama-3.1-8B-Instruct", "llama3.1", "its card"),
    preset="argus-8b-hr",
    has_presets_size=True,
    preprocessing="paper",
)
TRAINED = MODEL.with_stage(PHANTOM_STAGE, RUN)


def test_what_is_written_reads_back_the_same(tmp_path):
    for provenance in (Provenance(), MODEL, TRAINED, TRAINED.without_runs()):
        write_provenance(tmp_path, provenance)
        assert read_provenance(tmp_path) == provenance


def test_a_folder_of_before_tells_nothing(tmp_path):
    assert read_provenance(tmp_path) is None and read_provenance(tmp_path / "none") is None
    assert describe_provenance(None) == {}


def test_two_runs_of_one_recipe_differ_in_their_runs_alone(tmp_path):
    contents = []
    for run in (RUN, TrainingRun("1 x cpu x86_64, 2 threads", {}, None)):
        write_provenance(tmp_path, MODEL.with_stage(PHANTOM_STAGE, run))
        contents.append(json.loads((tmp_path / PROVENANCE_FILE).read_text()))
    assert contents[0] != contents[1]
    assert [content.pop("runs") and content for content in contents] == [contents[0]] * 2


@pytest.mark.parametrize(
    ("subsets", "source", "expected"),
    [
        ([("phantom", PHANTOMS)], "", True),
        ([("phantom", PHANTOMS), ("ct-rate", PHANTOMS)], "", True),
        ([("phantom", PHANTOMS), ("ct-rate", PATIENTS)], "", False),
        ([("phantom", PHANTOMS), ("inspect", UNKNOWN)], "", False),
        ([("phantom", PHANTOMS)], NOT_RECORDED, False),
        ([("phantom", PHANTOMS)], "published weights of m3d", False),
        ([], "", False),
    ],
)
def test_only_phantoms_are_known_if_nothing_else_can_have_been_seen(subsets, source, expected):
    vision = VisionPart("argus", PRETRAINED, 768, 1, source)
    provenance = replace(MODEL, vision=vision)
    for name, kind in subsets:
        provenance = provenance.with_stage(stage_on(TrainedSubset(name, 5, kind)), RUN)
    assert provenance.knows_only_phantoms is expected
    assert (describe_provenance(provenance).get("limits") == PHANTOMS_ONLY) is expected


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([], NEVER_TRAINED),
        ([(("vision",), PATIENTS)], NEVER_TRAINED),
        ([(("vision",), PATIENTS), (("connector",), PHANTOMS)], PHANTOM_REPORTS),
        ([(("connector",), PHANTOMS), (("vision", "connector", "llm"), PATIENTS)], ""),
        ([(("connector",), UNKNOWN)], ""),
        ([(("connector",), PHANTOMS)], PHANTOMS_ONLY),
    ],
)
def test_the_limits_follow_from_what_taught_it_to_report(stages, expected):
    provenance = MODEL
    for parts, kind in stages:
        provenance = provenance.with_stage(replace(stage_on(TrainedSubset("ct-rate", 5, kind)), parts=parts), RUN)
    assert provenance.limits == expected == describe_provenance(provenance).get("limits", "")
    assert replace(provenance, vision=replace(MODEL.vision, source=NOT_RECORDED)).limits in (expected, PHANTOM_REPORTS)


def test_it_is_described_in_short_texts():
    second = stage_on(TrainedSubset("ct-rate", 24128, PATIENTS), TrainedSubset("inspect", 9, UNKNOWN), name="stage 2")
    assert describe_provenance(TRAINED) == {
        "trained_on": "3,000 phantoms",
        "stages": "stage 1",
        "data_sha256": "d" * 64,
        "recipe_sha256": "e" * 64,
        "vision_tower": "argus, random weights",
        "language_model": "meta-llama/Llama-3.1-8B-Instruct",
        "limits": PHANTOMS_ONLY,
    }
    told = describe_provenance(TRAINED.with_stage(second, RUN))
    assert told["trained_on"] == "3,000 phantoms, 24,128 scans of patients (ct-rate), 9 scans (inspect)"
    assert told["stages"] == "stage 1, stage 2" and "limits" not in told


def test_a_subset_counts_with_the_most_scans_of_any_stage():
    few = stage_on(TrainedSubset("phantom", 10, PHANTOMS))
    assert MODEL.with_stage(few, RUN).with_stage(PHANTOM_STAGE, RUN).with_stage(few, RUN).subsets == (
        TrainedSubset("phantom", 3000, PHANTOMS),
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"preset": "/home/someone/model"}, "does not belong there"),
        ({"preset": "a\nb"}, "does not belong there"),
        ({"preset": "|<script>"}, "does not belong there"),
        ({"preset": "x" * 201}, "does not belong there"),
        ({"preset": 5}, "preset: expected a text"),
        ({"patient": "x"}, "unknown patient"),
        ({"format": 2}, "does not know; update Argus"),
        ({"runs": []}, None),
        ({"stages": []}, "as many runs as stages"),
        ({"stages": [{"num_epochs": float("nan")}]}, "does not belong there"),
    ],
)
def test_what_does_not_belong_there_is_refused_in_one_line(tmp_path, change, said):
    write_provenance(tmp_path, TRAINED)
    path = tmp_path / PROVENANCE_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    if said is None:
        assert read_provenance(tmp_path) == TRAINED.without_runs()
        return
    with pytest.raises(ForeignFileError, match=said) as refused:
        read_provenance(tmp_path)
    assert str(refused.value).startswith(str(path)) and "\n" not in str(refused.value)


def test_a_devices_odd_name_is_made_recordable(tmp_path):
    odd = recordable("/dev/Ünit™ |8|")
    assert odd == "dev/-nit- -8-"
    write_provenance(tmp_path, MODEL.with_stage(PHANTOM_STAGE, TrainingRun(odd, {})))
    assert read_provenance(tmp_path).runs[0].hardware == odd
