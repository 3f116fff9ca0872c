import pytest

from argus_evaluation.readme_results import END, START, bench_table, demo_table, fill_readme


def scores(f1: float, sided: float | None) -> dict:
    metrics = {"BLEU-4": {"value": 31.26}, "ROUGE-L": {"value": 50.0}}
    return {"finding_f1": f1, "laterality_accuracy": sided, "metrics": metrics}


def test_tables_hold_the_files_numbers():
    results = scores(0.714, 0.9) | {
        "controls": {"shuffled": scores(0.2, None)},
        "n_test": 100,
        "seconds": 700.2,
        "peak_memory_mb": 1500.0,
    }
    table = demo_table(results)
    assert "| tiny Argus | 0.71 | 0.90 | 31.3 | 50.0 |" in table
    assert "| shuffled images | 0.20 | - | 31.3 | 50.0 |" in table
    assert "100 scans, 700 s from nothing, 1.5 GB" in table
    row = {"argus_seconds": 0.5, "monai_seconds": 4.0, "times_faster": 8.0, "memory_share": 0.2}
    assert "| to the nr grid | 0.50 s | 4.00 s | 8.0 | 20% of MONAI's |" in bench_table({"summary": {"nr": row}})


def test_filling_twice_replaces_and_keeps_the_rest():
    readme = f"before\n{START}\nold\n{END}\nafter\n"
    once = fill_readme(readme, ["new"])
    assert once == f"before\n{START}\nnew\n{END}\nafter\n" == fill_readme(once, ["new"])


def test_a_readme_without_marks_is_refused():
    with pytest.raises(ValueError, match="marks"):
        fill_readme("nothing", ["new"])
