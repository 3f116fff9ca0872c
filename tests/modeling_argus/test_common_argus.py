"""transformers' common requirements for every model: saving, padding, attention, generation, gradients, compiling."""

import copy
import pickle
import re

import pytest
import torch
from tiny_models import IMAGE, PAD
from torch import nn
from transformers import AutoModelForImageTextToText, AutoModelForMultimodalLM, GenerationConfig, LlamaForCausalLM

from modeling_argus import ArgusConfig, ArgusForConditionalGeneration, ArgusModel
from modeling_argus.presets_argus import TOWER_COMPRESSORS


def volumes(model, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 1, *model.config.vision_config.image_size, generator=torch.Generator().manual_seed(1))


def prompt(model, text: tuple[int, ...] = (10, 11, 12)) -> torch.Tensor:
    return torch.tensor([[1, *[IMAGE] * model.model.connector.num_tokens, *text]])


def inputs(model) -> dict[str, torch.Tensor]:
    return {"input_ids": prompt(model), "pixel_values": volumes(model)}


def close(first: torch.Tensor, second: torch.Tensor) -> None:
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-3)


def test_a_saved_model_and_its_backbone_load_whole_and_equal(pair, tmp_path):
    pair.save_pretrained(tmp_path)
    loaded, info = AutoModelForMultimodalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.equal(loaded.eval()(**inputs(pair)).logits, pair(**inputs(pair)).logits)
    backbone, info = ArgusModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    backbone.save_pretrained(tmp_path / "backbone")
    _, info = ArgusForConditionalGeneration.from_pretrained(tmp_path / "backbone", output_loading_info=True)
    assert set(info["missing_keys"]) == {"lm_head.weight"}
    config = pickle.loads(pickle.dumps(pair.config))  # noqa: S301  our own bytes
    assert config.to_dict() == pair.config.to_dict() == ArgusConfig.from_dict(pair.config.to_dict()).to_dict()
    assert torch.equal(copy.deepcopy(pair)(**inputs(pair)).logits, pair(**inputs(pair)).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_load_and_write_in_half_precision(pair, dtype, tmp_path):
    pair.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=dtype, device_map="auto").eval()
    # transformers keeps some modules in float32 where the rest is float16.
    kept = loaded._keep_in_fp32_modules if dtype == torch.float16 else ()
    for name, parameter in loaded.named_parameters():
        assert parameter.dtype == (torch.float32 if any(re.match(part, name) for part in kept) else dtype), name
    # Volumes come as the processor makes them, in float32.
    assert loaded(**inputs(pair)).logits.isfinite().all()
    assert loaded.generate(**inputs(pair), max_new_tokens=2).shape[1] > prompt(pair).shape[1]


def test_embeddings_stay_tied_and_are_resized_together(make, tmp_path):
    model = make("argus", "pixel_shuffle", tied=True)
    model.save_pretrained(tmp_path)
    loaded = ArgusForConditionalGeneration.from_pretrained(tmp_path)
    loaded.resize_token_embeddings(80)
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight
    outputs = loaded(input_ids=prompt(model, (70, 79)), pixel_values=volumes(model), labels=prompt(model, (70, 79)))
    assert outputs.logits.shape[-1] == loaded.config.text_config.vocab_size == 80 and outputs.loss.isfinite()


@torch.no_grad()
def test_padding_batches_embeddings_and_attention_kernels_change_no_logits(pair):
    ids, scans = prompt(pair), volumes(pair, 3)
    alone = pair(input_ids=ids, pixel_values=scans[:1]).logits
    close(pair(input_ids=ids.repeat(3, 1), pixel_values=scans).logits[:1], alone)
    pads = torch.full((1, 3), PAD)
    left, right = torch.cat([pads, ids], 1), torch.cat([ids, pads], 1)
    mask = (left != PAD).long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    padded = pair(input_ids=left, attention_mask=mask, position_ids=positions, pixel_values=scans[:1])
    close(padded.logits[:, 3:], alone)
    close(pair(input_ids=right, attention_mask=(right != PAD).long(), pixel_values=scans[:1]).logits[:, :-3], alone)
    embeddings = pair.get_input_embeddings()(ids)
    assert torch.equal(pair(inputs_embeds=embeddings, pixel_values=scans[:1]).logits, alone)
    assert torch.equal(pair(input_ids=ids, pixel_values=scans[:1], return_dict=False)[0], alone)
    close(pair(input_ids=ids, pixel_values=scans[:1], logits_to_keep=2).logits, alone[:, -2:])
    pair.set_attn_implementation("eager")
    close(pair(input_ids=ids, pixel_values=scans[:1]).logits, alone)


@torch.no_grad()
def test_all_ways_of_greedy_decoding_write_the_same(pair):
    ids, settings = prompt(pair), {"do_sample": False, "eos_token_id": None}
    given = inputs(pair) | settings
    expected = pair.generate(**given, max_new_tokens=6)
    for options in (
        {"use_cache": False},
        {"num_beams": 1},
        {"prompt_lookup_num_tokens": 3},
        {"assistant_model": LlamaForCausalLM(pair.config.text_config).eval()},
    ):
        assert torch.equal(pair.generate(**given, max_new_tokens=6, **options), expected), options
    embeddings = pair.get_input_embeddings()(ids)
    new = pair.generate(inputs_embeds=embeddings, pixel_values=volumes(pair), max_new_tokens=6, **settings)
    assert torch.equal(new, expected[:, ids.shape[1] :])
    first = pair.generate(**given, max_new_tokens=3, return_dict_in_generate=True)
    rest = pair.generate(input_ids=first.sequences, past_key_values=first.past_key_values, max_new_tokens=3, **settings)
    assert torch.equal(rest, expected)


@torch.no_grad()
def test_a_prompt_read_in_chunks_gives_the_same_or_is_refused(pair):
    given = inputs(pair) | {"do_sample": False, "eos_token_id": None, "max_new_tokens": 6}
    try:
        chunked = pair.generate(**given, prefill_chunk_size=4)
    except ImportError as error:  # transformers before 5.23 would leave the image out
        assert "transformers>=5.23 is required" in str(error)
    else:
        assert torch.equal(chunked, pair.generate(**given))


@torch.no_grad()
def test_beams_and_samples_keep_to_their_own_scan(pair):
    ids, scans = prompt(pair), volumes(pair, 2)
    settings = {"max_new_tokens": 4, "do_sample": False, "num_beams": 2, "eos_token_id": None}
    both = pair.generate(input_ids=ids.repeat(2, 1), pixel_values=scans, **settings)
    for index in range(2):
        alone = pair.generate(input_ids=ids, pixel_values=scans[index : index + 1], **settings)
        assert torch.equal(both[index : index + 1], alone)
    two_scans = torch.cat([ids, ids], dim=1)
    assert pair.generate(input_ids=two_scans, pixel_values=scans, **settings).shape == (1, two_scans.shape[1] + 4)
    sampled = pair.generate(**inputs(pair), max_new_tokens=4, do_sample=True, num_return_sequences=3)
    assert sampled.shape[0] == 3


@torch.no_grad()
def test_the_placeholder_is_never_generated_nor_proposed(make, tmp_path):
    model = make("argus", "pixel_shuffle")
    # The most likely token at every place, by far.
    model.lm_head.bias = nn.Parameter(torch.zeros(64).index_fill(0, torch.tensor(IMAGE), 1e4))
    ways = (
        {"do_sample": False},
        {"do_sample": True, "temperature": 9.0},
        {"num_beams": 3, "do_sample": False},
        {"use_cache": False, "do_sample": False},
        {"prompt_lookup_num_tokens": 4, "do_sample": False},
        {"suppress_tokens": None, "do_sample": False},
        {"suppress_tokens": [9], "do_sample": False},
        {"suppress_tokens": torch.tensor([8, 9]), "do_sample": False},
        {"generation_config": GenerationConfig(max_new_tokens=5, do_sample=False)},
        {"assistant_model": copy.deepcopy(model), "do_sample": False},
    )
    for options in ways:
        options = options if "generation_config" in options else options | {"max_new_tokens": 5}
        new = model.generate(**inputs(model), **options)[:, prompt(model).shape[1] :]
        assert new.numel() and not (new == IMAGE).any(), options
        assert not (model.generate(input_ids=torch.tensor([[1, 10, 11]]), **options) == IMAGE).any(), options
    model.generation_config = GenerationConfig(suppress_tokens=[9])
    assert model.generation_config.suppress_tokens == [9, IMAGE]
    model.save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path).suppress_tokens == [9, IMAGE]
    # A folder of an earlier version does not say it.
    GenerationConfig().save_pretrained(tmp_path)
    assert ArgusForConditionalGeneration.from_pretrained(tmp_path).generation_config.suppress_tokens == [IMAGE]


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_towers_give_hidden_states_and_attentions_where_asked(own, implementation):
    own.set_attn_implementation(implementation)
    tower, scans = own.model.vision_tower, volumes(own, 2)
    plain = tower(scans)
    assert plain.hidden_states is None and plain.attentions is None
    num_layers, count = tower.config.num_hidden_layers, plain.last_hidden_state.shape[1]
    for encode in (tower, own.get_image_features):
        asked = encode(scans, output_hidden_states=True, output_attentions=True)
        assert len(asked.hidden_states) == num_layers + 1 and len(asked.attentions) == num_layers
        # M3D's class token is in there too.
        assert all(hidden.shape[0] == 2 and 0 <= hidden.shape[1] - count <= 1 for hidden in asked.hidden_states)
        for weights in asked.attentions:
            close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        close(asked.last_hidden_state, plain.last_hidden_state)
    if hasattr(tower, "layer_norm"):
        normed = tower.layer_norm(asked.hidden_states[-1])[:, -count:]
        close(normed, plain.last_hidden_state)
    tower.config.output_hidden_states = True
    assert len(tower(scans).hidden_states) == num_layers + 1


@torch.no_grad()
def test_a_configuration_that_asks_for_tuples_gets_the_same_numbers(pair):
    expected = pair(**inputs(pair)).logits
    for config in (pair.config, pair.config.vision_config, pair.config.text_config):
        config.return_dict = False
        outputs = pair(**inputs(pair))
        assert torch.equal(outputs[0] if isinstance(outputs, tuple) else outputs.logits, expected)
    assert pair.generate(**inputs(pair), max_new_tokens=2, do_sample=False).shape[1] > prompt(pair).shape[1]


def test_every_weight_learns_the_same_with_and_without_checkpointing(pair):
    if hasattr(pair.model.vision_tower, "codebook"):
        pair.model.vision_tower.codebook.decay = 1.0  # or the two passes would meet different codebooks
    gradients = []
    for prepare in (pair.train, pair.gradient_checkpointing_enable):
        prepare()
        pair.zero_grad()
        pair(**inputs(pair), labels=prompt(pair)).loss.backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in pair.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-3)


def test_one_example_is_learned_by_heart(make):
    own = make("argus", "pixel_shuffle").train()
    optimizer = torch.optim.AdamW(own.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = own(**inputs(own), labels=prompt(own)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_placeholders_do_not_count_in_the_loss(pair):
    ids = prompt(pair)
    masked = ids.masked_fill(ids == IMAGE, -100)
    assert torch.equal(pair(**inputs(pair), labels=ids).loss, pair(**inputs(pair), labels=masked).loss)


@torch.no_grad()
@pytest.mark.parametrize("tower", ["argus", "ct2rep"])
def test_models_compile_into_one_graph_and_export(make, tower):
    torch._dynamo.reset()
    own = make(tower, TOWER_COMPRESSORS[tower])
    expected = own(**inputs(own)).logits
    compiled = torch.compile(own, fullgraph=True, backend="eager")
    close(compiled(**inputs(own), use_cache=False).logits, expected)

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = own

        def forward(self, ids, scans):
            return self.own(input_ids=ids, pixel_values=scans, use_cache=False).logits

    exported = torch.export.export(Logits(), tuple(inputs(own).values()), strict=False)
    close(exported.module()(*inputs(own).values()), expected)
    with pytest.raises(RuntimeError):  # the exported graph checks placeholders too
        exported.module()(torch.full_like(prompt(own), 10), volumes(own))
