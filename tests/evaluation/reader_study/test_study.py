import subprocess
import sys
from collections import Counter

import pytest

from argus_evaluation.benchmark.run_list import read_runs
from argus_evaluation.reader_study.study import HUMAN, Case, Study, build_study, keep_study

SYSTEMS = ("alpha", "beta", "gamma", "delta")


def study_of(num_cases: int, seed: int = 0) -> Study:
    cases = (Case("phantom", f"s{n}", {name: f"{name[0]} {n}" for name in SYSTEMS}) for n in range(num_cases))
    return Study("test", seed, tuple(cases))


def test_every_system_stands_in_every_place_about_as_often():
    study = study_of(400)
    firsts = Counter(study.report_order("ab", case)[0] for case in study.cases)
    assert set(firsts) == set(SYSTEMS)
    assert all(70 <= count <= 130 for count in firsts.values())  # 100 expected, standard deviation 8.7


def test_orders_differ_by_reader_case_and_seed():
    study = study_of(30)
    orders = [tuple(study.report_order("ab", case)) for case in study.cases]
    assert len(set(orders)) > 10
    assert orders != [tuple(study.report_order("cd", case)) for case in study.cases]
    assert orders != [tuple(study_of(30, seed=1).report_order("ab", case)) for case in study.cases]
    assert study.case_order("ab") != study.case_order("cd")
    assert sorted(study.case_order("ab")) == list(range(30))


def test_orders_are_the_same_in_another_process():
    code = (
        "from argus_evaluation.reader_study.study import Case, Study\n"
        f"case = Case('phantom', 's0', dict.fromkeys({SYSTEMS[::-1]}, ''))\n"
        "study = Study('test', 0, (case,) * 6)\n"
        "print(study.report_order('ab', case), study.case_order('ab'))"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    study = study_of(6)
    assert seen.strip() == f"{study.report_order('ab', study.cases[0])} {study.case_order('ab')}"


REPORTS = {scan: (f"told {scan}", f"true {scan}") for scan in ("s1", "s2", "s3")}


def test_references_are_one_more_system_only_when_asked(make_runs):
    runs = read_runs(make_runs({("M3D", "nr", "phantom"): REPORTS, ("Argus", "hr", "phantom"): REPORTS}))
    assert build_study(runs).systems == ("M3D nr", "Argus hr")
    study = build_study(runs, with_references=True)
    assert set(study.systems) == {HUMAN, "M3D nr", "Argus hr"}
    assert study.cases[0].reports[HUMAN] == "true s1"


def test_cases_are_drawn_from_every_subset(make_runs):
    other = {f"x{n}": ("told", "true") for n in range(9)}
    runs = read_runs(make_runs({("A1", "nr", "ct-rate"): REPORTS, ("A1", "nr", "inspect"): other}))
    study = build_study(runs, cases_per_subset=2, seed=4)
    assert Counter(case.subset for case in study.cases) == {"ct-rate": 2, "inspect": 2}
    assert study == build_study(runs, cases_per_subset=2, seed=4)


def test_100_cases_of_a_subset_are_drawn_unless_asked_otherwise(make_runs):
    many = {f"x{n}": ("told", "true") for n in range(130)}
    runs = read_runs(make_runs({("A1", "nr", "ct-rate"): many, ("A1", "nr", "inspect"): REPORTS}))
    assert Counter(case.subset for case in build_study(runs).cases) == {"ct-rate": 100, "inspect": 3}
    assert len(build_study(runs, cases_per_subset=120).cases) == 123


def test_runs_that_cannot_be_compared_are_refused(make_runs, tmp_path):
    first = ("A1", "nr", "phantom")
    for other, lines, reason in [
        (("B1", "nr", "phantom"), {"s1": REPORTS["s1"]}, "not those of the subset's other runs"),
        (("B1", "nr", "phantom"), REPORTS | {"s2": ("told", "else")}, "another reference"),
    ]:
        runs = read_runs(make_runs({first: REPORTS, other: lines}))
        with pytest.raises(ValueError, match=reason):
            build_study(runs)
        for folder in tmp_path.glob("run?"):
            folder.rename(tmp_path / f"old-{reason[:3]}-{folder.name}")
    twice = read_runs(make_runs({first: REPORTS}))
    with pytest.raises(ValueError, match="comes twice"):
        build_study([*twice, *twice])


@pytest.mark.parametrize("text", ["Written by Argus.", "ARGUS: no nodule", "by argus hr"])
def test_a_report_that_names_a_system_is_refused(make_runs, text):
    runs = read_runs(make_runs({("Argus", "hr", "phantom"): REPORTS | {"s1": (text, "true s1")}}))
    with pytest.raises(ValueError, match="cannot be read blinded|read blinded"):
        build_study(runs)


def test_a_folder_keeps_one_study(make_runs, tmp_path):
    runs = read_runs(make_runs({("A1", "nr", "phantom"): REPORTS}))
    keep_study(build_study(runs), tmp_path / "study")
    keep_study(build_study(runs), tmp_path / "study")
    with pytest.raises(ValueError, match=r"other settings \(seed 0, not 1\)"):
        keep_study(build_study(runs, seed=1), tmp_path / "study")
    lines = (tmp_path / "run0" / "predictions.jsonl").read_text()
    (tmp_path / "run0" / "predictions.jsonl").write_text(lines.replace("told s1", "told otherwise"))
    with pytest.raises(ValueError, match=r"other settings \(reports_sha256\)"):
        keep_study(build_study(runs), tmp_path / "study")
