import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from llama_folders import LLAMA_3, make_folder
from safetensors.torch import load_file, save_file

from argus_inference.llama_cpp import export_gguf as exporting
from argus_inference.llama_cpp.export_gguf import export_gguf
from argus_inference.llama_cpp.gguf_tensors import pair_rows, rope_factors
from argus_inference.llama_cpp.gguf_vocabulary import read_vocabulary

gguf = pytest.importorskip("gguf", reason="extra gguf")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model as Llama 3.2 is built: groups of heads, scaled rotary embedding, tied output layer; with biases."""
    return make_folder(tmp_path_factory.mktemp("tied"), tie_word_embeddings=True, attention_bias=True)


@pytest.fixture(scope="module")
def untied(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("untied"), rope_parameters={"rope_type": "default", "rope_theta": 1e4})


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}


def rotate_halves(vector: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Rotate channels i and i + d/2 of a head together, as transformers does, with complex numbers."""
    half = len(vector) // 2
    turned = (vector[:half] + 1j * vector[half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag])


def rotate_neighbours(vector: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Rotate channels 2i and 2i + 1 together, as llama.cpp does."""
    turned = (vector[0::2] + 1j * vector[1::2]) * np.exp(1j * angles)
    return np.stack([turned.real, turned.imag], axis=1).ravel()


def test_attention_scores_are_the_same_with_either_order_of_rows():
    generator = torch.Generator().manual_seed(0)
    heads, size, width = 3, 8, 16
    query, key = (torch.randn(heads * size, width, generator=generator, dtype=torch.float64) for _ in range(2))
    x, y = (torch.randn(width, generator=generator, dtype=torch.float64) for _ in range(2))
    frequencies = 1.0 / 10000 ** (np.arange(0, size, 2) / size)
    for head in range(heads):
        rows = slice(head * size, (head + 1) * size)
        theirs = [
            rotate_halves((matrix[rows] @ vector).numpy(), place * frequencies)
            for matrix, vector, place in ((query, x, 7), (key, y, 3))
        ]
        ours = [
            rotate_neighbours((pair_rows(matrix, heads)[rows] @ vector).numpy(), place * frequencies)
            for matrix, vector, place in ((query, x, 7), (key, y, 3))
        ]
        assert np.dot(*ours) == pytest.approx(np.dot(*theirs), rel=1e-12)


def test_the_first_head_of_six_rows_interleaves_its_halves():
    assert pair_rows(torch.arange(12), 2).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


def test_every_weight_is_in_the_file_once(folder, tmp_path):
    assert export_gguf(folder, tmp_path / "out.gguf", "f32")
    weights, tensors = weights_of(folder), tensors_of(tmp_path / "out.gguf")
    of_layer = {
        "attn_norm.weight": "input_layernorm.weight",
        "ffn_norm.weight": "post_attention_layernorm.weight",
        "attn_output.weight": "self_attn.o_proj.weight",
        "attn_output.bias": "self_attn.o_proj.bias",
        "attn_v.weight": "self_attn.v_proj.weight",
        "attn_v.bias": "self_attn.v_proj.bias",
        "ffn_gate.weight": "mlp.gate_proj.weight",
        "ffn_up.weight": "mlp.up_proj.weight",
        "ffn_down.weight": "mlp.down_proj.weight",
    }
    expected = {
        "token_embd.weight": weights["model.language_model.embed_tokens.weight"],
        "output_norm.weight": weights["model.language_model.norm.weight"],
    }
    for layer in range(3):
        ours = f"model.language_model.layers.{layer}."
        expected |= {f"blk.{layer}.{name}": weights[ours + source] for name, source in of_layer.items()}
        for name, heads in (("q", 8), ("k", 2)):
            for kind in ("weight", "bias"):
                rows = weights[f"{ours}self_attn.{name}_proj.{kind}"]
                expected[f"blk.{layer}.attn_{name}.{kind}"] = pair_rows(rows, heads)
    assert tensors.keys() == expected.keys() | {"rope_freqs.weight"}
    for name, weight in expected.items():
        assert np.array_equal(tensors[name], weight.numpy()), name


def test_an_output_layer_of_its_own_is_written_and_factors_of_one_are_not(untied, tmp_path):
    export_gguf(untied, tmp_path / "out.gguf", "f32")
    tensors = tensors_of(tmp_path / "out.gguf")
    assert np.array_equal(tensors["output.weight"], weights_of(untied)["lm_head.weight"].numpy())
    assert "rope_freqs.weight" not in tensors


@pytest.mark.parametrize(("kind", "tensor_type"), [("f16", "F16"), ("bf16", "BF16")])
def test_matrices_have_16_bits_and_vectors_32(folder, tmp_path, kind, tensor_type):
    export_gguf(folder, tmp_path / "out.gguf", kind)
    weights = weights_of(folder)
    for tensor in gguf.GGUFReader(tmp_path / "out.gguf").tensors:
        assert tensor.tensor_type.name == (tensor_type if len(tensor.shape) > 1 else "F32")
        if tensor.name == "blk.1.ffn_up.weight":
            exact = weights["model.language_model.layers.1.mlp.up_proj.weight"]
            rounded = exact.to(torch.float16 if kind == "f16" else torch.bfloat16).float()
            read = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            assert np.array_equal(read, rounded.numpy())


def test_long_waves_are_divided_by_the_factor_and_short_ones_stay(folder):
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder).text_config
    factors = rope_factors(config)
    for index, factor in enumerate(factors.tolist()):
        wave = 2 * math.pi * 500_000 ** (2 * index / 32)
        if wave < 64 / 4:
            assert factor == pytest.approx(1)
        elif wave > 64 / 1:
            assert factor == pytest.approx(32)
        else:  # between, a mean of both frequencies by place
            share = (64 / wave - 1) / (4 - 1)
            assert 1 / factor == pytest.approx((1 - share) / 32 + share, rel=1e-5)
    assert {round(factor) for factor in factors.tolist()} >= {1, 32}


def test_sizes_and_vocabulary_are_told(folder, tmp_path):
    export_gguf(folder, tmp_path / "out.gguf", "f16")
    fields = {name: field.contents() for name, field in gguf.GGUFReader(tmp_path / "out.gguf").fields.items()}
    expected = {
        "general.architecture": "llama",
        "llama.block_count": 3,
        "llama.context_length": 1024,
        "llama.embedding_length": 128,
        "llama.feed_forward_length": 256,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 32,
        "llama.rope.dimension_count": 32,
        "llama.rope.freq_base": 500_000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
    }
    assert {name: fields[name] for name in expected} == expected
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokens = fields["tokenizer.ggml.tokens"]
    assert len(tokens) == fields["llama.vocab_size"] == 400
    assert all(tokens[number] == token for token, number in tokenizer["model"]["vocab"].items())
    assert [pair.split(" ") for pair in fields["tokenizer.ggml.merges"]] == tokenizer["model"]["merges"]
    special = [token["id"] for token in tokenizer["added_tokens"]]
    kinds = fields["tokenizer.ggml.token_type"]
    assert [number for number, kind in enumerate(kinds) if kind == gguf.TokenType.CONTROL] == special
    assert tokens[fields["tokenizer.ggml.eos_token_id"]] == "<|eot_id|>"


def test_the_file_of_the_same_folder_is_the_same_and_knows_its_tower(folder, untied, tmp_path):
    said = []
    for number, source in enumerate((folder, folder, untied)):
        export_gguf(source, tmp_path / f"{number}.gguf", "f16")
        field = gguf.GGUFReader(tmp_path / f"{number}.gguf").fields["argus.sight_sha256"]
        said.append(field.contents())
    assert (tmp_path / "0.gguf").read_bytes() == (tmp_path / "1.gguf").read_bytes()
    # Other language models, but the tower and connector of the same seed.
    assert said[0] == said[1] == said[2] and len(said[0]) == 64


class Cut:
    """A tokenizer with a tokenizer.json of the given parts."""

    def __init__(self, pre_tokenizer: dict, **model) -> None:
        model = {"type": "BPE", "merges": [["a", "b"]], "ignore_merges": False, "byte_fallback": False} | model
        content = {"model": model, "pre_tokenizer": pre_tokenizer, "normalizer": None, "added_tokens": []}
        self.backend_tokenizer = self
        self._text = json.dumps(content)

    def to_str(self) -> str:
        return self._text

    def get_vocab(self) -> dict[str, int]:
        return {"a": 0, "b": 1, "ab": 3}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
DIGITS = {"type": "Digits", "individual_digits": True}


@pytest.mark.parametrize(
    ("tokenizer", "split"),
    [
        (Cut({**BYTES, "use_regex": True}), "gpt-2"),
        (Cut({"type": "Sequence", "pretokenizers": [DIGITS, {**BYTES, "use_regex": True}]}), "smollm"),
        (
            Cut(
                {
                    "type": "Sequence",
                    "pretokenizers": [
                        {"type": "Split", "pattern": {"Regex": LLAMA_3}, "behavior": "Isolated", "invert": False},
                        {**BYTES, "use_regex": False},
                    ],
                },
                ignore_merges=True,
            ),
            "llama-bpe",
        ),
        (Cut({**BYTES, "use_regex": True, "add_prefix_space": True}), None),
        (Cut({**BYTES, "use_regex": True}, byte_fallback=True), None),
        (Cut({**BYTES, "use_regex": True}, ignore_merges=True), None),
        (Cut({"type": "Metaspace"}), None),
    ],
)
def test_a_vocabulary_is_written_only_where_llama_cpp_cuts_texts_alike(tokenizer, split):
    vocabulary = read_vocabulary(tokenizer, 5)
    assert (vocabulary and vocabulary.split) == split
    if split:
        assert vocabulary.tokens == ("a", "b", "[PAD2]", "ab", "[PAD4]")
        assert vocabulary.unused == {2, 4} and vocabulary.merges == ("a b",)


def changed(folder: Path, tmp_path: Path, **text) -> Path:
    """A copy of a folder with other values in the language model's configuration."""
    copy = tmp_path / "changed"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    config["text_config"] |= text
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ({"model_type": "mistral"}, "language model is a mistral"),
        ({"hidden_act": "gelu"}, "activation gelu"),
        (
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "rotary embedding is 'dynamic'",
        ),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(untied, tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        export_gguf(changed(untied, tmp_path, **text), tmp_path / "out.gguf", "f16")
    assert not list(tmp_path.glob("*.gguf")) and not list(tmp_path.glob(".argus-part-*"))


def test_adapters_and_other_folders_are_refused(untied, tmp_path):
    with pytest.raises(FileNotFoundError):
        export_gguf(tmp_path / "none", tmp_path / "out.gguf", "f16")
    with_adapter = changed(untied, tmp_path)
    (with_adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="merge them first"):
        export_gguf(with_adapter, tmp_path / "out.gguf", "f16")
    with pytest.raises(ValueError, match="one of f32, f16"):
        export_gguf(untied, tmp_path / "out.gguf", "q2_k")


def test_a_value_that_half_floats_cannot_hold_leaves_no_file(untied, tmp_path):
    copy = changed(untied, tmp_path)
    weights = weights_of(copy)
    weights["lm_head.weight"][0, 0] = 1e5
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    (tmp_path / "out.gguf").write_text("what was there before")
    with pytest.raises(ValueError, match=r"lm_head\.weight .* choose bf16"):
        export_gguf(copy, tmp_path / "out.gguf", "f16")
    assert (tmp_path / "out.gguf").read_text() == "what was there before"
    assert sorted(os.listdir(tmp_path)) == ["changed", "out.gguf"]
    export_gguf(copy, tmp_path / "out.gguf", "bf16")


def test_missing_packages_are_named_with_what_installs_them(untied, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"gguf: pip install '\.\[llama-cpp\]'"):
        export_gguf(untied, tmp_path / "out.gguf", "f16")
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "llama_cpp" else object())
    with pytest.raises(ValueError, match="llama-cpp-python"):
        export_gguf(untied, tmp_path / "out.gguf", "q4_0")
