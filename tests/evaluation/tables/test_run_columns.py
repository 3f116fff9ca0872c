import statistics
from dataclasses import replace

import pytest
from stored_runs import JAVA, store_run

from argus_evaluation.benchmark.evaluation_results import MetricValue
from argus_evaluation.tables.run_columns import NO_RUN, NOT_IN_RESULTS, collect_runs, read_number

COLUMN = ("hr", "Argus-8B")


def number(runs, metric="GREEN", column=COLUMN):
    (found,) = collect_runs(runs, ())
    return read_number(found.columns.get(column, ()), metric)


def test_seeds_are_averaged_with_the_sample_standard_deviation(tmp_path):
    scores = [40.0, 42.0, 47.0]
    runs = [store_run(tmp_path, f"Argus 8B hr {seed}", {"GREEN": score}) for seed, score in enumerate(scores)]
    found = number(runs)
    assert found.value == pytest.approx(43.0) and found.sd == pytest.approx(statistics.stdev(scores))
    assert found.by_seed == {"0": 40.0, "1": 42.0, "2": 47.0}
    assert (found.low, found.high) == (None, None)  # an interval belongs to one model
    (collected,) = collect_runs(runs, ())
    assert len(set(collected.model_hashes(COLUMN).values())) == 3


def test_one_run_keeps_its_interval_and_has_no_deviation(tmp_path):
    found = number([store_run(tmp_path, "Argus 8B hr 0", {"GREEN": 40.0})])
    assert (found.value, found.low, found.high, found.sd) == (40.0, 39.0, 41.0, None)


def test_a_mean_is_never_over_a_part_of_the_seeds(tmp_path):
    runs = [store_run(tmp_path, "Argus 8B hr 0", {"GREEN": 40.0}), store_run(tmp_path, "Argus 8B hr 3", {})]
    assert (number(runs).value, number(runs).missing) == (None, f"seed 3: {NOT_IN_RESULTS}")
    assert number(runs, "METEOR").missing == f"seed 0: {JAVA}"
    assert number(runs, column=("nr", "Argus-8B")).missing == NO_RUN


def test_seeds_that_were_computed_differently_have_no_mean(tmp_path):
    other = {"GREEN": MetricValue(41.0, "another signature")}
    runs = [
        store_run(tmp_path, "Argus 8B hr 0", {"GREEN": 40.0}),
        store_run(tmp_path, "Argus 8B hr 1", {}, metrics=other),
    ]
    assert number(runs).value is None
    assert number(runs).missing == "computed differently for different seeds: another signature; signature of GREEN"


def test_runs_on_other_scans_are_refused(tmp_path):
    one = store_run(tmp_path, "Argus 8B hr -", {})
    for place, changes in enumerate(({"n_test": 19}, {"split": "validation"})):
        with pytest.raises(ValueError, match="different scans of ct-rate"):
            collect_runs([one, store_run(tmp_path, f"M{place} 8B hr -", {}, **changes)], ())
    other = store_run(tmp_path, "M3D 8B hr -", {})
    settings = other.folder / "predictions.jsonl.settings.json"
    settings.write_text(settings.read_text().replace("same", "other"))
    with pytest.raises(ValueError, match="different scans of ct-rate"):
        collect_runs([one, other], ())


def test_two_runs_in_one_place_need_seeds_and_models_of_their_own(tmp_path):
    one, two = (store_run(tmp_path, f"Argus 8B hr {seed}", {}) for seed in (0, 1))
    for pair in ((one, one), (replace(one, seed=None), two), (one, replace(two, seed=0))):
        with pytest.raises(ValueError, match="Argus-8B hr comes twice on ct-rate; give each of its runs its own seed"):
            collect_runs(pair, ())
    with pytest.raises(ValueError, match="not all of different models"):
        collect_runs([one, replace(one, seed=1)], ())
    collect_runs([one, two, replace(one, size="3B")], ())


def test_subsets_come_in_the_given_order_and_others_by_name(tmp_path):
    runs = [
        store_run(tmp_path, "Argus 8B hr -", {}, subset=subset) for subset in ("phantom", "inspect", "ct-rate", "a")
    ]
    found = collect_runs(runs, ["ct-rate", "bimcv-r", "inspect"])
    assert [each.subset for each in found] == ["ct-rate", "inspect", "a", "phantom"]
