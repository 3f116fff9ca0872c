import pytest
import torch
from tiny_models import IMAGE, PAD
from transformers import AutoModel, AutoModelForImageTextToText, PreTrainedModel, TextIteratorStreamer

from modeling_argus import ArgusForConditionalGeneration

NUM_VISUAL = 8


def prompt(text: list[int]) -> torch.Tensor:
    return torch.tensor([[1] + [IMAGE] * NUM_VISUAL + text])


def volume(seed: int, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 1, 32, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_visual_tokens_stand_where_the_placeholders_were(model):
    ids = prompt([10, 11])
    features = model.get_image_features(volume(0)).pooler_output
    embeddings = model.get_input_embeddings()(ids)
    placed = model.model.insert_image_features(ids, embeddings, features)
    assert torch.equal(placed[0, 1 : 1 + NUM_VISUAL], features[0])
    assert torch.equal(placed[0, [0, -2, -1]], embeddings[0, [0, -2, -1]])
    by_embedding = model.model.insert_image_features(None, embeddings, features)
    assert torch.equal(by_embedding, placed)


def test_each_scan_of_a_batch_gets_its_own_visual_tokens(model):
    ids = prompt([10, 11, 12])
    both = model(input_ids=ids.repeat(2, 1), pixel_values=volume(1, count=2)).logits
    for index in range(2):
        alone = model(input_ids=ids, pixel_values=volume(1, count=2)[index : index + 1]).logits
        torch.testing.assert_close(both[index : index + 1], alone, atol=1e-5, rtol=1e-4)
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_generation_with_cache_equals_greedy_decoding_without_it(model):
    ids, scan = prompt([10, 11]), volume(2)
    generated = model.generate(
        input_ids=ids, pixel_values=scan, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False
    )
    expected = ids
    for _ in range(generated.shape[1] - ids.shape[1]):
        logits = model(input_ids=expected, pixel_values=scan, use_cache=False).logits
        expected = torch.cat([expected, logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(generated, expected)


def test_left_padding_changes_nothing_that_is_generated(model):
    short, long = prompt([10, 11]), prompt([20, 21, 22, 23, 24])
    padded = torch.cat([torch.full((1, 3), PAD), short], dim=1)
    ids = torch.cat([padded, long])
    mask = (ids != PAD).long()
    scans = volume(3, count=2)
    batch = model.generate(
        input_ids=ids, pixel_values=scans, attention_mask=mask, max_new_tokens=5, do_sample=False, eos_token_id=None
    )
    for index, alone_ids in enumerate((short, long)):
        alone = model.generate(
            input_ids=alone_ids,
            pixel_values=scans[index : index + 1],
            attention_mask=torch.ones_like(alone_ids),
            max_new_tokens=5,
            do_sample=False,
            eos_token_id=None,
        )
        assert torch.equal(batch[index, -5:], alone[0, -5:])


def test_streamed_tokens_are_the_generated_ones(model):
    class IdTokenizer:
        def decode(self, ids, **_):
            return "".join(f"{int(token)} " for token in ids)

    streamer = TextIteratorStreamer(IdTokenizer(), skip_prompt=True)
    ids = prompt([10, 11])
    generated = model.generate(
        input_ids=ids,
        pixel_values=volume(4),
        attention_mask=torch.ones_like(ids),
        max_new_tokens=5,
        do_sample=False,
        streamer=streamer,
    )
    assert [int(word) for word in "".join(streamer).split()] == generated[0, ids.shape[1] :].tolist()


def test_loss_is_the_mean_cross_entropy_of_the_labelled_tokens(model):
    ids = prompt([10, 11, 12, 13])
    labels = torch.full_like(ids, -100)
    labels[0, -2:] = ids[0, -2:]
    outputs = model(input_ids=ids, pixel_values=volume(5), labels=labels)
    expected = torch.nn.functional.cross_entropy(outputs.logits[0, -3:-1], ids[0, -2:])
    torch.testing.assert_close(outputs.loss, expected)


@pytest.mark.parametrize("auto_class", [AutoModel, AutoModelForImageTextToText])
def test_saved_model_loads_by_the_auto_classes_with_equal_logits(model, tmp_path, auto_class):
    model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.safetensors")] and not list(tmp_path.glob("*.bin"))
    loaded = auto_class.from_pretrained(tmp_path).eval()
    assert type(loaded) is ArgusForConditionalGeneration
    ids = prompt([10, 11])
    assert torch.equal(
        loaded(input_ids=ids, pixel_values=volume(6)).logits, model(input_ids=ids, pixel_values=volume(6)).logits
    )


def test_wrong_number_of_placeholders_is_refused_with_both_numbers(model):
    with pytest.raises(ValueError, match="Image features and image tokens do not match.*8 visual.*7 placeholder"):
        model(input_ids=prompt([10])[:, 2:], pixel_values=volume(7))


def test_ids_and_embeddings_together_are_refused(model):
    with pytest.raises(ValueError, match="exactly one"):
        model(input_ids=prompt([10]), inputs_embeds=torch.zeros(1, 10, 32))


def test_weights_are_saved_in_files_of_at_most_5_gb(model, monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(PreTrainedModel, "save_pretrained", lambda self, folder, **options: seen.update(options))
    model.save_pretrained(tmp_path)
    assert seen["max_shard_size"] == "5GB"
    model.save_pretrained(tmp_path, max_shard_size="1GB")
    assert seen["max_shard_size"] == "1GB"
