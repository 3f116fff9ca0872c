"""Measure the demo model's maps of evidence on phantoms that nothing was chosen on: `make evidence-demo`.

python bench/bench_evidence.py runs/demo/argus-tiny runs/evidence

Writes `results.json`: for every measure its value, a 95% interval over scans and the number of sentences. With
`moved` at the end of its name a measure is of scans that were shifted, cropped or enlarged by up to 40 mm. Phantoms
have findings that the demo's model learned, but for `pointing_among_unknown_findings`, where they have all 18.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import argus_training
from argus_evaluation.evidence.evidence_cases import EvidenceCase
from argus_evaluation.evidence.evidence_checks import measure_random_tower, share_with_map
from argus_evaluation.evidence.evidence_measures import EvidenceMeasure, MeasuredCase
from argus_evaluation.evidence.evidence_results import (
    MEASURES,
    evidence_table,
    seconds_per_sentence,
    share_of,
    share_of_counts,
    summarize,
)
from argus_evaluation.evidence.phantom_cases import MOVES, moved, phantom_case
from argus_inference.console.terminal import show
from argus_inference.evidence.evidence import EvidenceSettings
from argus_inference.model_folder import hash_model, load_model
from argus_processing.mean_scan.mean_scan_file import read_mean_scan
from argus_processing.storage.progress import progress_bar
from argus_processing.storage.whole_files import check_can_fill, write_json
from argus_training.ablations.ablation_grid import read_base

# No training, test or trial used phantoms of these seeds; those of settings that were chosen are 7,000,000 and up.
FIRST_SEED = 14_000_000
NUM_SCANS, NUM_MOVED, NUM_CHECKED = 400, 160, 30
PHANTOMS = read_base(Path(argus_training.__file__).parent / "recipes" / "demo.yaml").recipe["data"]["subset_options"]
SPACING_MM, LABELS = PHANTOMS["spacing_mm"], PHANTOMS["labels"]


def run_bench(model_dir: Path, out: Path, sizes: tuple[int, int, int] = (NUM_SCANS, NUM_MOVED, NUM_CHECKED)) -> dict:
    """Measure a model's maps, write `results.json` into the folder `out`, print a table; return the results.

    Args:
        model_dir: folder of a model with a mean scan.
        out: folder to write.
        sizes: number of scans, of moved scans, and of scans for the checks.
    """
    check_can_fill(out)
    mean = read_mean_scan(model_dir)
    model, processor = load_model(model_dir)
    measure = EvidenceMeasure(model, processor, mean, EvidenceSettings())
    still, moving, checked = sizes
    plain = list(_shown(measure.measure_all(_cases(still)), still, "maps"))
    among = replace(measure, deletes=False).measure_all(_cases(checked, labels=None))
    unknown = list(_shown(among, checked, "maps among unknown findings"))
    shifted = list(_shown(measure.measure_all(_moved_cases(moving, False)), moving, "moved scans"))
    true = list(_shown(measure.measure_all(_moved_cases(moving, True)), moving, "moved scans, true reports"))
    random = list(_shown(measure_random_tower(measure, _cases(checked)), checked, "random tower"))
    absent = [share_with_map(measure, *pair) for pair in _pairs(checked)]
    shares = summarize(plain)
    shares |= {f"{name}_moved": share for name, share in summarize(shifted).items()}
    shares |= {f"{name}_moved_true_reports": share for name, share in summarize(true).items()}
    for kind in MOVES:
        of_kind = [case for case in shifted if case.scan_id.endswith(kind)]
        shares[f"pointing_{kind}"] = share_of(of_kind, MEASURES["pointing"])
    shares["pointing_among_unknown_findings"] = share_of(unknown, MEASURES["pointing"])
    shares["random_tower"] = share_of(random, MEASURES["pointing"])
    shares["absent_finding_has_map"] = share_of_counts(absent)
    told = {name: share for name, share in shares.items() if share is not None}
    results = {"model_hash": hash_model(model_dir), "first_seed": FIRST_SEED, "settings": asdict(measure.settings)}
    results |= {name: asdict(share) for name, share in told.items()} | {
        "seconds_per_sentence": seconds_per_sentence(plain)
    }
    write_json(out / "results.json", results)
    show(evidence_table(told))
    return results


def _cases(count: int, labels: Sequence[str] | None = LABELS) -> Iterator[EvidenceCase]:
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        yield phantom_case(seed, SPACING_MM, labels)


def _moved_cases(count: int, true_report: bool) -> Iterator[EvidenceCase]:
    first = FIRST_SEED + 1000
    for seed in range(first, first + count):
        yield moved(phantom_case(seed, SPACING_MM, LABELS, true_report), seed)


def _pairs(count: int) -> Iterator[tuple[EvidenceCase, EvidenceCase]]:
    cases = list(_cases(count))
    yield from zip(cases, [*cases[1:], cases[0]], strict=True)


def _shown(cases: Iterable[MeasuredCase], count: int, name: str) -> Iterator[MeasuredCase]:
    with progress_bar() as progress:
        yield from progress.track(cases, total=count, description=name)


def main(arguments: list[str]) -> None:
    """Run the measurement for a model's folder and an output folder."""
    if len(arguments) != 2:
        raise SystemExit("usage: python bench/bench_evidence.py MODEL OUT")
    run_bench(Path(arguments[0]), Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
