"""Run `argus prepare`: build the judge, run the curation, print the results."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
from rich.table import Table

from argus_inference.console.terminal import show
from argus_processing.curation.judges import (
    REQUESTS,
    CachedJudge,
    ChatJudge,
    Judge,
    OpenAIBackend,
    RuleJudge,
    TransformersBackend,
)
from argus_processing.curation.overview.table1 import HEADINGS, TITLE, Table1, build_table1, phantom_sources
from argus_processing.curation.prepare import WORK, PrepareOptions, prepare
from argus_processing.storage.markdown_table import literal_table


def run(
    roots: dict[str, Path],
    out: Path,
    options: dict[str, Any],
    judge: str | None,
    judge_url: str | None,
    judge_requests: int,
    say: Callable[[str], None],
    trust: bool = False,
) -> bool:
    """Curate the downloads, print counts, problems and Table 1; return whether everything could be used.

    `judge_requests` is the number of requests to `judge_url` that are under way at a time; `trust` allows code that
    comes with the judge's folder to run.

    Raises:
        ValueError: in the same cases as `prepare`, and for an address without a model.
    """
    datasets.disable_progress_bars()  # there would be one per Parquet file; the volumes have their own bar
    chosen_judge = build_judge(judge, judge_url, out / WORK, judge_requests, trust)
    prepared = prepare(roots, out, PrepareOptions(**options), chosen_judge)
    show(counts_table(prepared.manifest))
    for kind, number in sorted(Counter(problem.kind for problem in prepared.problems).items()):
        first = next(problem for problem in prepared.problems if problem.kind == kind)
        say(f"{kind}: {number}, the first is {first.where}: {first.detail}")
    if prepared.problems:
        say(f"all of them are in {out / 'logs' / 'problems.jsonl'}; the rest is in place")
    show(beside_the_paper(build_table1(prepared.manifest["statistics"], phantom_sources(roots))))
    return prepared.is_sound


def build_judge(model: str | None, url: str | None, work: Path, requests: int = REQUESTS, trust: bool = False) -> Judge:
    """Return the built-in rules, or a chat model whose answers are kept on disk."""
    if model is None:
        if url is not None:
            raise ValueError("--judge-url needs --judge, the name of the model that the address serves")
        return RuleJudge()
    if url is None:
        chat, chunk = ChatJudge(TransformersBackend(model, trust=trust)), 64
    else:
        # Chunks of many requests, because at the end of each some places are free.
        chat, chunk = ChatJudge(OpenAIBackend(model, url, requests=requests)), 16 * requests
    work.mkdir(parents=True, exist_ok=True)
    return CachedJudge(chat, work / "judge.sqlite", chunk)


def beside_the_paper(table1: Table1) -> Table:
    """Return the numbers of the prepared folder beside those of the paper, a section for each subset."""
    table = literal_table(HEADINGS, (row.cells for row in table1.rows), numbers_from=2)
    table.title, table.caption, table.caption_justify = TITLE, "\n".join(table1.notes), "left"
    for shown, row, following in zip(table.rows, table1.rows, table1.rows[1:], strict=False):
        shown.end_section = following.subset != row.subset
    return table


def counts_table(manifest: dict[str, Any]) -> Table:
    """Return a table with the counts of every curation step for every source."""
    sources = list(manifest["counts"])
    table = Table("step", *sources, title="Curation")
    for step in dict.fromkeys(step for counts in manifest["counts"].values() for step in counts):
        table.add_row(step.replace("_", " "), *(str(manifest["counts"][source].get(step, 0)) for source in sources))
    return table
