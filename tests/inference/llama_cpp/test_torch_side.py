"""Torch's part of writing with llama.cpp, which transformers' own language model stands in for."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from argus_inference.generation import generate_batch, inputs_of, prompt_of
from argus_inference.llama_cpp import llama_cpp_model
from argus_inference.llama_cpp.export_gguf import SIGHT_KEY
from argus_inference.llama_cpp.llama_cpp_model import hash_with_gguf, load_with_gguf
from argus_inference.llama_cpp.sight import FolderWeights, hash_sight
from argus_processing.instructions import INSTRUCTION, INSTRUCTIONS

MAX_TOKENS = 24


class Context:
    """Reads with the language model of transformers, from the start each time."""

    def __init__(self, model, num_sequences: int, length: int) -> None:
        self._model, self.num_sequences, self.length = model, num_sequences, length
        self.num_texts, self.num_rows = 0, 0
        self.clear()

    def clear(self) -> None:
        self.num_texts += 1
        self._embeddings: dict[int, list[torch.Tensor]] = defaultdict(list)

    @torch.inference_mode()
    def read(self, content, sequences, positions) -> np.ndarray:
        if isinstance(content, np.ndarray):
            rows = torch.from_numpy(content)
        else:
            rows = self._model.get_input_embeddings()(torch.tensor(content))
        self.num_rows += len(rows)
        for row, sequence, position in zip(rows, sequences, positions, strict=True):
            assert position == len(self._embeddings[sequence])
            self._embeddings[sequence].append(row)
        logits = []
        for sequence in dict.fromkeys(sequences):
            hidden = self._model.model.language_model(inputs_embeds=torch.stack(self._embeddings[sequence])[None])
            logits.append(self._model.lm_head(hidden.last_hidden_state[0, -1]).numpy())
        return np.stack(logits)


class Language:
    """In the place of `GgufModel`."""

    def __init__(self, model, folder: Path) -> None:
        self._model, self.path = model, Path("llm.gguf")
        text = model.config.text_config
        self.num_tokens, self.num_embeddings = text.vocab_size, text.hidden_size
        self.said = {SIGHT_KEY: hash_sight(FolderWeights(folder))}

    def told(self, key: str) -> str | None:
        return self.said.get(key)

    def open(self, num_sequences: int, length: int, num_threads: int) -> Context:
        self.context = Context(self._model, num_sequences, length)
        return self.context


@pytest.fixture
def language(loaded, model_dir, monkeypatch) -> Language:
    language = Language(loaded[0], model_dir)
    monkeypatch.setattr(llama_cpp_model, "GgufModel", lambda path: language)
    monkeypatch.setattr(llama_cpp_model, "find_spec", lambda name: object())
    return language


@pytest.fixture
def ours(language, model_dir):
    return load_with_gguf(model_dir, Path("llm.gguf"))


def test_reports_are_those_of_transformers(loaded, ours, scans):
    for scan in scans[:2]:
        assert generate_batch(*ours, [scan], [INSTRUCTION], MAX_TOKENS) == generate_batch(
            *loaded, [scan], [INSTRUCTION], MAX_TOKENS
        )


def test_reports_of_a_batch_are_those_of_transformers(loaded, ours, scans):
    prompts = sorted(INSTRUCTIONS, key=len)[::2][:3]
    expected = generate_batch(*loaded, scans[:3], prompts, MAX_TOKENS)
    assert len({report.text for report in expected}) > 1
    assert generate_batch(*ours, scans[:3], prompts, MAX_TOKENS) == expected


def test_the_language_model_takes_no_memory_in_torch(ours):
    model, _ = ours
    assert {parameter.device.type for parameter in model.model.language_model.parameters()} == {"meta"}
    assert {parameter.device.type for parameter in model.model.vision_tower.parameters()} == {"cpu"}


def test_each_token_is_read_once(language, ours, scans):
    model, processor = ours
    before = language.context.num_texts, language.context.num_rows
    inputs = inputs_of(processor, [prompt_of(processor, INSTRUCTION)], scans[:1])
    with torch.inference_mode():
        written = model.generate(**inputs, max_new_tokens=MAX_TOKENS, min_new_tokens=MAX_TOKENS)
    after = language.context.num_texts, language.context.num_rows
    assert (after[0] - before[0], after[1] - before[1]) == (1, written.shape[1] - 1)


def test_a_streamer_gets_each_token(ours, scans):
    class Streamer:
        tokens: list[int] = []

        def put(self, value: torch.Tensor) -> None:
            self.tokens += value.flatten().tolist()

        def end(self) -> None:
            self.tokens.append(-1)

    streamer = Streamer()
    (report,) = generate_batch(*ours, scans[:1], [INSTRUCTION], MAX_TOKENS, streamer)
    assert streamer.tokens[-1] == -1 and len(streamer.tokens) > report.num_tokens


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"said": {}}, "was not written by argus export-gguf"),
        ({"said": {SIGHT_KEY: "0" * 64}}, "was exported from another model"),
        ({"num_tokens": 7}, "has 7 tokens"),
        ({"num_embeddings": 5}, "of 5 channels"),
    ],
)
def test_a_file_of_another_model_is_refused(language, model_dir, change, said):
    vars(language).update(change)
    with pytest.raises(ValueError, match=said):
        load_with_gguf(model_dir, Path("llm.gguf"))


def test_the_hash_is_of_both_folder_and_file(model_dir, tmp_path):
    hashes = set()
    for content in (b"one", b"two"):
        (tmp_path / "llm.gguf").write_bytes(content)
        hashes.add(hash_with_gguf(model_dir, tmp_path / "llm.gguf"))
    assert len(hashes) == 2
