"""Choose the series of drawn studies and count the right ones: `make series-bench`.

Every study is chosen from twice: with the look at the pixels, and by words and geometry alone.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scipy.stats import binomtest
from vendor_studies import CHESTS, DrawnStudy, draw_studies

from argus_hospital.series.lungs_seen import why_no_lungs
from argus_hospital.series.series_choice import SeriesChoice, choose_series
from argus_hospital.series.site_preferences import SitePreferences
from argus_processing.dicom_slices import DicomSlice
from argus_processing.storage.whole_files import write_json

LOOK, WORDS = "with the look at the pixels", "by words and geometry alone"


@dataclass(frozen=True)
class Outcome:
    """The choice for one study: `error` is empty if it is right."""

    kind: str
    vendor: str
    error: str
    told: str


def outcomes_of(study: DrawnStudy) -> dict[str, Outcome]:
    """Choose a study's series and compare it with the right ones."""
    looked_at: list[str] = []

    def look(slices: Sequence[DicomSlice], folder: Path) -> str:
        looked_at.append(folder.name)
        return why_no_lungs(slices, folder)

    choice = choose_series(study.files, SitePreferences(phases=study.phases), look)
    # The first that is looked at is the one that words and geometry alone would take.
    chosen = {LOOK: choice.chosen.name if choice.chosen else "", WORDS: (looked_at or [""])[0]}
    return {way: _outcome(study, choice, uid) for way, uid in chosen.items()}


def _outcome(study: DrawnStudy, choice: SeriesChoice, uid: str) -> Outcome:
    if uid in study.right or not uid and not study.right:
        return Outcome(study.kind, study.vendor, "", "")
    told = "; ".join(
        f"{study.descriptions[verdict.name]}: {verdict.state} {verdict.reason}"
        for verdict in choice.verdicts
        if verdict.name in study.right | {uid}
    )
    error = "refused" if not uid else "another series" if study.bodies[uid] in CHESTS else "wrong body part"
    return Outcome(study.kind, study.vendor, error, told)


def run(number: int, seed: int) -> dict[str, list[Outcome]]:
    """Return the outcomes for drawn studies, by the way of choosing."""
    outcomes: dict[str, list[Outcome]] = {LOOK: [], WORDS: []}
    with tempfile.TemporaryDirectory(prefix="argus-series-bench-") as folder:
        for study in draw_studies(number, seed, Path(folder)):
            for way, outcome in outcomes_of(study).items():
                outcomes[way].append(outcome)
    return outcomes


def main() -> None:
    """Run the bench and write `series.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.perf_counter()
    results = {}
    for look, outcomes in run(arguments.studies, arguments.seed).items():
        wrong = [outcome for outcome in outcomes if outcome.error]
        low, high = binomtest(len(outcomes) - len(wrong), len(outcomes)).proportion_ci(method="wilson")
        print(f"{look}: {len(outcomes) - len(wrong)} of {len(outcomes)} right [{low:.4f}, {high:.4f}]")
        print(f"  {dict(Counter(outcome.error for outcome in wrong))}")
        for outcome in wrong[:30]:
            print(f"  {outcome.kind}, {outcome.vendor}, {outcome.error}: {outcome.told}")
        results[look] = {"right": len(outcomes) - len(wrong), "of": len(outcomes), "interval": [low, high]}
        results[look] |= {"wrong": [asdict(outcome) for outcome in wrong]}
    results["seconds"], results["seed"] = round(time.perf_counter() - began, 1), arguments.seed
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "series.json", results)


if __name__ == "__main__":
    main()
