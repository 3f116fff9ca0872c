"""llama.cpp writes what transformers writes, token by token; `make test-llama-cpp` runs this.

ARGUS_MODEL names a saved model, such as the demo's; without it a random one is used, built as Llama 3.2 is.
"""

import json
import os
import shutil
from pathlib import Path

import datasets
import pytest
import torch
from llama_folders import make_folder

from argus_inference.generation import inputs_of, prompt_of
from argus_inference.llama_cpp import llama_cpp_model
from argus_inference.llama_cpp.export_gguf import export_gguf
from argus_inference.model_folder import hash_model, load_model
from argus_processing.instructions import INSTRUCTION, INSTRUCTIONS

llama_cpp = pytest.importorskip("llama_cpp", reason="extra llama-cpp, which is compiled")

from argus_inference.llama_cpp.llama_cpp_model import load_with_gguf  # noqa: E402

MAX_TOKENS = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    given = os.environ.get("ARGUS_MODEL")
    return Path(given).resolve() if given else make_folder(tmp_path_factory.mktemp("model"), tie_word_embeddings=True)


@pytest.fixture(scope="module")
def exact(folder, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "exact.gguf"
    export_gguf(folder, path, "f32")
    return path


@pytest.fixture(scope="module")
def reference(folder):
    """The model in transformers."""
    return load_model(folder)


@pytest.fixture(scope="module")
def ours(folder, exact):
    """The same model with its language model in llama.cpp."""
    return load_with_gguf(folder, exact)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    options = {"num_train": 1, "num_validation": 1, "num_test": 16, "spacing_mm": (8.0, 4.0, 4.0)}
    rows = datasets.load_dataset("ct3drrg", "phantom", cache_dir=str(tmp_path_factory.mktemp("cache")), **options)
    images = rows["test"].cast_column("image", datasets.Nifti(decode=False))["image"]
    return [Path(image["path"]) for image in images]


def greedy(loaded, scans: list[Path], instructions: tuple[str, ...] = (INSTRUCTION,)) -> list[list[int]]:
    """The token ids of each report, with the one that ends it and padding after that."""
    model, processor = loaded
    prompts = [prompt_of(processor, instruction) for instruction in instructions * len(scans)]
    inputs = inputs_of(processor, prompts[: len(scans)], scans)
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
    return tokens[:, inputs["input_ids"].shape[1] :].tolist()


def test_logits_after_a_prompt_are_those_of_transformers(reference, ours, files):
    inputs = inputs_of(reference[1], [prompt_of(reference[1], INSTRUCTION)], files[:1])
    with torch.inference_mode():
        expected = reference[0](**inputs).logits[0, -1]
        logits = ours[0](**inputs).logits[0, -1]
    assert float((logits - expected).abs().max() / expected.abs().max()) < 1e-4


def test_token_ids_are_those_of_transformers(reference, ours, files):
    expected = [greedy(reference, [file])[0] for file in files]
    assert len({tuple(tokens) for tokens in expected}) > len(files) // 4  # the reports differ
    assert [greedy(ours, [file])[0] for file in files] == expected


def test_texts_of_different_lengths_are_written_together(reference, ours, files):
    instructions = tuple(sorted(INSTRUCTIONS, key=len)[:: len(INSTRUCTIONS) - 1])
    assert len({len(text) for text in instructions}) == 2
    assert greedy(ours, files[:2], instructions) == greedy(reference, files[:2], instructions)
    # And fewer after more.
    assert greedy(ours, files[:1]) == greedy(reference, files[:1])


def test_settings_of_generation_are_those_of_transformers(reference, ours, files):
    settings = {"repetition_penalty": 1.3, "min_new_tokens": 5, "no_repeat_ngram_size": 3}
    inputs = inputs_of(reference[1], [prompt_of(reference[1], INSTRUCTION)], files[:1])
    with torch.inference_mode():
        written = [
            model.generate(**inputs, max_new_tokens=40, do_sample=False, **settings).tolist()
            for model, _ in (reference, ours)
        ]
    assert written[0] == written[1]


def test_llama_cpp_reads_words_as_the_tokenizer_does(reference, exact):
    from argus_inference.llama_cpp.llama_library import GgufModel

    model = GgufModel(exact)
    vocabulary = llama_cpp.llama_model_get_vocab(model._model)
    tokenizer = reference[1].tokenizer
    texts = [*INSTRUCTIONS, "No pleural effusion; 12 mm nodule (right).\n\nImpression: it's <|eot_id|>", "  a\n \n b"]
    for text in texts:
        content, ids = text.encode(), (llama_cpp.llama_token * 4096)()
        count = llama_cpp.llama_tokenize(vocabulary, content, len(content), ids, 4096, False, True)
        assert list(ids[:count]) == tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0", "q4_0", "q4_k_m"])
def test_every_type_of_file_writes_reports(folder, exact, files, tmp_path, kind):
    path = tmp_path / "out.gguf"
    export_gguf(folder, path, kind)
    assert sorted(os.listdir(tmp_path)) == ["out.gguf"]
    assert path.stat().st_size < 0.6 * exact.stat().st_size
    (tokens,) = greedy(load_with_gguf(folder, path), files[:1])
    assert 0 < len(tokens) <= MAX_TOKENS


def test_the_command_writes_the_same_reports(argus, folder, exact, files):
    command = ("report", *map(str, files[:2]), "--model", str(folder), "--json", "--max-new-tokens", "60")
    lines = []
    for options in ((), ("--llm", str(exact))):
        code, stdout, _ = argus(*command, *options)
        assert code == 0
        lines.append([json.loads(line) for line in stdout.splitlines()])
    theirs, ours = lines
    assert {line.pop("model_hash") for line in theirs} == {hash_model(folder)}
    assert {line.pop("model_hash") for line in ours} == {llama_cpp_model.hash_with_gguf(folder, exact)}
    assert ours == theirs


def test_a_file_of_another_model_is_refused(folder, exact, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    name = next(name for name in weights if name.startswith("model.connector."))
    weights[name] = weights[name] + 0.01
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="exported from another model"):
        load_with_gguf(other, exact)


@pytest.mark.parametrize("damage", ["empty", "junk", "cut", "no file"])
def test_damaged_files_are_refused_in_a_line(folder, exact, tmp_path, damage):
    path, content = tmp_path / "bad.gguf", exact.read_bytes()
    if damage != "no file":
        path.write_bytes({"empty": b"", "junk": b"GGUF" + bytes(5000), "cut": content[: len(content) // 2]}[damage])
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        load_with_gguf(folder, path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
