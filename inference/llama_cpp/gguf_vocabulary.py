"""Write a tokenizer's vocabulary into a GGUF file, so that other tools of llama.cpp read texts as the model does."""

import json
from dataclasses import dataclass
from typing import Any

# How a text is cut before its tokens are formed: as tokenizer.json says it (and whether a whole word that is a token is
# taken as it is), and llama.cpp's name for it.
_BYTES = {"type": "ByteLevel", "add_prefix_space": False}
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS: tuple[tuple[str, bool, list[dict[str, Any]]], ...] = (
    ("llama-bpe", True, [{"type": "Split", "pattern": {"Regex": _LLAMA_3}}, {**_BYTES, "use_regex": False}]),
    ("gpt-2", False, [{**_BYTES, "use_regex": True}]),
    ("smollm", False, [{"type": "Digits", "individual_digits": True}, {**_BYTES, "use_regex": True}]),
)


@dataclass(frozen=True)
class Vocabulary:
    """A byte-level BPE vocabulary in llama.cpp's form.

    Attributes:
        split: llama.cpp's name of how a text is cut into words.
        tokens: the token of each id.
        special, added: ids of the tokens that are marks, and of other tokens that are found in a text as a whole.
        unused: ids that are no token, up to the model's number.
        merges: pairs of tokens, each as two words.
    """

    split: str
    tokens: tuple[str, ...]
    special: frozenset[int]
    added: frozenset[int]
    unused: frozenset[int]
    merges: tuple[str, ...]


def read_vocabulary(tokenizer: Any, size: int) -> Vocabulary | None:
    """Return a tokenizer's vocabulary; None if llama.cpp has none that cuts and joins texts in the same way.

    Args:
        tokenizer: one of transformers, with a tokenizer of the library tokenizers inside.
        size: number of the model's tokens; ids without a token are filled up.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    content = json.loads(backend.to_str())
    split = _split_of(content)
    if split is None:
        return None
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    added = {entry["id"]: entry["special"] for entry in content["added_tokens"]}
    return Vocabulary(
        split=split,
        tokens=tuple(by_id.get(number, f"[PAD{number}]") for number in range(size)),
        special=frozenset(number for number, special in added.items() if special),
        added=frozenset(number for number, special in added.items() if not special),
        unused=frozenset(range(size)) - by_id.keys(),
        merges=tuple(pair if isinstance(pair, str) else " ".join(pair) for pair in content["model"]["merges"]),
    )


def _split_of(content: dict[str, Any]) -> str | None:
    """Return llama.cpp's name for how a tokenizer.json cuts a text."""
    model, cut = content["model"], content["pre_tokenizer"] or {}
    if model["type"] != "BPE" or model.get("byte_fallback") or content["normalizer"] is not None:
        return None
    steps = cut.get("pretokenizers", [cut])
    for name, whole_words, wanted in _SPLITS:
        same = len(steps) == len(wanted) and all(
            step.get(key) == value for step, needed in zip(steps, wanted, strict=True) for key, value in needed.items()
        )
        if same and bool(model.get("ignore_merges")) == whole_words:
            return name
    return None


def add_vocabulary(writer: Any, tokenizer: Any, vocabulary: Vocabulary | None) -> None:
    """Add a vocabulary, and the tokens that begin and end a text, to a `gguf.GGUFWriter`."""
    from gguf import TokenType

    if vocabulary is None:
        writer.add_tokenizer_model("none")
        return
    kinds = dict.fromkeys(vocabulary.special, TokenType.CONTROL)
    kinds |= dict.fromkeys(vocabulary.added, TokenType.USER_DEFINED) | dict.fromkeys(
        vocabulary.unused, TokenType.UNUSED
    )
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.split)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types([kinds.get(number, TokenType.NORMAL) for number in range(len(vocabulary.tokens))])
    writer.add_token_merges(list(vocabulary.merges))
    for token, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if token is not None:
            add(token)
    begins = tokenizer("")["input_ids"]
    writer.add_add_bos_token(bool(begins) and begins[0] == tokenizer.bos_token_id)
