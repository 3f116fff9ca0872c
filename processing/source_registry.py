"""The sources of CT-3DRRG; a new one is a module with `list_scans` and a line here, and one in `splits.SHARES`."""

from collections.abc import Callable
from pathlib import Path

from . import source_bimcv_r, source_ct_rate, source_inspect
from .source_tables import Listing

SOURCES: dict[str, Callable[[Path], Listing]] = {
    module.NAME: module.list_scans for module in (source_ct_rate, source_bimcv_r, source_inspect)
}
