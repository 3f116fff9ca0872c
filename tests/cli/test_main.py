import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from argus_evaluation.benchmark.evaluation_results import EvaluationResults, MetricValue, write_results
from argus_inference.console.plain_text import plain_lines
from argus_inference.generation import generate_batch
from argus_inference.model_folder import hash_model
from argus_processing.instructions import INSTRUCTION


@pytest.fixture(scope="module")
def expected(loaded, scans) -> list[str]:
    return [generate_batch(*loaded, [scan], [INSTRUCTION], 6)[0].text for scan in scans[:2]]


def test_stdout_holds_only_the_report_and_the_notice_comes_once(argus, model_dir, scans, expected, tmp_path):
    out, preview = tmp_path / "report.txt", tmp_path / "p.png"
    options = ("--model", model_dir, "--max-new-tokens", 6, "--out", out, "--preview", preview)
    code, stdout, stderr = argus("report", scans[0], *options)
    assert code == 0
    assert stdout == out.read_text() == plain_lines(expected[0]) + "\n"
    assert stderr.count("not a medical device") == 1
    assert "cut at 6 tokens" in stderr
    assert sorted(tmp_path.iterdir()) == [preview, out]


def test_stream_prints_the_same_report(argus, model_dir, scans, expected):
    code, stdout, _ = argus("report", scans[0], "--model", model_dir, "--max-new-tokens", 6, "--stream")
    assert (code, stdout.strip()) == (0, plain_lines(expected[0]))


def test_json_describes_the_scan_and_the_model(argus, model_dir, scans, expected):
    code, stdout, _ = argus("report", scans[0], "--model", model_dir, "--max-new-tokens", 6, "--json")
    described = json.loads(stdout)
    assert code == 0
    assert (described["scan"], described["report"]) == (str(scans[0]), expected[0])
    assert described["model_hash"] == hash_model(model_dir)
    assert len(described["original_orientation"]) == 3
    assert described["spacing_mm"] == pytest.approx([12, 8, 8])
    assert described["hu_range"][0] < -900 < 100 < described["hu_range"][1]
    assert described["truncated"] is True


def test_a_scan_that_fails_is_told_in_one_line_and_the_rest_go_on(argus, model_dir, scans, expected, tmp_path):
    broken, out = tmp_path / "broken.nii.gz", tmp_path / "all.jsonl"
    broken.write_bytes(b"no scan")
    code, stdout, stderr = argus(
        *("report", scans[0], broken, scans[1], "--model", model_dir, "--json", "--batch-size", 3),
        *("--max-new-tokens", 6, "--out", out),
    )
    assert code == 2
    first, failed, last = [json.loads(line) for line in stdout.splitlines()]
    assert [first["report"], last["report"]] == expected
    assert set(failed) == {"scan", "error", "model_hash"}
    assert sum(str(broken) in line for line in stderr.splitlines()) == 1
    assert "Traceback" not in stderr
    assert out.read_text() == stdout


def test_nothing_is_written_when_no_scan_can_be_read(argus, model_dir, tmp_path):
    out = tmp_path / "report.txt"
    code, stdout, stderr = argus("report", tmp_path / "none.nii.gz", "--model", model_dir, "--out", out)
    assert (code, stdout) == (2, "")
    assert len(stderr.splitlines()) == 2  # the notice and the reason
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "no/such/folder"], "no such model folder"),
        (["--model", "{empty}"], "not a saved model, it has no config.json and no *.safetensors"),
        (["--model", "{model}", "--json", "--stream"], "do not go together"),
        (["--model", "{model}", "--out", "no/such/report.txt"], "does not exist"),
        (["--model", "{model}", "--preview", "p.pdf"], "ends in .png"),
        (["--model", "{model}", "other.nii", "--preview", "p.png"], "takes one scan"),
        (["--model", "{model}", "--evidence", "maps", "--out", "maps"], "lies in the folder of --evidence"),
        (["--model", "{model}", "--evidence", "maps", "--preview", "maps/../maps/p.png"], "lies in the folder of"),
    ],
)
def test_what_a_user_can_put_right_is_one_line_and_exit_code_2(argus, model_dir, scans, tmp_path, arguments, reason):
    places = {"empty": tmp_path, "model": model_dir}
    code, stdout, stderr = argus("report", scans[0], *(argument.format(**places) for argument in arguments))
    notice, told = stderr.splitlines()
    assert (code, stdout) == (2, "")
    assert told.startswith("argus: ") and reason in told


def test_a_broken_configuration_is_one_line(argus, model_dir, scans, tmp_path):
    shutil.copytree(model_dir, tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{")
    code, stdout, stderr = argus("report", scans[0], "--model", tmp_path / "model")
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 2)


def test_damaged_weights_are_one_line(argus, model_dir, scans, tmp_path):
    shutil.copytree(model_dir, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    code, stdout, stderr = argus("report", scans[0], "--model", tmp_path / "model")
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 2)


def test_the_hash_changes_with_weights_and_preprocessing_only(model_dir, tmp_path):
    copy = shutil.copytree(model_dir, tmp_path / "model")
    (copy / "README.md").write_text("A card.")
    assert hash_model(copy) == hash_model(model_dir)
    config = next(copy.glob("*processor_config.json"))
    config.write_text(config.read_text().replace("1000.0", "900.0"))
    assert hash_model(copy) != hash_model(model_dir)


def evaluate(model_dir: Path, folder: Path, *options: str) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).with_name("argus")), "evaluate", "--model", str(model_dir), str(folder / "out")]
    phantoms = ["--num-phantoms", "2", "1", "3", "--seed", "5", "--limit", "2"]
    environment = os.environ | {"HF_DATASETS_CACHE": str(folder / "cache"), "COLUMNS": "140", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = str(Path(sys.executable).parent)  # no Java, whose METEOR needs half a minute to start
    return subprocess.run([*command, *phantoms, *options], capture_output=True, text=True, env=environment, check=False)


def test_evaluate_ends_in_a_table_and_refuses_to_mix_settings(model_dir, tmp_path):
    done = evaluate(model_dir, tmp_path, "--max-new-tokens", "4")
    assert done.returncode == 0, done.stderr
    assert "shuffled images" in done.stdout
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (results["n_test"], results["subset"]) == (2, "phantom")
    mixed = evaluate(model_dir, tmp_path, "--max-new-tokens", "5")
    assert (mixed.returncode, mixed.stdout) == (2, "")
    assert "max_new_tokens 4, not 5" in mixed.stderr and "Traceback" not in mixed.stderr
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results


def test_evaluate_wants_either_a_model_or_recompute(argus, model_dir, tmp_path):
    for options in ((), ("--model", model_dir, "--recompute")):
        code, stdout, stderr = argus("evaluate", tmp_path / "out", *options)
        assert (code, stdout, len(stderr.splitlines())) == (2, "", 1)
        assert "either --model" in stderr


def test_evaluate_refuses_an_unknown_folder_and_a_foreign_seed_in_one_line(argus, model_dir, tmp_path):
    for options in (("--data-dir", "no/such"), ("--subset", "ct-rate", "--seed", 1)):
        code, stdout, stderr = argus("evaluate", "--model", model_dir, tmp_path / "out", *options)
        assert (code, stdout, len(stderr.splitlines())) == (2, "", 1), stderr
    assert not (tmp_path / "out").exists()


def test_phantom_writes_a_layout_and_refuses_an_unknown_one(argus, tmp_path):
    assert argus("phantom", tmp_path / "inspect", "--layout", "inspect", "--n", 1)[0] == 0
    assert (tmp_path / "inspect" / "impressions_20250611.tsv").is_file()
    code, _, stderr = argus("phantom", tmp_path / "x", "--layout", "xnat")
    assert code == 2 and "'xnat' is not one of 'ct-rate', 'bimcv-r', 'inspect'" in stderr.splitlines()[-1]


def test_create_takes_a_baselines_tower_and_another_compressor(argus, model_dir, tmp_path):
    llm = model_dir.parent / "llm"
    options = (
        "--random-vision",
        "--tower",
        "m3d",
        "--compressor",
        "perceiver",
        "--num-latents",
        "3",
        "--projector-layers",
        "1",
        "--preprocessing",
        "paper",
        *("--image-size", "64", "64", "64"),
    )
    code, stdout, stderr = argus("create", "argus-tiny", tmp_path / "m", "--llm", llm, *options)
    assert (code, stdout) == (0, ""), stderr
    assert stderr.count("\n") == 1 and "vision tower has random weights" in stderr
    assert "**The vision tower was not pretrained:**" in (tmp_path / "m" / "README.md").read_text()
    said = json.loads((tmp_path / "m" / "config.json").read_text())
    assert said["vision_config"]["model_type"] == "m3d_vision"
    assert (said["compressor"], said["num_latents"], said["num_projector_layers"]) == ("perceiver", 3, 1)
    pixels = json.loads((tmp_path / "m" / "processor_config.json").read_text())["image_processor"]
    assert said["vision_config"]["image_size"] == pixels["image_size"] == [64, 64, 64]
    assert (pixels["normalization"], pixels["resampling"]) == ("hu_window", "paper")


@pytest.mark.parametrize(
    ("options", "message"), [((), "--random-vision starts from"), (("--vision", "x", "--random-vision"), "either")]
)
def test_create_takes_no_random_tower_in_silence(argus, model_dir, tmp_path, options, message):
    llm = model_dir.parent / "llm"
    code, stdout, stderr = argus("create", "argus-tiny", tmp_path / "m", "--llm", llm, *options)
    assert (code, stdout, stderr.count("\n")) == (2, "", 1) and message in stderr
    assert not (tmp_path / "m").exists()


def test_convert_says_in_one_line_what_it_cannot_do(argus, tmp_path):
    code, stdout, stderr = argus("convert", "ct2rep", tmp_path, tmp_path / "tower")
    assert (code, stdout) == (2, "") and stderr.count("\n") == 1
    assert "authors link no weights" in stderr


def test_create_refuses_an_unknown_preset_in_one_line(argus, tmp_path):
    code, stdout, stderr = argus("create", "argus-9t", tmp_path / "m", "--llm", tmp_path, "--random-vision")
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 1)
    assert "argus-9t" in stderr


def test_help_groups_every_command_and_begins_with_the_demo(argus):
    panels = re.findall(r"^╭─ (.+?) ─", argus("--help")[1], re.MULTILINE)
    assert panels[:2] == ["Options", "Start here"] and "Commands" not in panels


def test_help_loads_no_heavy_library():
    code = (
        "import sys; sys.argv = ['argus', '--help']\n"
        "from argus_cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_prepare_reports_unusable_volumes_in_a_line_and_its_exit_code(argus, tmp_path):
    argus("phantom", tmp_path / "inspect", "--layout", "inspect", "--n", 12)
    code, stdout, stderr = argus("prepare", tmp_path / "out", "--inspect", tmp_path / "inspect")
    assert (code, stderr.strip()) == (0, "")
    assert "short report" in stdout
    end = " ".join(stdout[stdout.index("yours beside the paper's Table 1") :].split())
    assert "│ 4,080 │" in end and "Phantoms, not patients: inspect." in end
    volume = sorted((tmp_path / "inspect" / "CTPA").iterdir())[0]
    volume.write_bytes(volume.read_bytes()[:500])
    code, _, stderr = argus("prepare", tmp_path / "out", "--inspect", tmp_path / "inspect")
    assert code == 2
    line, log = stderr.strip().splitlines()
    assert line.startswith("argus: unreadable_volume: 1, the first is inspect ") and "problems.jsonl" in log
    (tmp_path / "columns.yaml").write_text("inspect: {impression: Befund}")
    code, _, stderr = argus(
        "prepare", tmp_path / "new", "--inspect", tmp_path / "inspect", "--columns", tmp_path / "columns.yaml"
    )
    assert code == 2
    assert "impressions_20250611.tsv: no column 'Befund'; it has impression_id, impressions" in stderr
    assert not (tmp_path / "new").exists()


def test_tables_and_the_comparison_page_are_written_and_printed(argus, make_runs, tmp_path):
    runs = make_runs({("Argus", "hr", "phantom"): {"s1": ("No nodule.", "Cardiomegaly.")}})
    metrics = {"BLEU-1": MetricValue(12.5, "sacrebleu")}
    results = EvaluationResults(subset="phantom", split="test", n_test=1, model_hash="ab" * 32, metrics=metrics)
    write_results(tmp_path / "run0", results)
    code, stdout, _ = argus("table2", runs, tmp_path / "out")
    assert code == 0 and "phantom test, 1 reports" in stdout and "missing" in stdout
    assert "### Normal resolution (256 × 256 × 64)" in (tmp_path / "out" / "table2.md").read_text()
    assert "| 12.50 |" in (tmp_path / "out" / "metric_table.md").read_text()
    code, _, _ = argus("compare-reports", tmp_path / "run0", tmp_path / "page.html", "--title", "Ours")
    assert code == 0 and "<title>Ours: reports" in (tmp_path / "page.html").read_text()


def test_what_is_wrong_with_a_study_is_one_line_and_nothing_is_begun(
    argus, make_runs, tmp_path, monkeypatch, some_niivue
):
    runs = make_runs({("Argus", "hr", "phantom"): {"s1": ("No nodule.", "Cardiomegaly.")}})
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    cases = [
        (("table2", tmp_path / "none.yaml", tmp_path / "out"), "No such file"),
        (("table2", runs, tmp_path / "out"), "finish argus evaluate"),
        (("table4", tmp_path, tmp_path / "out"), "argus reader-study"),
        (("compare-reports", tmp_path, tmp_path / "page.html"), "written by argus evaluate"),
        (("reader-study", tmp_path / "out", "--runs", runs, "--num-phantoms", 0, 0, 1), "is not in phantom test"),
    ]
    for arguments, reason in cases:
        code, _, stderr = argus(*arguments)
        assert code == 2 and reason in stderr.splitlines()[-1], stderr
        assert "Traceback" not in stderr
    assert not (tmp_path / "out").exists() and not (tmp_path / "page.html").exists()
