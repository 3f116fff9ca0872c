"""The preprocessing bench measures in a process of its own, started from any folder."""

import bench_preprocessing


def test_a_scan_is_measured_in_a_process_of_its_own(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = bench_preprocessing._measure_in_a_process("argus", "nr", scans[0])
    assert found and all(value > 0 for value in found.values())
