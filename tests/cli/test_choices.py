from typing import get_args

import pytest

from argus_cli import benchmark, data, models, options
from argus_cli.hospital import commands as hospital
from argus_evaluation.benchmark.report_comparison import FINDINGS_METRICS
from argus_evaluation.metrics.clinical.rate_metric import BACKENDS
from argus_hospital.objects.write_objects import STRUCTURED
from argus_inference.llama_cpp.export_gguf import TYPES
from argus_inference.model_folder import BITS, DEVICE_MAPS, DTYPES
from argus_inference.serving.engines import ENGINES as SERVING_ENGINES
from argus_processing.ct3drrg import CT3DRRG
from argus_processing.curation.prepared_folder import SPLITS
from argus_processing.curation.volume_engines import ENGINES
from argus_processing.phantom.layouts import LAYOUTS
from argus_processing.tower_preprocessing import PREPROCESSINGS
from argus_training.stages.recipe import STAGES
from modeling_argus.connector_argus import COMPRESSORS
from modeling_argus.vision_towers_argus import TOWERS


@pytest.mark.parametrize(
    ("choices", "known"),
    [
        (options.Dtype, DTYPES),
        (options.Bits, BITS),
        (options.DeviceMap, DEVICE_MAPS),
        (options.Engine, SERVING_ENGINES),
        (models.TowerName, TOWERS),
        (models.CompressorName, COMPRESSORS),
        (models.PreprocessingName, PREPROCESSINGS),
        (models.Stage, STAGES),
        (models.GgufType, TYPES),
        (hospital.Structured, STRUCTURED),
        (data.Engine, ENGINES),
        (data.Layout, LAYOUTS),
        (benchmark.Findings, FINDINGS_METRICS),
        (benchmark.Subset, [config.name for config in CT3DRRG.BUILDER_CONFIGS]),
        (benchmark.Split, SPLITS),
        (benchmark.RateBackend, BACKENDS),
    ],
)
def test_the_choices_of_a_command_are_those_of_the_library(choices, known):
    assert get_args(choices) == tuple(known)


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "scan.nii", "--model", "m", "--dtype", "int8"),
        ("report", "scan.nii", "--model", "m", "--bits", "2"),
        ("evaluate", "out", "--model", "m", "--dtype", "float64"),
        ("create", "argus-tiny", "out", "--llm", "llm", "--dtype", "float16"),
        ("create", "argus-tiny", "out", "--llm", "llm", "--tower", "vit"),
        ("create", "argus-tiny", "out", "--llm", "llm", "--compressor", "mlp"),
        ("plan", "--preset", "argus-8b-hr", "--stage", "3"),
        ("export-gguf", "m", "out.gguf", "--type", "int4"),
        ("prepare", "out", "--inspect", ".", "--engine", "spark"),
        ("phantom", "out", "--layout", "xnat"),
        ("evaluate", "out", "--model", "m", "--subset", "ct-rat"),
        ("evaluate", "out", "--model", "m", "--split", "tset"),
        ("evaluate", "out", "--model", "m", "--rate-backend", "medspacy"),
        ("compare-reports", "run", "page.html", "--findings", "bleu"),
    ],
)
def test_a_wrong_choice_is_refused_first_and_lists_the_choices(argus, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = argus(*arguments)
    assert (code, stdout, stderr.count("\n")) == (2, "", 1) and list(tmp_path.iterdir()) == []
    assert f"'{arguments[-1]}' is not one of '" in stderr and arguments[-2] in stderr
