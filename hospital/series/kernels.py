"""Recognise the sharpness of a reconstruction by the vendors' names of their kernels: soft, lung or bone.

Sources: the vendors' DICOM conformance statements and the kernels that published studies name.
"""

import re

from .series_words import KERNELS, Vocabulary, plain_words

SOFT, LUNG, BONE = KERNELS
UNKNOWN = "unknown"
# Siemens: letters of the family and a number that rises with sharpness, as "B30f", "Br40d", "I70f", "Hr40".
_SIEMENS = re.compile(r"(b[a-z]?|i|j|h[a-z]?|q[a-z]?|d|u)(\d{2})[a-z]?\b")
_SIEMENS_SHARP = 50
# Canon: FC and a number, by families of body (below 20), head (20 to 29), bone (30 to 49) and lung.
_CANON = re.compile(r"fc(\d{2})\b")
_CANON_SOFT, _CANON_HEAD, _CANON_BONE = range(0, 20), range(20, 30), range(30, 50)
_NAMES = {
    # GE
    "standard": SOFT, "stnd": SOFT, "std": SOFT, "soft": SOFT, "detail": SOFT, "chst": SOFT, "chest": SOFT,
    "lung": LUNG, "hd lung": LUNG, "bone": BONE, "boneplus": BONE, "bone+": BONE, "edge": BONE, "ultra": BONE,
    # Philips
    "a": SOFT, "b": SOFT, "c": SOFT, "sa": SOFT, "sb": SOFT, "sc": SOFT, "imr1": SOFT, "imr2": SOFT,
    "l": LUNG, "lb": LUNG, "ya": LUNG, "yb": LUNG, "yc": LUNG, "d": BONE, "e": BONE, "yd": BONE,
    # Canon's names beside the numbers
    "body": SOFT, "body std": SOFT, "body sharp": SOFT, "lung std": LUNG,
}  # fmt: skip


def kernel_of(kernel: str, description: str, vocabulary: Vocabulary, more: dict[str, str] | None = None) -> str:
    """Return the sharpness of a series: soft, lung, bone or unknown.

    Args:
        kernel: ConvolutionKernel; its parts apart by backslashes.
        description: SeriesDescription, which is asked if the kernel's name is not known.
        vocabulary: the words of descriptions.
        more: a site's own names of kernels, with soft, lung or bone each.
    """
    name = plain_words(kernel.split("\\")[0])
    own = {plain_words(key): value for key, value in (more or {}).items()}
    known = own.get(name) or _NAMES.get(name) or _by_number(name)
    return known or vocabulary.first_of((BONE, LUNG, SOFT), kernel) or _by_description(description, vocabulary)


def _by_description(description: str, vocabulary: Vocabulary) -> str:
    words = plain_words(description)
    for word in words.split():
        if number := _by_number(word):
            return number
    return vocabulary.first_of((BONE, LUNG, SOFT), description) or UNKNOWN


def _by_number(name: str) -> str:
    if canon := _CANON.match(name):
        number = int(canon[1])
        in_body = number in _CANON_SOFT or number in _CANON_HEAD
        return SOFT if in_body else BONE if number in _CANON_BONE else LUNG
    if siemens := _SIEMENS.match(name):
        return LUNG if siemens[1] == "bl" or int(siemens[2]) >= _SIEMENS_SHARP else SOFT
    return ""
