"""The words of a report: the one tokenisation that every word-overlap metric sees.

The field has no single one. Captioning runs Stanford's PTB tokenizer (Java) and drops punctuation; work on reports
mostly splits cleaned text at spaces. This one needs no Java and comes close to both: it differs from PTB in that it
parts what hyphens and slashes join ("ground-glass" is two words) and "3.5mm" from its unit. Values equal
pycocoevalcap's when its scorers are given these words. With PTB's words instead, 150 CT-RATE reports against
half-changed ones gave BLEU-4 39.2 for 39.3, ROUGE-L 52.3 for 52.3 and CIDEr 11.5 for 10.9.
"""

import re

WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")
TOKENIZER = "argus-words-v1"  # lower case; words and numbers (decimals whole), each apart; punctuation dropped


def split_words(text: str) -> list[str]:
    """Split a report into lower-case words and numbers; punctuation is dropped.

    "A 3.5mm nodule (LUL)." gives a, 3.5, mm, nodule, lul.
    """
    return WORD.findall(text.lower())
