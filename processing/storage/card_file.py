"""Read the card of a model's or a data set's folder: the file that the Hub shows."""

from pathlib import Path

from .foreign_files import read_bounded

CARD = "README.md"
MAX_CARD_BYTES = 1 << 20


def read_card(folder: Path) -> str:
    """Return the text of a folder's card.

    Raises:
        FileNotFoundError: if it has none.
        ForeignFileError: if it is no UTF-8 text, or larger than any card.
    """
    return read_bounded(folder / CARD, MAX_CARD_BYTES)
