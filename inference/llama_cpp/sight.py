"""Load the parts of a model folder that see, vision tower and connector, without its language model."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from argus_processing.saved_models.pretrained import refusing
from argus_processing.saved_models.weight_files import names_in, weight_files

TOWER, CONNECTOR = "model.vision_tower.", "model.connector."


class FolderWeights:
    """The weights of a model folder, read one at a time.

    Raises:
        ForeignFileError: if a file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._places = {name: file for file in weight_files(folder) for name in names_in(file)}

    def names(self) -> Iterable[str]:
        """Return the names of all weights."""
        return self._places.keys()

    def read(self, name: str) -> torch.Tensor:
        """Return a weight."""
        file = self._places[name]
        with refusing(file), safe_open(file, "pt") as opened:
            return opened.get_tensor(name)

    def below(self, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the weights whose name begins with `prefix`, in order, under the rest of the name."""
        for name in sorted(self._places):
            if name.startswith(prefix):
                yield name.removeprefix(prefix), self.read(name)


def hash_sight(weights: FolderWeights) -> str:
    """Return the SHA-256 (hex) of vision tower and connector, by which a language model knows the ones it saw with."""
    digest = hashlib.sha256()
    for part in (TOWER, CONNECTOR):
        for name, tensor in weights.below(part):
            digest.update(f"{part}{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
            digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
