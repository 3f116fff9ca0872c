import numpy as np
import pytest
import torch

from argus_inference.llama_cpp.text_reader import SPARE_TOKENS, TextReader

IMAGE, WIDTH, VOCABULARY = 9, 4, 12


class Context:
    """Keeps what it is asked to read, and tells the number of it as logits."""

    def __init__(self, language: "Language", num_sequences: int, length: int) -> None:
        self.language, self.num_sequences, self.length = language, num_sequences, length

    def clear(self) -> None:
        self.language.said.append("clear")

    def read(self, content, sequences, positions) -> np.ndarray:
        kind = "embeddings" if isinstance(content, np.ndarray) else list(content)
        self.language.said.append((kind, list(sequences), list(positions)))
        return np.full((len(set(sequences)), VOCABULARY), len(self.language.said), np.float32)


class Language:
    def __init__(self) -> None:
        self.said: list = []
        self.opened: list[tuple[int, int, int]] = []

    def open(self, num_sequences: int, length: int, num_threads: int) -> Context:
        self.opened.append((num_sequences, length, num_threads))
        return Context(self, num_sequences, length)

    def take(self) -> list:
        said, self.said = self.said, []
        return said


@pytest.fixture
def language() -> Language:
    return Language()


@pytest.fixture
def reader(language) -> TextReader:
    return TextReader(language, IMAGE, num_threads=3)


def features(texts: int = 1, count: int = 2) -> torch.Tensor:
    return torch.zeros(texts, count, WIDTH)


def test_words_are_read_as_tokens_and_the_scan_between_them_as_embeddings(reader, language):
    logits = reader.read([[1, 2, IMAGE, IMAGE, 5]], "scan", features)
    assert logits.shape == (1, VOCABULARY)
    assert language.take() == [
        "clear",
        ([1, 2], [0, 0], [0, 1]),
        ("embeddings", [0, 0], [2, 3]),
        ([5], [0], [4]),
    ]
    assert language.opened == [(1, 5 + SPARE_TOKENS, 3)]


def test_of_a_text_that_goes_on_only_the_new_token_is_read(reader, language):
    text = [1, IMAGE, IMAGE, 5]
    reader.read([text], "scan", features)
    language.take()
    reader.read([[*text, 6]], "scan", lambda: pytest.fail("the scan is encoded again"))
    assert language.take() == [([6], [0], [4])]


@pytest.mark.parametrize("text", [[1, IMAGE, IMAGE, 5, 6], [1, IMAGE, IMAGE, 7]])
def test_the_same_prompt_with_another_scan_is_read_whole(reader, language, text):
    first, second = object(), object()
    reader.read([[1, IMAGE, IMAGE, 5]], first, features)
    language.take()
    reader.read([text], second, features)
    assert language.take()[:2] == ["clear", ([1], [0], [0])]


def test_texts_of_a_batch_have_places_of_their_own_and_go_on_together(reader, language):
    texts = [[1, IMAGE, IMAGE, 5], [IMAGE, IMAGE, 5]]
    logits = reader.read(texts, "scans", lambda: features(2))
    assert logits.shape == (2, VOCABULARY)
    assert language.take() == [
        "clear",
        ([1], [0], [0]),
        ("embeddings", [0, 0], [1, 2]),
        ([5], [0], [3]),
        ("embeddings", [1, 1], [0, 1]),
        ([5], [1], [2]),
    ]
    reader.read([[*texts[0], 6], [*texts[1], 7]], "scans", lambda: None)
    assert language.take() == [([6, 7], [0, 1], [4, 3])]


def test_a_report_longer_than_the_room_is_read_again_in_a_larger_one(reader, language):
    text = [1]
    reader.read([text], None, lambda: None)
    text = [1] * (1 + SPARE_TOKENS)
    reader.read([text], None, lambda: None)
    assert [length for _, length, _ in language.opened] == [1 + SPARE_TOKENS]
    reader.read([[*text, 1]], None, lambda: None)
    assert [length for _, length, _ in language.opened] == [1 + SPARE_TOKENS, 2 + 2 * SPARE_TOKENS]


@pytest.mark.parametrize("text", [[1, IMAGE, 5], [1, 5], [IMAGE, 1, IMAGE]])
def test_a_text_without_a_place_for_the_scan_is_refused(reader, text):
    with pytest.raises(ValueError, match="Image features and image tokens do not match: 2 visual tokens"):
        reader.read([text], "scan", features)
    # Nothing is taken for read after a refusal.
    reader.read([[IMAGE, IMAGE, 5]], "scan", features)
