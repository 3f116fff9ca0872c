import math

import pytest
import torch
from torch.nn import functional

from argus_training.assembly.report_tokenizer import train_tokenizer
from argus_training.pretraining import flip_objective
from argus_training.pretraining.flip_objective import FLIPSettings, build, report_tokens, retrieval, text_encoder_of
from argus_training.pretraining.objective import draw_orders, generators_of

REPORTS = ["There is a nodule in the left upper lobe.", "The lungs are clear.", "The heart is enlarged."]


@pytest.fixture
def objective(objective_of):
    return objective_of("flip")


@pytest.fixture
def batch(batch_of):
    return batch_of("flip")


def test_half_of_the_tokens_are_dropped_before_the_encoder(objective, batch):
    seen = []
    objective.vision_tower.layers[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[1]))
    objective(**batch, step=1, progress=0.5)
    objective(**batch, step=1, progress=0.96)  # the unmasked tail
    objective.eval()(**batch)
    assert seen == [16, 32, 32]


def test_an_image_is_the_mean_of_its_kept_tokens(objective, batch):
    volumes = batch["pixel_values"]
    kept = draw_orders(32, generators_of(1, 1, batch["index"]), volumes.device)[:, :16]
    tokens = objective.vision_tower(volumes, kept=kept).last_hidden_state
    expected = functional.normalize(tokens.mean(1) @ objective.image_projection.weight.T, dim=1)
    torch.testing.assert_close(objective.encode_image(volumes, kept), expected)


def test_text_is_read_from_the_first_token_and_not_from_padding(objective, batch):
    ids = batch["input_ids"]
    mask = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0]).expand(4, 8)
    other = ids.clone()
    other[:, 4:] = 1
    padded = objective.encode_text(ids, mask)
    assert torch.equal(padded, objective.encode_text(other, mask))
    first = objective.text_encoder(input_ids=ids[:, :4]).last_hidden_state[:, 0] @ objective.text_projection.weight.T
    torch.testing.assert_close(padded, functional.normalize(first, dim=1))


def test_the_scale_starts_at_clips_and_never_exceeds_a_hundred(objective, batch):
    assert objective.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    objective.logit_scale.data.fill_(9.0)
    objective(**batch, step=1)
    assert objective.logit_scale.exp().item() == pytest.approx(100.0, rel=1e-5)


def test_retrieval_ranks_in_both_directions_with_ties_against_the_pair():
    text = torch.eye(12)
    assert set(retrieval(text, text).values()) == {1.0}
    shifted = retrieval(text.roll(1, dims=0), text)
    assert shifted["image_to_text_r@1"] == 0.0
    assert set(retrieval(torch.ones(12, 4), torch.ones(12, 4)).values()) == {0.0}
    # Scan 0 finds report 1 first and its own second; report 0 is found by none before its own scan.
    image = torch.eye(12)
    image[0, :2] = torch.tensor([0.6, 0.8])
    results = retrieval(image, torch.eye(12))
    assert results["image_to_text_r@1"] == pytest.approx(11 / 12) and results["image_to_text_r@5"] == 1.0
    assert results["text_to_image_r@1"] == 1.0


def test_it_learns_to_tell_volumes_by_their_reports(objective, batch):
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
    for step in range(1, 50):
        optimizer.zero_grad()
        objective(**batch, step=step).loss.backward()
        optimizer.step()
    objective.eval()
    image = objective.encode_image(batch["pixel_values"])
    text = objective.encode_text(batch["input_ids"], batch["attention_mask"])
    assert retrieval(image, text)["image_to_text_r@1"] == 1.0


def test_reports_that_are_cut_are_counted(objective, monkeypatch):
    told = []
    monkeypatch.setattr(flip_objective.logger, "info", told.append)
    options = {"text_width": 16, "text_layers": 1, "text_heads": 2, "vocab_size": 300, "max_text_tokens": 4}
    made = build(objective.vision_tower, {"report": REPORTS}, options, seed=0)
    assert told == ["flip: 3 of 3 reports are longer than 4 tokens and cut"]
    tokens = made.inputs_of({"report": REPORTS[0]})
    assert tokens["input_ids"].shape == (4,) and tokens["attention_mask"].all()


def test_a_pretrained_text_encoder_is_taken_with_its_tokenizer(objective, tmp_path):
    tokenizer = train_tokenizer(REPORTS, 300)
    tokenizer.save_pretrained(tmp_path)
    objective.text_encoder.config.vocab_size = len(tokenizer)
    objective.text_encoder.resize_token_embeddings(len(tokenizer))
    objective.text_encoder.save_pretrained(tmp_path)
    encoder, loaded = text_encoder_of(FLIPSettings(text_encoder=str(tmp_path)), REPORTS)
    tokens = report_tokens(loaded, 8, "")({"report": REPORTS[1]})
    assert encoder.pooler is None
    torch.testing.assert_close(
        encoder(tokens["input_ids"][None]).last_hidden_state,
        objective.text_encoder(tokens["input_ids"][None]).last_hidden_state,
    )
