"""Try a model on phantoms: plan, ask, measure, decide, and write results, page and figure."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from argus_processing.instructions import INSTRUCTION
from argus_processing.phantom.findings import FINDING_KINDS
from argus_processing.phantom.scans import draw_grid
from argus_processing.storage.claimed_folders import claimed_folder
from argus_processing.storage.whole_files import write_text

from ..metrics.labels.rule_reader import RULES, locate_labels
from .audit_effects import LEVEL, RESAMPLES, Effect, effects_by_label, measure_effects, sides_followed
from .audit_figure import save_audit_figure
from .audit_page import Example, audit_page, phantom_examples
from .audit_plan import MIN_LABELS, Drawing, check_labels, plan_audit, plan_first_look
from .audit_results import PHANTOMS, RESULTS_FILE, AuditResults, AuditSettings, read_audit, write_results
from .audit_verdict import decide
from .audited_models import AuditedModel, MakeScan, Written, ask_once
from .redrawn_scans import Spacing, draw_scan, scan_key
from .statements import Statements, read_statements

ANSWERS_FILE, PAGE_FILE, FIGURE_FILE = "answers.sqlite", "audit.html", "audit.png"
NUM_PHANTOMS = 20


def audit_model(
    model: AuditedModel,
    out: Path,
    *,
    num_phantoms: int = NUM_PHANTOMS,
    seed: int = 0,
    labels: Sequence[str] | None = None,
    spacing_mm: Spacing | None = None,
    say: Callable[[str], None] = print,
) -> AuditResults:
    """Audit a model on phantoms, and write `results.json`, `audit.html` and `audit.png` into the folder `out`.

    Answers are kept in `answers.sqlite` there: an interrupted audit goes on where it stopped, and scans without a
    report are asked about again.

    Args:
        model: the model under audit.
        out: folder, made if it is not there.
        num_phantoms, seed: see `plan_audit`.
        labels: findings to ask about. Default: those that the model speaks of on its first six scans.
        spacing_mm: of the phantoms along (D, H, W). Default: the model's.
        say: called with one line for each kind of failure.

    Raises:
        ValueError: if an argument is out of range, or `out` holds something else.
        ConnectionError: if an address gives no reports at all.
    """
    started = time.monotonic()
    spacing = spacing_mm or model.spacing_mm
    known = None if labels is None else check_labels(labels)
    draw_grid(np.random.default_rng(seed), spacing)  # refuses a spacing that no scan can have
    with claimed_folder(out) as folder:
        check_folder(folder, model)
        if known is None:
            looks = _ask(model, folder, plan_first_look(seed), spacing, seed)
            known = spoken_labels([written.report or "" for written in looks])
        plan = plan_audit(num_phantoms, seed, known)
        answers = _ask(model, folder, plan.drawings, spacing, seed)
        read = read_answers(answers)
        settings = AuditSettings(
            seed=seed,
            findings=known,
            not_spoken_of=() if labels else tuple(label for label in FINDING_KINDS if label not in known),
            spacing_mm=spacing,
            instruction=INSTRUCTION,
            reader=RULES,
            resamples=RESAMPLES,
            level=LEVEL,
        )
        results = judge(
            model,
            measure_effects(plan, read),
            effects_by_label(plan, read),
            answers,
            settings,
            kind=PHANTOMS,
            num_subjects=num_phantoms,
            sides_followed=sides_followed(plan, read),
            seconds=round(time.monotonic() - started, 1),
        )
        write_audit(folder, results, phantom_examples(plan, answers, spacing), say)
    return results


def _ask(
    model: AuditedModel, folder: Path, drawings: Sequence[Drawing], spacing_mm: Spacing | None, seed: int
) -> list[Written]:
    """Ask for the reports of drawings in a drawn order, so that the scans of a phantom do not follow one another."""
    keys = [scan_key(drawing, spacing_mm) for drawing in drawings]
    order = np.random.default_rng(seed).permutation(len(drawings))
    scans: dict[str, MakeScan] = {keys[place]: partial(draw_scan, drawings[place], spacing_mm) for place in order}
    answers = dict(zip(scans, ask_once(model, folder / ANSWERS_FILE, scans, "reports"), strict=True))
    return [answers[key] for key in keys]


def read_answers(answers: Sequence[Written]) -> list[Statements | None]:
    """Read the statements of every report."""
    return [None if answer.report is None else read_statements(answer.report) for answer in answers]


def judge(
    model: AuditedModel,
    effects: Mapping[str, Effect],
    by_finding: Mapping[str, Effect],
    answers: Sequence[Written],
    settings: AuditSettings,
    *,
    kind: str,
    num_subjects: int,
    sides_followed: tuple[int, int],
    seconds: float | None = None,
) -> AuditResults:
    """Decide by measured effects, and put the results of an audit together."""
    failures = Counter(answer.failure for answer in answers if answer.report is None)
    verdict = decide(effects, len(answers), failures.total())
    return AuditResults(
        model=model.name,
        identity=model.identity,
        model_hash=getattr(model, "model_hash", ""),
        kind=kind,
        verdict=verdict.verdict,
        reason=verdict.reason,
        paired_effect=effects["paired_effect"],
        effects=dict(effects),
        by_finding=dict(by_finding),
        sides_followed=sides_followed,
        num_subjects=num_subjects,
        num_scans=len(answers),
        num_failed=failures.total(),
        settings=settings,
        failures=dict(failures.most_common()),
        seconds=seconds,
    )


def write_audit(folder: Path, results: AuditResults, examples: Sequence[Example], say: Callable[[str], None]) -> None:
    """Write figure, page and, last, the results of an audit into its folder; tell its failures."""
    for reason, count in results.failures.items():
        say(f"{count} of {results.num_scans} scans have no report: {reason}")
    save_audit_figure(results, folder / FIGURE_FILE)
    write_text(folder / PAGE_FILE, audit_page(results, examples))
    write_results(folder, results)


def spoken_labels(reports: Sequence[str]) -> tuple[str, ...]:
    """Return the findings that reports name, be it as present or as absent; all, if they name too few.

    A finding that a model never learned to name cannot tell whether it reads the image.
    """
    named = {mention.label for report in reports for mention in locate_labels(report)}
    known = tuple(label for label in FINDING_KINDS if label in named)
    return known if len(known) >= MIN_LABELS else tuple(FINDING_KINDS)


def check_folder(folder: Path, model: AuditedModel) -> None:
    """Refuse a folder that holds the results of something else.

    Raises:
        ValueError: if it does.
    """
    if (folder / RESULTS_FILE).exists() and read_audit(folder).identity != model.identity:
        raise ValueError(f"{folder}: holds the audit of another model; name another folder")
