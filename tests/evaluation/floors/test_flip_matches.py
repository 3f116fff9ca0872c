import pytest
import torch
from tiny_models import tiny_tower
from transformers import set_seed

from argus_evaluation.benchmark.benchmark import evaluate_model
from argus_evaluation.benchmark.stored_reports import read_stored_reports
from argus_evaluation.floors.flip_matches import flip_matches
from argus_evaluation.floors.floor_material import FloorOptions
from argus_evaluation.metrics.nlp_metrics import METRICS
from argus_processing import ArgusImageProcessor
from argus_training.pretraining.flip_objective import FLIPObjective, FLIPSettings, report_tokens, text_encoder_of
from argus_training.pretraining.flip_space import SPACE, WEIGHTS, load_flip_space, save_flip_space

SETTINGS = FLIPSettings(
    projection_width=12, text_width=16, text_layers=1, text_heads=2, vocab_size=300, max_text_tokens=40
)


@pytest.fixture(scope="module")
def run(tmp_path_factory, phantoms):
    """A run of FLIP with random weights: its folder, its module and its tokenizer."""
    folder, reports = tmp_path_factory.mktemp("flip"), list(phantoms["train"]["report"])
    set_seed(0)
    encoder, tokenizer = text_encoder_of(SETTINGS, reports)
    module = FLIPObjective(tiny_tower(), encoder, SETTINGS, seed=0).eval()
    torch.nn.init.normal_(module.image_projection.weight)
    save_flip_space(module, tokenizer, tokenizer.bos_token, SETTINGS.max_text_tokens, folder)
    module.vision_tower.save_pretrained(folder / "model")
    return folder, module, tokenizer


def text_embeddings(module, tokenizer, reports):
    inputs = [report_tokens(tokenizer, 40, tokenizer.bos_token)({"report": report}) for report in reports]
    stacked = {name: torch.stack([each[name] for each in inputs]) for name in inputs[0]}
    with torch.no_grad():
        return module.encode_text(**stacked)


def test_a_space_read_back_embeds_as_the_run_did(run, phantoms):
    folder, module, tokenizer = run
    space, reports = load_flip_space(folder), list(phantoms["train"]["report"])
    torch.testing.assert_close(space.embed_reports(reports), text_embeddings(module, tokenizer, reports))
    volumes = torch.rand(2, 1, *module.vision_tower.config.image_size)
    with torch.no_grad():
        torch.testing.assert_close(space.embed_images(volumes), module.encode_image(volumes))
    assert (space.first_token, space.max_text_tokens) == (tokenizer.bos_token, 40)


def test_each_scan_gets_the_report_of_the_largest_cosine(run, phantoms, split):
    folder, module, tokenizer = run
    reports = sorted({*phantoms["train"]["report"], *phantoms["test"]["report"]})
    texts = text_embeddings(module, tokenizer, reports)
    processor = ArgusImageProcessor(image_size=module.vision_tower.config.image_size)
    expected = []
    for row in split:
        with torch.no_grad():
            image = module.encode_image(processor(images=[row["image"]])["pixel_values"])
        expected.append(reports[int((image @ texts.T).argmax())])
    matches = flip_matches(folder, split, [*reports, reports[0]], batch_size=3)
    assert list(matches.reports) == expected
    assert matches.signature == f"nearest by cosine|FLIP|{len(reports)} distinct training reports"


def test_an_evaluation_with_a_run_of_flip_has_its_floor(run, model_dir, phantoms, tmp_path):
    reports = list(phantoms["train"]["report"])
    options = {"max_new_tokens": 2, "metrics": {"BLEU-1": METRICS["BLEU-1"]}, "floors": FloorOptions(flip=run[0])}
    results = evaluate_model(model_dir, phantoms["test"], reports, tmp_path, **options)
    assert list(results.controls) == ["normal", "most_frequent", "nearest_flip", "blank", "shuffled"]
    assert {report.reports["nearest_flip"] for report in read_stored_reports(tmp_path)} <= set(reports)


def test_a_folder_without_a_space_or_with_a_damaged_one_is_refused(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no space of FLIP"):
        load_flip_space(tmp_path)
    folder, module, tokenizer = run
    module.vision_tower.save_pretrained(tmp_path / "model")
    save_flip_space(module, tokenizer, "", 40, tmp_path)
    weights = tmp_path / SPACE / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="space.safetensors"):
        load_flip_space(tmp_path)
