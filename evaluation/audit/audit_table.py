"""Make the tables of audits: on a terminal, on a model's card, and several audits beside each other."""

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from argus_inference.console.terminal import escape_name
from argus_processing.storage.markdown_table import literal_table, markdown_table
from argus_training.assembly.model_card import CardCheck

from .audit_figure import EFFECTS
from .audit_results import PHANTOMS, AuditResults, read_audit
from .audit_verdict import CANNOT_TELL, shown

COMPARED = ("paired_effect", "drawn_effect", "elsewhere_effect", "side_following", "cross_label_change", "text_change")


def build_table(results: AuditResults) -> Table:
    """Build a table of an audit's effects with their intervals."""
    table = Table(title=escape_name(f"Audit of {results.model}"), caption=escape_name(numbers_of(results)))
    for heading in ("effect", "value", "99% interval", "comparisons"):
        table.add_column(heading, justify="left" if heading == "effect" else "right")
    for name, label in EFFECTS.items():
        effect = results.effects.get(name)
        if effect is None:
            continue
        known = effect.value is not None
        interval = f"{effect.low:.2f} to {effect.high:.2f}" if known else "-"
        table.add_row(label, f"{effect.value:.2f}" if known else "-", interval, str(effect.comparisons))
    return table


def numbers_of(results: AuditResults) -> str:
    """Return the numbers of phantoms or scans, and of scans without a report, as text."""
    subjects = "phantoms" if results.kind == PHANTOMS else "scans"
    failed = f", {results.num_failed} without a report" if results.num_failed else ""
    return f"{results.num_subjects} {subjects}, shown as {results.num_scans}{failed}"


def verdict_sentence(results: AuditResults, model: str) -> str:
    """Return the verdict as a sentence about a model of this name."""
    if results.verdict == CANNOT_TELL:
        return f"Whether {model} reads the image cannot be told."
    return f"{model[:1].upper()}{model[1:]} {results.verdict}."


def compared_audits(audits: Mapping[str, AuditResults]) -> Table:
    """Build a table of several audits, one a row."""
    rows = ([name, *(shown(audit.effects[each]) for each in COMPARED), audit.verdict] for name, audit in audits.items())
    return literal_table(["writer", *(EFFECTS[each] for each in COMPARED), "verdict"], rows)


def read_card_audit(path: Path, model_hash: str) -> CardCheck:
    """Read the results of an audit for a model's card.

    Args:
        path: `results.json` of an audit, or the folder that holds it.
        model_hash: hash of the model's folder.

    Raises:
        FileNotFoundError, ValueError: if there are none, they are damaged, or belong to another model.
    """
    results = read_audit(path)
    if results.model_hash != model_hash:
        other = f"another model ({results.model_hash[:12]})" if results.model_hash else "a model at an address"
        raise ValueError(f"{path}: is of {other}, this one is {model_hash[:12]}; run argus audit with this one")
    heading = f"{results.kind[:1].upper()}{results.kind[1:]}: {numbers_of(results)}"
    verdict = f"**{verdict_sentence(results, 'this model')}** {results.reason}"
    return CardCheck(heading, verdict, markdown_table(build_table(results)))
