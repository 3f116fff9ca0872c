"""Split by patient with a hash of the patient's id: the same on every machine and for any other data."""

import hashlib

from ..sources.registry import SOURCES


def fraction_of(source: str, patient_id: str) -> float:
    """Return a number in [0, 1) that depends only on source and patient."""
    digest = hashlib.sha256(f"{source}:{patient_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def split_of(source: str, patient_id: str, official_split: str | None = None) -> str:
    """Return the split of a patient.

    BIMCV-R and INSPECT are split 70/10/20. CT-RATE keeps its official test set, and a tenth of the patients of its
    training set is validation.

    Raises:
        ValueError: if the source is unknown.
    """
    if source not in SOURCES:
        raise ValueError(f"no split shares are known for source {source!r}; known: {', '.join(SOURCES)}")
    has_test_set, (train, validation) = SOURCES[source].has_test_set, SOURCES[source].shares
    if has_test_set and official_split == "test":
        return "test"
    fraction = fraction_of(source, patient_id)
    if fraction < train:
        return "train"
    # A source with an official test set gets no other test patients, even if shares are rounded.
    return "validation" if fraction < train + validation or has_test_set else "test"
