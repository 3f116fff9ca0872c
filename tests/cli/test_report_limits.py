"""`argus report` tells that a model knows only phantoms, for every scan that is not marked as one."""

import gzip
import json
import shutil

import pytest

from argus_processing.saved_models.provenance import (
    PATIENTS,
    PHANTOMS,
    PHANTOMS_ONLY,
    TrainedSubset,
    TrainingRun,
    TrainingStage,
    read_provenance,
    write_provenance,
)


@pytest.fixture
def unmarked(scans, tmp_path):
    content = bytearray(gzip.decompress(scans[0].read_bytes()))
    content[148:228] = bytes(80)
    path = tmp_path / "unmarked.nii"
    path.write_bytes(content)
    return path


def trained_on(model_dir, tmp_path, kind: str):
    stage = TrainingStage(
        name="stage 1",
        parts=("connector",),
        subsets=(TrainedSubset("ct-rate", 5, kind),),
        data_sha256="d" * 64,
        recipe_sha256="e" * 64,
        num_epochs=1.0,
        num_steps=5,
        batch_size=1,
        learning_rate=1e-4,
    )
    model = shutil.copytree(model_dir, tmp_path / kind)
    write_provenance(model, read_provenance(model_dir).with_stage(stage, TrainingRun("cpu", {})))
    return model


def test_a_scan_that_is_no_phantom_gets_a_warning(argus, model_dir, scans, unmarked, tmp_path):
    model = trained_on(model_dir, tmp_path, PHANTOMS)
    code, stdout, stderr = argus("report", unmarked, scans[0], "--model", model, "--json", "--max-new-tokens", 4)
    other, phantom = (json.loads(line) for line in stdout.splitlines())
    assert code == 0 and other["report"] == phantom["report"]
    (warning,) = other["warnings"]
    assert PHANTOMS_ONLY in warning and phantom["warnings"] == []
    assert f"{unmarked}: warning: {warning}" in stderr and f"{scans[0]}: warning: the model" not in stderr


def test_a_model_of_patients_or_without_a_record_is_not_called_so(argus, model_dir, unmarked, tmp_path):
    of_before = shutil.copytree(model_dir, tmp_path / "before")
    (of_before / "argus.json").unlink()
    for model in (trained_on(model_dir, tmp_path, PATIENTS), of_before, model_dir):
        code, _, stderr = argus("report", unmarked, "--model", model, "--max-new-tokens", 4)
        assert code == 0 and "phantom" not in stderr


def test_a_damaged_record_is_one_line(argus, model_dir, unmarked, tmp_path):
    model = shutil.copytree(model_dir, tmp_path / "model")
    (model / "argus.json").write_text("{")
    code, stdout, stderr = argus("report", unmarked, "--model", model)
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 2) and "argus.json: is damaged" in stderr
