"""Compute F1-RadGraph by RadGraph-XL: compare a report's entities and relations with the reference's.

Delbrouck et al., "RadGraph-XL" (ACL Findings 2024). Model and rewards come from the package `radgraph`. This module
adds the loading of local weights under transformers 5, and inference in batches (the package reads one by one).
"""

import importlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ..metric import Metric, MetricScores, mean_of_reports
from .clinical_answers import ClinicalModel, KeptModel, printable
from .clinical_weights import ClinicalOptions, MissingWeightsError, Weights, identify, missing_metric, read_config
from .radgraph_weights import language_model_name, safe_weights

MODEL_TYPE = "radgraph-xl"
WEIGHTS = Weights("StanfordAIMI/RRG_scorers", MODEL_TYPE, archive="radgraph-xl.tar.gz")
LANGUAGE_MODEL = "bert"  # folder inside the weights' folder: tokenizer and configuration that config.json names
INSTALL = "the package radgraph is not installed: pip install '.[clinical]'"
LEVELS = ("simple", "partial", "complete")
NAMES = tuple(f"RadGraph-XL {level}" for level in LEVELS)
# The number of span pairs, and so the memory, grows with the square of the tokens: 512 tokens take about 1 GB.
MAX_TOKENS = 512
# Read at loading, so that an error shows at once; the two have different lengths, so that one is padded.
TRIAL = ["There is a small nodule in the left lobe .", "No nodule ."]
Graph = dict[str, Any]


class RadGraphReader:
    """The RadGraph-XL model, which reads graphs from reports.

    Args:
        path: the unpacked weights, or their archive.
        language_model: folder with tokenizer and configuration of the language model inside RadGraph-XL.
        batch_size: number of reports read together, if they are short enough.
    """

    def __init__(self, path: Path, language_model: Path, batch_size: int):
        from radgraph import RadGraph

        self._batch_size = batch_size
        from argus_processing.saved_models.pretrained import refusing

        with safe_weights(path, MODEL_TYPE) as folder, refusing(path, "fetch the weights again"):
            with _transformers_4_names(language_model, folder / "weights.th"), redirect_stdout(StringIO()):
                self._radgraph = RadGraph(model_type=MODEL_TYPE, model_cache_dir=str(folder.parent))
                self._read_batch([text.split() for text in TRIAL])

    def answer(self, reports: Sequence[str]) -> list[Graph]:
        """Return each report's `{"entities": {...}}` in the package's format; empty for a report without a word.

        A report of more than 512 tokens is read in parts, cut after a full stop; there are no relations between parts.
        """
        from radgraph.utils import preprocess_reports

        parts = [_cut(entry["sentences"][0]) for entry in preprocess_reports(list(reports), MODEL_TYPE)]
        flat = [part for report in parts for part in report]
        # Sorted by length, because a batch of parts with similar lengths needs the least padding.
        order = sorted(range(len(flat)), key=lambda index: len(flat[index]))
        graphs: dict[int, Graph] = {}
        while order:
            longest = max(1, len(flat[order[min(len(order), self._batch_size) - 1]]))
            batch = order[: max(1, min(self._batch_size, MAX_TOKENS**2 // longest**2))]
            order = order[len(batch) :]
            graphs |= zip(batch, self._read_batch([flat[index] for index in batch]), strict=True)
        ready = iter(range(len(flat)))
        return [_join([graphs[next(ready)] for _ in report]) for report in parts]

    def _read_batch(self, sentences: list[list[str]]) -> list[Graph]:
        """Read several token lists together, as sentences of one document; the model does not mix sentences."""
        import torch
        from radgraph.allennlp.data.dataloader import PyTorchDataLoader
        from radgraph.allennlp.data.dataset_readers import AllennlpDataset
        from radgraph.utils import batch_to_device

        document = {"doc_key": "0", "sentences": sentences, "dataset": MODEL_TYPE}
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            dataset = AllennlpDataset([self._radgraph.reader.text_to_instance(document)])
            dataset.index_with(self._radgraph.model.vocab)
            batch = next(iter(PyTorchDataLoader(batch_size=1, dataset=dataset)))
            output = self._radgraph.model(**batch_to_device(batch, self._radgraph.device))
            read = self._radgraph.model.make_output_human_readable(output).to_json()
        return list(_graphs_of(sentences, read["predicted_ner"], read["predicted_relations"]))


def _graphs_of(sentences: list[list[str]], entities: list[list], relations: list[list]) -> Iterator[Graph]:
    """Yield each sentence's graph; the model counts tokens from the document's start, a graph from the sentence's."""
    from radgraph.utils import get_entity

    start = 0
    for tokens, found, related in zip(sentences, entities, relations, strict=True):
        own = [[first - start, last - start, label] for first, last, label, *_ in found]
        pairs = [[*(place - start for place in relation[:4]), relation[4]] for relation in related]
        yield {"entities": get_entity(own, pairs, tokens)}
        start += len(tokens)


def _cut(tokens: list[str]) -> list[list[str]]:
    """Cut a token list into parts of at most `MAX_TOKENS`, after a full stop if there is one."""
    parts = []
    while len(tokens) > MAX_TOKENS:
        stops = [place for place in range(MAX_TOKENS) if tokens[place] == "."]
        end = stops[-1] + 1 if stops else MAX_TOKENS
        parts.append(tokens[:end])
        tokens = tokens[end:]
    return [*parts, tokens] if tokens else parts


def locate_entities(report: str, graph: Graph) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Yield the entities of a graph with their places in the report's text, in the order of the graph.

    Raises:
        ValueError: if the package that cut the report into tokens is not installed.
    """
    try:
        from radgraph.utils import preprocess_reports
    except ImportError:
        raise ValueError(INSTALL) from None
    places = list(_token_places(report, parts := _cut(preprocess_reports([report], MODEL_TYPE)[0]["sentences"][0])))
    part = before = 0
    for entity in graph["entities"].values():
        first, last = entity["start_ix"], entity["end_ix"]
        # An entity counts tokens from the start of its part, and the entities of a part stand in order.
        part += first < before
        while part < len(parts) and " ".join(parts[part][first : last + 1]) != entity["tokens"]:
            part += 1
        before = first
        if part == len(parts):
            return
        yield (places[part][first][0], places[part][last][1]), entity


def _token_places(text: str, parts: list[list[str]]) -> Iterator[list[tuple[int, int]]]:
    """Yield the places of each part's tokens; a token that the package changed has no width."""
    at = 0
    for part in parts:
        places = []
        for token in part:
            found = text.find(token, at)
            places.append((found, found + len(token)) if found >= 0 else (at, at))
            at = places[-1][1]
        yield places


def _join(graphs: list[Graph]) -> Graph:
    """Join the graphs of a report's parts; the entity numbers continue from one part to the next."""
    entities: dict[str, Any] = {}
    for graph in graphs:
        before = len(entities)
        for number, entity in graph["entities"].items():
            relations = [[label, str(int(other) + before)] for label, other in entity["relations"]]
            entities[str(int(number) + before)] = {**entity, "relations": relations}
    return {"entities": entities}


@contextmanager
def _transformers_4_names(language_model: Path, weights: Path) -> Iterator[None]:
    """Make radgraph 0.1.18 load under transformers 5, with its language model from a folder.

    The package calls two tokenizer methods that transformers 5 no longer has, and names its language model by a Hub id.
    Of that model only the architecture and the tokenizer are needed, because the weights are in the archive. On a GPU,
    the package lets torch, and so an environment variable, decide whether the weights file may hold more than tensors;
    here only tensors are read.
    """
    import torch
    from radgraph.allennlp.common import cached_transformers
    from transformers import AutoModel

    from argus_processing.saved_models.model_folders import TEXT_ENCODER
    from argus_processing.saved_models.pretrained import build_model, load_tokenizer

    def get_tokenizer(model_name: str, **kwargs: Any) -> Any:
        tokenizer = load_tokenizer(language_model, **kwargs)
        tokenizer.encode_plus = tokenizer.__call__
        tokenizer.build_inputs_with_special_tokens = lambda ids: [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]
        return tokenizer

    def get_model(model_name: str, *_: Any) -> Any:
        return build_model(AutoModel, language_model, TEXT_ENCODER, [weights])

    with (
        patch.object(cached_transformers, "get_tokenizer", get_tokenizer),
        patch.object(cached_transformers, "get", get_model),
        patch.object(torch, "load", partial(torch.load, weights_only=True)),
    ):
        yield


def score_graphs(
    predictions: Sequence[str], references: Sequence[str], reader: ClinicalModel, level: str
) -> MetricScores:
    """Compute F1 (0 to 100) of the graphs at a level of `LEVELS`; it is 0, with a flag, if a side has no entity."""
    from radgraph.rewards import compute_reward

    written, wanted = (reader.answer([*map(printable, reports)]) for reports in (predictions, references))
    pairs = list(zip(written, wanted, strict=True))
    empty = [not (one["entities"] and other["entities"]) for one, other in pairs]
    return mean_of_reports([100.0 * compute_reward(*pair, level) for pair in pairs], {"no_entity": empty})


def radgraph_metrics(options: ClinicalOptions) -> dict[str, Metric]:
    """Return the metrics of the three reward levels; papers usually report "partial"."""
    try:
        release = version("radgraph")
        with warnings.catch_warnings():  # importing the package turns deprecation warnings on for everything
            importlib.import_module("radgraph")
        path = WEIGHTS.find(options)
        language_model = _find_language_model(path, options)
    except ImportError:
        return _missing(INSTALL)
    except MissingWeightsError as error:
        return _missing(str(error))
    signature = f"radgraph|version:{release}|model:{MODEL_TYPE}|weights:{identify(path)}|max_tokens:{MAX_TOKENS}"
    load = partial(RadGraphReader, path, language_model, options.batch_size)
    reader = KeptModel(options.answers, signature, MODEL_TYPE, load)
    return {
        name: Metric(
            partial(score_graphs, reader=reader, level=level), f"{signature}|level:mean of reports|reward:{level}|x100"
        )
        for name, level in zip(NAMES, LEVELS, strict=True)
    }


def _missing(reason: str) -> dict[str, Metric]:
    return {name: missing_metric(f"radgraph|model:{MODEL_TYPE}", reason) for name in NAMES}


def _find_language_model(path: Path, options: ClinicalOptions) -> Path:
    """Return the folder with tokenizer and configuration of the language model that the weights' config.json names."""
    beside = path / LANGUAGE_MODEL
    if (beside / "config.json").is_file():
        return beside
    name = language_model_name(read_config(path), path)
    inside = f"{MODEL_TYPE}/{LANGUAGE_MODEL}"
    return Weights(name, inside, files=("*.json", "*.txt")).find(options)
