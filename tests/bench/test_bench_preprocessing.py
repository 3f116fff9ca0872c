"""The preprocessing bench measures in a process of its own, started from any folder."""

import bench_preprocessing


def test_a_scan_is_measured_in_a_process_of_its_own(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sides = ("argus", bench_preprocessing.FLOOR)
    runs = [
        {"resolution": "nr", "side": side} | bench_preprocessing._measure_in_a_process(side, "nr", scans[0])
        for side in sides
    ]
    assert all(run[name] > 0 for run in runs for name in ("seconds", "imports_mb", "peak_mb"))
    summary = bench_preprocessing.summarize([*runs, runs[0] | {"side": "monai", "seconds": 100.0}], "nr")
    assert 0 < summary["inflate_seconds"] < summary["monai_seconds"] == 100
    assert summary["times_faster"] == 100 / summary["argus_seconds"]
