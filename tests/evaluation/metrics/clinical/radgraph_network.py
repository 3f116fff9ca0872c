"""A small network with random weights in place of RadGraph-XL, in the published layout."""

import json

import torch
from dotmap import DotMap
from transformers import BertConfig, BertTokenizerFast

from argus_evaluation.metrics.clinical.radgraph_metric import LANGUAGE_MODEL, MODEL_TYPE, _transformers_4_names

OBSERVATION, ANATOMY, ABSENT = (
    "Observation::definitely present",
    "Anatomy::definitely present",
    "Observation::definitely absent",
)
WORDS = "no evidence of pneumothorax nodule in the left right upper lower lobe pleural effusion is small . ,".split()
BERT = "someone/bert"
CONFIG = {
    "dataset_reader": {"max_span_width": 3, "token_indexers": {"bert": {"model_name": BERT, "max_length": 32}}},
    "model": {
        "type": "dygie",
        "initializer": {},
        "module_initializer": {},
        "embedder": {"token_embedders": {"bert": {"model_name": BERT, "max_length": 32}}},
        "feature_size": 4,
        "max_span_width": 3,
        "target_task": "relation",
        "feedforward_params": {"num_layers": 1, "hidden_dims": 8, "dropout": 0.0},
        "loss_weights": {"ner": 1.0, "relation": 1.0, "coref": 0.0, "events": 0.0},
        "modules": {
            "coref": {"coref_prop": 0, "spans_per_word": 0.3, "max_antecedents": 10},
            "ner": {},
            "relation": {"spans_per_word": 0.5},
            "events": {"trigger_spans_per_word": 0.3, "argument_spans_per_word": 0.8},
        },
    },
}


def save_network(folder):
    """Save a randomly initialised model of the published classes; the tokenizer of its language model is beside it."""
    from radgraph.allennlp.data import Vocabulary
    from radgraph.allennlp.modules import text_field_embedders, token_embedders
    from radgraph.dygie.models import dygie

    (folder / "vocabulary").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "vocabulary" / "non_padded_namespaces.txt").write_text("*labels\n*tags\n")
    (folder / "vocabulary" / f"{MODEL_TYPE}__ner_labels.txt").write_text(f"\n{OBSERVATION}\n{ANATOMY}\n{ABSENT}\n")
    (folder / "vocabulary" / f"{MODEL_TYPE}__relation_labels.txt").write_text("located_at\nmodify\n")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *WORDS,
        *letters,
        *[f"##{letter}" for letter in letters],
    ]
    bert = folder / LANGUAGE_MODEL
    bert.mkdir()
    (bert / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast(str(bert / "vocab.txt")).save_pretrained(bert)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **sizes).save_pretrained(bert)
    torch.manual_seed(1)
    with _transformers_4_names(bert, bert / "config.json"):
        token_embedder = token_embedders.PretrainedTransformerMismatchedEmbedder(BERT, max_length=32)
    embedder = text_field_embedders.BasicTextFieldEmbedder({"bert": token_embedder})
    settings = {key: value for key, value in CONFIG["model"].items() if key not in ("type", "embedder")}
    del settings["initializer"], settings["module_initializer"]
    vocabulary = Vocabulary.from_files(str(folder / "vocabulary"))
    model = dygie.DyGIE(vocab=vocabulary, embedder=embedder, **DotMap(settings))
    # Random weights find an entity in nearly every span, related to every other; biases make them rarer.
    biases = dict(model.named_parameters())
    with torch.no_grad():
        biases[f"_ner._ner_scorers.{MODEL_TYPE}__ner_labels.1._module.bias"].sub_(0.1)
        biases[f"_relation._relation_scorers.{MODEL_TYPE}__relation_labels.bias"].sub_(0.4)
    torch.save(model.state_dict(), folder / "weights.th")
