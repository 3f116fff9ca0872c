"""Loading of a model: type of its weights, bits, and the cache that generation writes to."""

import hostile_folders as hostile
import pytest
import torch
from accelerate.utils import compare_versions
from transformers.integrations import accelerate

from argus_inference import model_folder
from argus_inference.generation import generate_batch
from argus_inference.model_folder import Loading, load_model
from argus_processing.instructions import INSTRUCTION, INSTRUCTIONS

TEXTS = [INSTRUCTION, INSTRUCTIONS[20]]  # of different lengths, so that one is padded


@pytest.mark.parametrize("count", [1, 2])
def test_a_static_cache_writes_the_same_reports_as_a_dynamic_one(model_dir, loaded, scans, count):
    model, processor = load_model(model_dir, Loading(static_cache=True))
    expected = generate_batch(*loaded, scans[:count], TEXTS[:count], 12)
    used = []
    hook = model.model.language_model.register_forward_pre_hook(
        # From transformers 5.24 on it is named `cache`.
        lambda module, args, kwargs: used.append(type(kwargs.get("cache", kwargs.get("past_key_values"))).__name__),
        with_kwargs=True,
    )
    assert generate_batch(model, processor, scans[:count], TEXTS[:count], 12) == expected
    hook.remove()
    assert set(used) == {"StaticCache"}


@pytest.mark.parametrize("part", ["vision_tower", "connector", "language_model"])
@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_a_part_that_was_saved_in_half_precision_is_brought_to_the_others(model_dir, scans, tmp_path, part, dtype):
    folder = hostile.copy_folder(model_dir, tmp_path / "model")
    hostile.changed_weights(
        lambda weights: weights.update({name: weights[name].half() for name in weights if part in name})
    )(folder)
    hostile.edit(folder / "config.json", "vision_config", "dtype", to="float16")
    model, processor = load_model(folder, Loading(dtype=dtype))
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16 if dtype else torch.float32}
    assert generate_batch(model, processor, scans[:1], TEXTS[:1], 2)[0].num_tokens >= 0


def test_numbers_that_are_not_finite_are_told_with_the_part(model_dir, tmp_path):
    for part in ("vision tower", "connector", "language model"):
        folder = hostile.copy_folder(model_dir, tmp_path / part)
        name = "bias" if part != "language model" else "norm.weight"
        chosen = part.replace(" ", "_")

        def spoil(weights, chosen=chosen, name=name):
            for key in weights:
                if chosen in key and key.endswith(name):
                    weights[key] = torch.full_like(weights[key], float("nan"))

        hostile.changed_weights(spoil)(folder)
        with pytest.raises(ValueError, match=f"its {part} gives no finite numbers"):
            load_model(folder)


def test_bfloat16_is_what_is_asked_for(model_dir, scans):
    model, processor = load_model(model_dir, Loading(dtype="bfloat16"))
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert generate_batch(model, processor, scans[:1], TEXTS[:1], 4)[0].num_tokens > 0


def test_the_decoding_step_compiles_as_one_graph(model_dir, loaded):
    """Compile the whole step without a graph break, as transformers does with a static cache on a GPU."""
    model, _ = load_model(model_dir)
    ids = torch.tensor([[5, 6, 7]])
    step = torch.compile(model.forward, fullgraph=True, backend="eager")
    torch.testing.assert_close(step(input_ids=ids).logits, loaded[0](input_ids=ids).logits)


def test_missing_bitsandbytes_says_what_to_install(monkeypatch):
    monkeypatch.setattr(model_folder, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install '\.\[quantized\]'"):
        Loading(bits=4)


@pytest.mark.parametrize(("changes", "said"), [({"dtype": "float8"}, "float8"), ({"bits": 3}, "8 or 4")])
def test_unknown_settings_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Loading(**changes)


@pytest.mark.parametrize("bits", [8, 4])
def test_only_the_language_model_gets_fewer_bits(model_dir, scans, bits):
    pytest.importorskip("bitsandbytes")
    model, processor = load_model(model_dir, Loading(bits=bits))
    kinds = {
        part: {type(module).__name__ for module in model.get_submodule(part).modules()}
        for part in ("model.vision_tower", "model.connector", "model.language_model")
    }
    quantized = {8: "Linear8bitLt", 4: "Linear4bit"}[bits]
    assert {part for part, names in kinds.items() if quantized in names} == {"model.language_model"}
    assert generate_batch(model, processor, scans[:1], TEXTS[:1], 3)[0].num_tokens > 0


def test_an_accelerate_that_mixes_up_weights_on_disk_is_refused(monkeypatch):
    monkeypatch.setattr("accelerate.utils.compare_versions", lambda *said: True)
    with pytest.raises(ValueError, match="^device_map needs accelerate 1.15 or newer, and this is .*: pip install"):
        Loading(device_map="auto").arguments("cpu")


# Refused by the function above with those libraries.
@pytest.mark.skipif(compare_versions("accelerate", "<", "1.15"), reason="refused with accelerate before 1.15")
@pytest.mark.parametrize("share", [0.9, 0.7])
def test_a_model_spread_over_memory_and_disk_writes_the_same(model_dir, loaded, scans, monkeypatch, share):
    infer = accelerate.infer_auto_device_map
    size = sum(weight.numel() * weight.element_size() for weight in loaded[0].parameters())
    # As if the model did not fit into this machine's memory.
    monkeypatch.setattr(
        accelerate,
        "infer_auto_device_map",
        lambda model, max_memory, **options: infer(model, max_memory={"cpu": int(share * size)}, **options),
    )
    model, processor = load_model(model_dir, Loading(device_map="auto"))
    assert set(model.hf_device_map.values()) == {"cpu", "disk"}
    # Nothing below a tower, a connector or a layer of the language model has a place of its own.
    whole = (
        "model.vision_tower.",
        "model.connector.",
        *(f"model.language_model.layers.{layer}." for layer in range(4)),
    )
    assert not any(place.startswith(whole) for place in model.hf_device_map)
    assert generate_batch(model, processor, scans[:2], TEXTS, 12) == generate_batch(*loaded, scans[:2], TEXTS, 12)
