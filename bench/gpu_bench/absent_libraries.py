"""Import Argus where the libraries that read scans and data sets are not installed, as in images made for computing.

Models and what computes with them need neither nibabel nor datasets, but the modules that do import modules that read.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

READER, DATA_SETS, OWN = "nibabel", "datasets", "argus_processing"


class _AbsentModule(ModuleType):
    """A module that can be imported; what it holds are errors that say that it is not there."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        library = self.__name__.partition(".")[0]

        def refuse(*args: object, **kwargs: object) -> None:
            raise ModuleNotFoundError(f"{library} is not installed, and this needs it", name=library)

        # Exceptions, because some are named in an `except`.
        return type(name, (Exception,), {"__init__": refuse})


class _AbsentLibrary(MetaPathFinder, Loader):
    def __init__(self, library: str):
        self.library = library

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] == self.library else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _AbsentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def do_without_readers() -> list[str]:
    """Let modules of Argus that compute be imported without nibabel and datasets; return which of these are absent.

    Where both are installed, nothing changes. Else `argus_processing` registers nothing, and what reads a file raises
    `ModuleNotFoundError`. Must be called before anything else of Argus is imported.
    """
    absent = [name for name in (READER, DATA_SETS) if find_spec(name) is None]
    if READER in absent:
        sys.meta_path.append(_AbsentLibrary(READER))
    own = find_spec(OWN) if absent and OWN not in sys.modules else None
    if own is not None:
        # The package without its own first lines, which make the data set and register it.
        package = ModuleType(OWN)
        package.__spec__, package.__path__ = own, list(own.submodule_search_locations or ())
        sys.modules[OWN] = package
    return absent
