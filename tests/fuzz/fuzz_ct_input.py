"""Read thousands of damaged CT files and count what came of them; nothing but a scan or a refusal in one line is right.

`make fuzz`, or with other numbers:
PYTHONPATH=tests/processing python tests/fuzz/fuzz_ct_input.py runs/fuzz --examples 20000 --seed 0 --minutes 30
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import hypothesis
from dicom_cases import dicom_case
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from nifti_cases import nifti_case
from reading_process import RIGHT, Outcome, ReadingProcess
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

CHUNK = 250  # examples between two looks at the clock
Case = tuple[str, dict[str, bytes]]


@dataclass
class Findings:
    """Outcomes of all inputs: counts by kind of input and outcome, the slowest, the largest, and each wrong one."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    slowest_seconds: float = 0.0
    peak_bytes: int = 0
    wrong: list[tuple[str, Outcome]] = field(default_factory=list)

    def add(self, name: str, outcome: Outcome) -> None:
        """Count one input."""
        self.counts.setdefault(name.split("/")[0], Counter())[outcome.kind] += 1
        self.slowest_seconds = max(self.slowest_seconds, outcome.seconds)
        self.peak_bytes = max(self.peak_bytes, outcome.peak_bytes)
        if not outcome.right:
            self.wrong.append((name, outcome))

    @property
    def total(self) -> int:
        """All inputs read."""
        return sum(sum(outcomes.values()) for outcomes in self.counts.values())


def fuzz(cases: st.SearchStrategy[Case], count: int, seed: int, read: Callable[[Case], bool]) -> None:
    """Draw `count` cases, the same for the same seed, and hand each to `read` until it says False."""
    for number, start in enumerate(range(0, count, CHUNK)):
        if not _draw_chunk(cases, min(CHUNK, count - start), seed * 100_003 + number, read):
            return


def _draw_chunk(cases: st.SearchStrategy[Case], size: int, seed: int, read: Callable[[Case], bool]) -> bool:
    going_on = True

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=size,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(cases)
    def draw(case: Case) -> None:
        nonlocal going_on
        going_on = going_on and read(case)

    draw()
    return going_on


class Reader:
    """Reads cases one after the other from a folder in memory, counts them, and keeps the wrong ones."""

    def __init__(self, kept: Path, seconds: float, seen: Callable[[], None] = lambda: None) -> None:
        self.findings = Findings()
        self._process = ReadingProcess()
        self._kept, self._ends, self._seen = kept, time.monotonic() + seconds, seen
        memory = Path("/dev/shm")
        self._folder = Path(tempfile.mkdtemp(prefix="argus-fuzz-", dir=memory if memory.is_dir() else None))

    def read(self, case: Case) -> bool:
        """Read one case; False when the time is over."""
        name, files = case
        folder = self._folder / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
        only = next(iter(files), "")
        outcome = self._process.read(folder / only if only.startswith("scan.nii") else folder)
        self.findings.add(name, outcome)
        if not outcome.right:
            shutil.copytree(folder, self._kept / f"{len(self.findings.wrong):04d}-{name.replace('/', '-')}")
        self._seen()
        return time.monotonic() < self._ends

    def close(self) -> None:
        """End the child and remove the files."""
        self._process.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def print_findings(findings: Findings, console: Console) -> None:
    """Print the counts and every wrong outcome."""
    table = Table("input", "read", "refused", "wrong", title=f"{findings.total} damaged inputs")
    for name, outcomes in sorted(findings.counts.items()):
        wrong = ", ".join(f"{count} {kind}" for kind, count in outcomes.items() if kind not in RIGHT)
        table.add_row(name, *(str(outcomes[kind]) for kind in RIGHT), wrong or "0")
    console.print(table)
    console.print(f"slowest {findings.slowest_seconds:.2f} s, highest memory {findings.peak_bytes / 2**30:.2f} GiB")
    for name, outcome in findings.wrong[:20]:
        console.print(f"WRONG {name}: {outcome.kind}: {outcome.detail[:200]}", markup=False)


def write_findings(findings: Findings, out: Path) -> None:
    """Write `results.json`."""
    results = {
        "total": findings.total,
        "counts": findings.counts,
        "slowest_seconds": findings.slowest_seconds,
        "peak_bytes": findings.peak_bytes,
        "wrong": [{"input": name} | asdict(outcome) for name, outcome in findings.wrong],
    }
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Fuzz both formats, half of the examples each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for results.json and the inputs that were handled wrongly")
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0, help="stop after this time, whatever was read")
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    console = Console()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("Damaged inputs", total=options.examples)
        reader = Reader(options.out, 60 * options.minutes, lambda: progress.advance(bar))
        try:
            half = options.examples // 2
            fuzz(nifti_case(), half, options.seed, reader.read)
            fuzz(dicom_case(), options.examples - half, options.seed, reader.read)
        finally:
            reader.close()
    print_findings(reader.findings, console)
    write_findings(reader.findings, options.out)
    if reader.findings.total < options.examples:
        console.print(f"stopped by the clock after {reader.findings.total} of {options.examples}")
    return 1 if reader.findings.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
