"""The preprocessing bench measures in a process of its own, started from any folder."""

import bench_preprocessing


def test_a_scan_is_measured_in_a_process_of_its_own(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argus = bench_preprocessing._measure_in_a_process("argus", "nr", scans[0])
    floor = bench_preprocessing.measure(bench_preprocessing.FLOOR, "nr", scans[0])
    assert all(found[name] > 0 for found in (argus, floor) for name in ("seconds", "imports_mb", "peak_mb"))
    sides = {"argus": argus, bench_preprocessing.FLOOR: floor, "monai": argus | {"seconds": 100.0}}
    runs = [{"resolution": "nr", "side": side} | found for side, found in sides.items()]
    summary = bench_preprocessing.summarize(runs, "nr")
    assert 0 < summary["inflate_seconds"] < summary["monai_seconds"] == 100
    assert summary["times_faster"] == 100 / summary["argus_seconds"]
