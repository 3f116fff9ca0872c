"""Tiny networks with random weights in place of RaTEScore's two, and reports in their words."""

import torch
from transformers import BertConfig, BertForTokenClassification, BertModel, BertTokenizerFast

from argus_evaluation.metrics.clinical.rate_affinity import KINDS

REPORTS = [
    "No nodule in the left lung. The heart is normal.",
    "",
    "Small effusion (right, 3.5 mm)\nThe heart is normal",
    "ab",
    "The left lung is small, the right lung normal.",
]

WORDS = "no nodule in the left right lung is small effusion heart normal . , ( ) 3 5 mm".split()


def save_models(folder, seed=4):
    """Randomly initialised models of the same kinds: one that tags tokens, one that embeds texts."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *[f"##{one}" for one in letters]]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    labels = ["O", *[f"{place}-{kind}" for kind in KINDS for place in "BI"]]
    config = BertConfig(vocab_size=len(vocabulary), id2label=dict(enumerate(labels)), **sizes)
    torch.manual_seed(seed)
    tagger, embedder = BertForTokenClassification(config), BertModel(config)
    with torch.no_grad():
        # Wider weights than the initial ones, so that words differ in their tags.
        tagger.classifier.weight.mul_(20)
        tagger.bert.embeddings.word_embeddings.weight.mul_(20)
    for name, model in (("RaTE-NER-Deberta", tagger), ("BioLORD-2023-C", embedder)):
        model.save_pretrained(folder / name)
        BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / name)
    return folder
