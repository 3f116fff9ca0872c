"""List the sources of CT-3DRRG; a new one needs a module with `list_scans` and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..storage.foreign_files import read_yaml
from . import bimcv_r, ct_rate, inspect_ctpa
from .tables import Listing


@dataclass(frozen=True)
class Source:
    """A source of the data set.

    Attributes:
        list_scans: function `list_scans(root, columns)` that lists a download.
        columns: the dataclass of its tables' column names.
        shares: shares of its patients in train and validation; the rest is test (paper, section 3).
        has_test_set: whether the source has an official test set, which stays the test set.
    """

    list_scans: Callable[[Path, Any], Listing]
    columns: type
    shares: tuple[float, float] = (0.7, 0.1)
    has_test_set: bool = False


SOURCES: dict[str, Source] = {
    ct_rate.NAME: Source(ct_rate.list_scans, ct_rate.CTRateColumns, shares=(0.9, 0.1), has_test_set=True),
    bimcv_r.NAME: Source(bimcv_r.list_scans, bimcv_r.BimcvRColumns),
    inspect_ctpa.NAME: Source(inspect_ctpa.list_scans, inspect_ctpa.InspectColumns),
}


def read_columns(path: Path) -> dict[str, dict[str, str]]:
    """Read, from YAML, column names that differ from the defaults: `source: {role: column}`.

    Raises:
        ValueError: if the file is not such a mapping.
    """
    try:
        columns = read_yaml(path) or {}
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as YAML ({error.strerror})") from None
    if not isinstance(columns, dict) or not all(isinstance(roles, dict) for roles in columns.values()):
        raise ValueError(f"{path}: must map a source to roles and column names, such as inspect: {{impression: text}}")
    return columns


def columns_of(source: str, names: Mapping[str, str]) -> Any:
    """Return a source's column names: the defaults, replaced by `names` (role -> column).

    Raises:
        ValueError: if the source or a role is unknown.
    """
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}; known: {', '.join(SOURCES)}")
    columns = SOURCES[source].columns
    known = [entry.name for entry in fields(columns)]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"{source}: no column has the role {unknown[0]!r}; roles: {', '.join(known)}")
    return columns(**{role: str(name) for role, name in names.items()})
