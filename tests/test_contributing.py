"""The worked examples of CONTRIBUTING.md are run, and the tables that it names are where it says."""

import re
from pathlib import Path

import pytest
import torch
from tiny_models import IMAGE, tiny_text

from argus_evaluation.benchmark.scoring import compute_scores
from argus_evaluation.metrics.nlp_metrics import METRICS
from argus_processing.curation.splits import split_of
from argus_processing.sources.registry import SOURCES, columns_of
from argus_training.pretrain import OBJECTIVES, PretrainArguments
from modeling_argus import ArgusConfig, ArgusForConditionalGeneration, ArgusVisionModel
from modeling_argus.connector_argus import COMPRESSORS
from modeling_argus.presets_argus import preset_vision_config

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^### ([^\n]+)\n\n```python\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE))


@pytest.fixture
def run_example(monkeypatch):
    def run(heading: str, table: dict, name: str) -> object:
        """Run an example; return what it added to a table, from which it is taken away after the test."""
        assert name not in table
        monkeypatch.setitem(table, name, None)
        exec(compile(EXAMPLES[heading], "CONTRIBUTING.md", "exec"), {"__name__": "example"})
        return table[name]

    return run


def test_the_example_adds_a_compressor_that_a_model_is_built_with(run_example):
    run_example("A compressor", COMPRESSORS, "maximum_pooling")
    vision = preset_vision_config("argus-tiny", "argus")
    config = ArgusConfig(
        vision_config=vision, text_config=tiny_text(), image_token_id=IMAGE, compressor="maximum_pooling"
    )
    model = ArgusForConditionalGeneration(config).eval()
    tokens = torch.arange(vision.num_tokens, dtype=torch.float32)[None, :, None].expand(1, -1, vision.hidden_size)
    pooled = model.model.connector.compressor(tokens)
    assert pooled[0, :, 0].tolist() == list(range(7, vision.num_tokens, 8))
    assert model.model.connector.num_tokens == vision.num_tokens // 8


def test_the_example_adds_a_metric_that_reports_are_scored_with(run_example):
    metric = run_example("A metric", METRICS, "length")
    scored = compute_scores(
        {"model": ["A nodule.", "Clear."]}, ["A small calcified nodule.", "Clear."], {"length": metric}
    )
    assert scored["model"]["length"].scores.value == 75.0


def test_the_example_adds_an_objective_that_trains_a_tower(run_example):
    build = run_example("A pretraining objective", OBJECTIVES, "mean")
    assert PretrainArguments("argus-tiny", objective="mean").objective == "mean"
    tower = ArgusVisionModel(preset_vision_config("argus-tiny", "argus"))
    module = build(tower, None, {}, 0).module
    volumes = torch.rand(2, 1, *tower.config.image_size)
    module.read.weight.data.zero_()
    module.read.bias.data.fill_(2.0)
    loss = module(pixel_values=volumes).loss
    assert loss.item() == pytest.approx((2.0 - volumes.mean(dim=(1, 2, 3, 4))).pow(2).mean().item(), rel=1e-5)
    module.read.weight.data.fill_(1.0)
    module(pixel_values=volumes).loss.backward()
    assert all(weight.grad is not None for weight in tower.parameters())


def test_the_example_adds_a_source_whose_scans_are_listed_and_split(run_example, tmp_path):
    source = run_example("A source of reports", SOURCES, "hospital")
    (tmp_path / "ct").mkdir()
    for name in ("a", "b", "lonely"):
        (tmp_path / "ct" / f"{name}.nii.gz").touch()
    (tmp_path / "reports.csv").write_text("scan,patient,text\na,1,Clear lungs.\nb,2,A nodule.\nc,2,No volume.\n")
    listing = source.list_scans(tmp_path, columns_of("hospital", {"report": "text"}))
    assert [(scan.scan_id, scan.patient_id, scan.volume, scan.report) for scan in listing.scans] == [
        ("a", "1", "ct/a.nii.gz", "Clear lungs."),
        ("b", "2", "ct/b.nii.gz", "A nodule."),
    ]
    assert [problem.kind for problem in listing.problems] == ["row_without_volume", "volume_without_row"]
    patients = [split_of("hospital", str(number)) for number in range(2000)]
    shares = [patients.count(split) / len(patients) for split in ("train", "validation", "test")]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


@pytest.mark.parametrize("path", re.findall(r"`([a-z_/]+(?:\.py|/))`", TEXT))
def test_every_place_that_it_names_is_there(path):
    assert (ROOT / path).exists() or path == "clinical_metrics.py"


@pytest.mark.parametrize(("name", "path"), re.findall(r"`(\w+)` (?:in |\()`([a-z_/]+\.py)`", TEXT))
def test_every_name_stands_where_it_says(name, path):
    assert re.search(rf"^(?:class |def )?{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
