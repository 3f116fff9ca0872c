"""Find the report that says what most others say: the one with the highest mean F1 of sentences to all of them."""

from collections.abc import Sequence

import numpy as np

from .report_sections import sentences_of

_CHUNK = 512  # reports compared with all others at a time


def usual_report(reports: Sequence[str]) -> str:
    """Return the medoid of reports: the one whose sentences overlap most with those of all.

    The overlap of two reports is F1 of their sets of sentences, letter for letter. A tie goes to the more frequent
    report, then to the one that sorts first, so that the order of `reports` does not matter.

    Raises:
        ValueError: if there are no reports.
    """
    if not reports:
        raise ValueError("there are no reports to choose from")
    distinct, counts = np.unique(np.array(reports, dtype=object), return_counts=True)
    overlap = mean_overlaps(list(distinct), counts)
    return min(zip(-np.round(overlap, 9), -counts, distinct, strict=True))[-1]


def mean_overlaps(distinct: Sequence[str], counts: np.ndarray) -> np.ndarray:
    """Return the mean F1 `(N,)` of each report's sentences with those of all; `counts` are the numbers of each."""
    from scipy.sparse import csr_array

    sets = [set(sentences_of(report)) for report in distinct]
    places = {sentence: place for place, sentence in enumerate(dict.fromkeys(s for each in sets for s in sorted(each)))}
    columns = [places[sentence] for each in sets for sentence in sorted(each)]
    sizes = np.array([len(each) for each in sets])
    table = csr_array((np.ones(len(columns)), columns, np.cumsum([0, *sizes])), shape=(len(sets), len(places)))
    means = []
    for start in range(0, len(sets), _CHUNK):
        shared = (table[start : start + _CHUNK] @ table.T).toarray()
        total = sizes[start : start + _CHUNK, None] + sizes
        means.append(np.divide(2 * shared, total, out=np.zeros_like(shared), where=total > 0) @ counts)
    return np.concatenate(means) / counts.sum()
