"""Run RaTEScore's algorithm: find entities by one network, embed them by another, and score each pair of reports.

Zhao et al., "RaTEScore: A Metric for Radiology Report Generation" (EMNLP 2024), implemented with transformers and the
published models and weights. The tests compare it with recorded results of the package `RaTEScore`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from argus_processing.report_text import split_sentences

from .rate_affinity import AFFINITY, NEGATION_WEIGHT, OPPOSITES

NO_ENTITY_SCORE = 0.5  # published convention if either side has no entity, and so for every empty report
MIN_SENTENCE_CHARS = 3  # the published code skips shorter ones
MAX_SENTENCE_WORDS = 200  # keeps a text without a full stop within the models' 512 positions
ENTITY_TOKENS, SENTENCE_TOKENS = 30, 512
SPLITTER = "argus-sentences-v1"
# Read at loading, so that an error shows at once; the two have different lengths, so that one is padded.
TRIAL = ["There is a small nodule in the left lobe.", "No nodule."]

Entity = tuple[str, str]  # text, type


def join_tags(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Join B-, I- and O tags to entities `(first, last, type)`; an I- without a B- before it is left out."""
    entities: list[tuple[int, int, str]] = []
    open_entity = False
    for place, tag in enumerate(tags):
        if tag.startswith("B-"):
            entities.append((place, place, tag[2:]))
        elif tag.startswith("I-") and open_entity:
            first, _, kind = entities[-1]
            entities[-1] = (first, place, kind)
        open_entity = tag.startswith("B-") or (open_entity and tag.startswith("I-"))
    return entities


def rate_score(
    predicted: np.ndarray, predicted_types: Sequence[str], wanted: np.ndarray, wanted_types: Sequence[str]
) -> float:
    """Compute RaTEScore (0 to 1) of two sets of entities, from their embeddings `(N, E)` and types.

    It is the harmonic mean of two values: each says how well the entities of one side are found on the other side.
    """
    if not len(predicted) or not len(wanted):
        return NO_ENTITY_SCORE
    precision = _found(wanted, wanted_types, predicted, predicted_types)
    recall = _found(predicted, predicted_types, wanted, wanted_types)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _found(ours: np.ndarray, our_types: Sequence[str], theirs: np.ndarray, their_types: Sequence[str]) -> float:
    """Compute the weighted mean cosine of our entities with the nearest of theirs; contradictions lower it."""
    cosines = _normalized(ours) @ _normalized(theirs).T
    nearest = cosines.argmax(axis=1)
    pairs = [(kind, their_types[place]) for kind, place in zip(our_types, nearest, strict=True)]
    weights = np.array([AFFINITY[pair] for pair in pairs])
    penalties = np.array([NEGATION_WEIGHT if pair in OPPOSITES else 1.0 for pair in pairs])
    return float((cosines.max(axis=1) * weights * penalties).sum() / weights.sum())


def _normalized(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


class RateModel:
    """The two networks of RaTEScore: one tags entities in sentences, one embeds entities by their first token.

    Args:
        entity_path, embedding_path: folders of the two networks.
        batch_size: number of reports read together; the networks get eight times as many sentences or entities.
    """

    def __init__(self, entity_path: Path, embedding_path: Path, batch_size: int):
        import torch
        from transformers import AutoModel, AutoModelForTokenClassification

        from argus_processing.saved_models.model_folders import TAGGER, TEXT_ENCODER
        from argus_processing.saved_models.pretrained import load_pretrained, load_tokenizer, refusing

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        tagger = load_pretrained(AutoModelForTokenClassification, entity_path, TAGGER, dtype=torch.float32)
        _check_types(entity_path, tagger.config.id2label)
        self._tagger = tagger.to(self._device).eval()
        embedder = load_pretrained(AutoModel, embedding_path, TEXT_ENCODER, dtype=torch.float32)
        self._embedder = embedder.to(self._device).eval()
        self._tagger_tokens = load_tokenizer(entity_path)
        self._embedder_tokens = load_tokenizer(embedding_path)
        self._texts_at_a_time = 8 * batch_size
        with refusing(entity_path, "fetch the weights again"):
            self._tag(TRIAL)
        with refusing(embedding_path, "fetch the weights again"):
            self._embed(TRIAL)

    def answer(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return for each (prediction, reference) its `score` (0 to 1) and the number of `entities` on each side."""
        reports = list(dict.fromkeys(text for pair in pairs for text in pair))
        entities = dict(zip(reports, self.find_entities(reports), strict=True))
        names = list(dict.fromkeys(name for found in entities.values() for name, _ in found))
        places = {name: place for place, name in enumerate(names)}
        vectors = self._embed(names)

        def side(report: str) -> tuple[np.ndarray, list[str]]:
            found = entities[report]
            return vectors[[places[name] for name, _ in found]], [kind for _, kind in found]

        return [
            {
                "score": rate_score(*side(prediction), *side(reference)),
                "entities": [len(entities[prediction]), len(entities[reference])],
            }
            for prediction, reference in pairs
        ]

    def find_entities(self, reports: Sequence[str]) -> list[list[Entity]]:
        """Return each report's entities in order of the text; an empty list for a report without a sentence."""
        sentences = [_sentences_of(report) for report in reports]
        tagged = iter(self._tag([sentence for report in sentences for sentence in report]))
        return [[entity for _ in report for entity in next(tagged)] for report in sentences]

    def _tag(self, sentences: list[str]) -> list[list[Entity]]:
        import torch

        found: list[list[Entity]] = []
        for start in range(0, len(sentences), self._texts_at_a_time):
            part = sentences[start : start + self._texts_at_a_time]
            options = {"max_length": SENTENCE_TOKENS, "truncation": True, "padding": True, "return_tensors": "pt"}
            inputs = self._tagger_tokens(part, **options)
            with torch.inference_mode():
                labels = self._tagger(**inputs.to(self._device)).logits.argmax(dim=2).tolist()
            ids = inputs["input_ids"].tolist()
            found += [self._entities_of(*sentence) for sentence in zip(ids, labels, strict=True)]
        return found

    def _entities_of(self, ids: list[int], labels: list[int]) -> list[Entity]:
        """Return the entities of one sentence from its token ids and their labels."""
        tokenizer, names = self._tagger_tokens, self._tagger.config.id2label
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        words = [(token, names[label]) for token, label in zip(ids, labels, strict=True) if token not in special]
        tokens = tokenizer.convert_ids_to_tokens([token for token, _ in words])
        return [
            (tokenizer.convert_tokens_to_string(tokens[first : last + 1]).strip(), kind)
            for first, last, kind in join_tags([tag for _, tag in words])
        ]

    def _embed(self, names: list[str]) -> np.ndarray:
        """Compute the embeddings `(N, E)` of entities: the last hidden state of their first token."""
        import torch

        parts = [np.zeros((0, self._embedder.config.hidden_size), dtype=np.float32)]
        for start in range(0, len(names), self._texts_at_a_time):
            part = names[start : start + self._texts_at_a_time]
            options = {"max_length": ENTITY_TOKENS, "truncation": True, "padding": True, "return_tensors": "pt"}
            inputs = self._embedder_tokens(part, **options).to(self._device)
            with torch.inference_mode():
                parts.append(self._embedder(**inputs).last_hidden_state[:, 0].cpu().numpy())
        return np.concatenate(parts)


def _check_types(path: Path, labels: Mapping[int, str]) -> None:
    known = {kind for kind, _ in AFFINITY}
    strange = {label[2:] for label in labels.values() if label != "O"} - known
    if strange:
        raise ValueError(
            f"{path}: tags {', '.join(sorted(strange))}, which are not RaTE-NER's {', '.join(sorted(known))}"
        )


def _sentences_of(report: str) -> list[str]:
    """Cut a report into sentences, line by line; a sentence of more than `MAX_SENTENCE_WORDS` is cut again."""
    sentences = []
    for line in report.splitlines():
        for sentence in split_sentences(line):
            words = sentence.split()
            starts = range(0, len(words), MAX_SENTENCE_WORDS)
            sentences += [" ".join(words[start : start + MAX_SENTENCE_WORDS]) for start in starts]
    return [sentence for sentence in sentences if len(sentence) >= MIN_SENTENCE_CHARS]
