"""Measure the audit of the demo's model beside writers that do not read the image, or take a shortcut.

make audit-writers         (writes runs/audit/writers.json)
"""

import sys
import tempfile
import time
from pathlib import Path

from dishonest_writers import WRITERS, BlindModel
from rich.console import Console
from shortcut_writers import SHORTCUTS

from argus_evaluation.audit.audit import audit_model
from argus_evaluation.audit.audit_results import AuditResults
from argus_evaluation.audit.audit_table import compared_audits
from argus_evaluation.audit.audited_models import AuditedModel, FolderModel
from argus_inference.console.terminal import show
from argus_processing.storage.typed_json import to_json
from argus_processing.storage.whole_files import check_can_fill, write_json


def audited_models(folder: Path) -> dict[str, AuditedModel]:
    """Return the models to audit by the name of their row."""
    model = FolderModel(folder)
    rows: dict[str, AuditedModel] = {"tiny Argus": model, "tiny Argus, blind": BlindModel(model)}
    return rows | {writer.name: writer(model.spacing_mm) for writer in (*WRITERS, *SHORTCUTS)}


def run_bench(folder: Path, out: Path, seed: int = 0) -> dict[str, AuditResults]:
    """Audit all of them, write `writers.json` into `out`, print a table."""
    check_can_fill(out)
    console, audits = Console(stderr=True), {}
    for name, model in audited_models(folder).items():
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as own:
            audits[name] = audit_model(model, Path(own), seed=seed)
        console.print(f"{name}: {audits[name].verdict}, {time.monotonic() - started:.0f} s")
    write_json(out / "writers.json", {"audits": {name: to_json(audit) for name, audit in audits.items()}})
    show(compared_audits(audits))
    return audits


if __name__ == "__main__":
    run_bench(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:4]))
