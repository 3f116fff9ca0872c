"""Arrays of jobs for Slurm: levels, resources, scripts that run, and their submission."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser

from argus_evaluation.reproduction.jobs import Job, list_jobs
from argus_evaluation.reproduction.paper_plan import Launcher, read_plan
from argus_evaluation.reproduction.slurm_arrays import arrays_of, options_of, script_text, shell_line, submit

OUT = Path("out")
OPTIONS = {"training": ("--gpus-per-node=8",), "scores": ("--gpus-per-node=1",), "cpu": ("--cpus-per-task=16",)}
SLURM = {"kind": "slurm", "processes": 16, "nodes": 2, "sbatch": {key: list(said) for key, said in OPTIONS.items()}}


def write_program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Path:
    """Programs in place of Slurm's: sbatch numbers its arrays from 101; squeue shows those in the file `queue`."""
    monkeypatch.chdir(tmp_path)
    write_program(tmp_path / "bin", "sbatch", 'echo "$@" >>submitted; echo $((100 + $(wc -l <submitted)))')
    write_program(tmp_path / "bin", "squeue", "cat queue 2>/dev/null || true")
    # More nodes than a pipe holds: a reader that leaves early is noticed.
    write_program(tmp_path / "bin", "scontrol", "echo node1; yes node2 | head -n 100000")
    write_program(
        tmp_path / "bin", "srun", 'while [ "${1#-}" != "$1" ]; do log=${1#--output=}; shift; done; "$@" >$log'
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def job(name: str, kind: str, *needs: str) -> Job:
    return Job(name, kind, ("sh", "-c", f"echo {name}: $0", "$SLURM_NODEID"), Path(f"{name}.txt"), needs)


CHAIN = [
    job("data", "prepare"),
    job("tower", "vision", "data"),
    job("a", "create", "tower"),
    job("b", "create"),
    job("a1", "sft", "a", "data"),
    job("b1", "sft", "b", "data"),
    job("sa", "score", "a1"),
    job("table", "result", "sa"),
]


def test_levels_follow_the_needs_and_only_some_ask_for_gpus():
    arrays = arrays_of(CHAIN[1:], Launcher(sbatch=OPTIONS))
    assert [(array.name, [each.name for each in array.jobs], array.after) for array in arrays] == [
        ("01-training", ["tower"], ()),
        ("01-cpu", ["b"], ()),
        ("02-cpu", ["a"], ("01-training", "01-cpu")),
        ("02-training", ["b1"], ("01-training", "01-cpu")),
        ("03-training", ["a1"], ("02-cpu", "02-training")),
        ("04-scores", ["sa"], ("03-training",)),
        ("05-cpu", ["table"], ("04-scores",)),
    ]
    for array in arrays:
        script = script_text(array, OUT)
        assert f"#SBATCH --array=0-{len(array.jobs) - 1}\n" in script
        assert ("--gpus-per-node" in script) == (not array.name.endswith("cpu"))


def test_each_machine_of_a_training_is_asked_for_and_starts_one_task():
    # Without --nodes Slurm gives one machine, and accelerate would wait on it for the other for ever.
    for array in arrays_of(CHAIN, Launcher("slurm", nodes=2, processes=16, sbatch=OPTIONS)):
        lines = script_text(array, OUT).splitlines()
        nodes = 2 if array.name.endswith("training") else 1
        assert [line for line in lines if "--nodes" in line] == [f"#SBATCH --nodes={nodes}"]
        assert "#SBATCH --ntasks-per-node=1" in lines


def test_scores_of_a_spread_model_ask_for_a_trainings_machine(change):
    file = change(launcher=SLURM)
    base = Path("recipes/base.yaml")
    said = yaml.safe_load(base.read_text())
    base.write_text(yaml.safe_dump(said | {"evaluation": said["evaluation"] | {"device_map": "auto"}}))
    arrays = arrays_of(list_jobs(file, read_plan(file), OUT), read_plan(file).launcher)
    spread = [array for array in arrays if array.name.endswith("spread")]
    assert {job.kind for array in spread for job in array.jobs} == {"score"}
    assert not any(array.name.endswith("scores") for array in arrays)
    assert {(array.options, array.nodes) for array in spread} == {(OPTIONS["training"], 1)}
    own = options_of("spread", Launcher(sbatch=OPTIONS | {"spread": ("--gpus=4",)}))
    assert own == ("--gpus=4",) and options_of("scores", Launcher(sbatch=OPTIONS)) == OPTIONS["scores"]


def test_arrays_wait_for_those_before_them_and_their_scripts_run_each_job(cluster):
    arrays = arrays_of(CHAIN[3:6], Launcher(sbatch=OPTIONS))
    assert submit(arrays, OUT) == ["101", "102", "103"]
    assert Path("submitted").read_text().splitlines() == [
        "--parsable out/slurm/01-cpu.sbatch",
        "--parsable out/slurm/01-training.sbatch",
        "--parsable --dependency=afterok:101:102 --kill-on-invalid-dep=yes out/slurm/02-training.sbatch",
    ]
    task = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NODEID": "1"}
    subprocess.run(["bash", "out/slurm/01-cpu.sbatch"], env=os.environ | task, check=True)
    assert Path("out/logs/b.log").read_text() == "b: 1\n"


def test_arrays_that_are_in_the_queue_are_not_submitted_again(cluster):
    arrays = arrays_of(CHAIN, Launcher())
    submit(arrays, OUT)
    Path("queue").write_text("102\n999\n")
    with pytest.raises(ValueError, match="arrays 102 of an earlier start are in the queue; wait or scancel them"):
        submit(arrays, OUT)
    Path("queue").unlink()
    assert len(submit(arrays, OUT)) == len(arrays)


def test_without_slurm_or_with_a_refusal_the_reason_is_told(cluster, monkeypatch):
    write_program(cluster / "bin", "sbatch", "echo 'error: invalid partition' >&2; exit 1")
    with pytest.raises(ValueError, match="01-cpu.sbatch: error: invalid partition"):
        submit(arrays_of(CHAIN, Launcher()), OUT)
    monkeypatch.setenv("PATH", str(cluster))
    with pytest.raises(ValueError, match="sbatch: not found"):
        submit(arrays_of(CHAIN, Launcher()), OUT)


def test_a_training_on_several_nodes_is_taken_by_accelerate_on_each(change):
    file = change(launcher=SLURM)
    trainings = [each for each in list_jobs(file, read_plan(file), OUT) if each.kind == "vision"]
    line = shell_line(trainings[0].command)
    assert '--machine_rank "$SLURM_NODEID"' in line and '--main_process_ip "$MAIN_NODE"' in line
    filled = line.replace("$SLURM_NODEID", "1").replace("$MAIN_PORT", "20007").replace("$MAIN_NODE", "node1")
    arguments = launch_command_parser().parse_args(shlex.split(filled)[2:])
    assert (arguments.num_processes, arguments.num_machines, arguments.machine_rank) == (16, 2, 1)
    assert (arguments.main_process_ip, arguments.main_process_port) == ("node1", 20007)


def test_the_command_submits_what_is_left_and_a_dry_run_prints_how(argus, change, cluster):
    change(launcher=SLURM)
    code, stdout, _ = argus("reproduce", "recipes/plan.yaml", OUT, "--dry-run")
    assert code == 0 and not OUT.exists()
    submissions = [line for line in stdout.splitlines() if "sbatch" in line]
    assert submissions[0] == "ARRAY_01_cpu=$(sbatch --parsable out/slurm/01-cpu.sbatch)"
    assert "--dependency=afterok:$ARRAY_01_cpu --kill-on-invalid-dep=yes" in submissions[1]
    code, stdout, _ = argus("reproduce", "recipes/plan.yaml", OUT)
    assert code == 0 and "arrays (101, 102, " in stdout
    assert len(Path("submitted").read_text().splitlines()) == len(submissions)
