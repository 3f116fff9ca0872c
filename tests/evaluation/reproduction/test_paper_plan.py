"""Plans as they are read and as they are refused."""

from pathlib import Path

import pytest

from argus_evaluation.reproduction.paper_plan import read_plan


def test_files_beside_a_plan_are_found_from_the_working_directory(plan_file):
    plan = read_plan(plan_file)
    assert (plan.base, plan.grids) == ("recipes/base.yaml", ("recipes/table2.yaml", "recipes/figure4.yaml"))
    assert plan.prepare.phantoms == {"ct-rate": 8, "inspect": 9} and plan.launcher.kind == "local"
    assert plan.figure7.findings == "rules" and plan.table4.cases == 2


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"grid": []}, "has an unknown grid"),
        ({"launcher": {"kind": "local", "gpus": 8}}, "launcher: has an unknown gpus"),
        ({"launcher": {"kind": "ray"}}, "unknown kind 'ray'; known: local, accelerate, slurm"),
        ({"launcher": {"at_once": 0}}, "are 1 or more"),
        ({"launcher": {"kind": "accelerate", "configs": {"create": "ddp.yaml"}}}, "configs: no such kind: create"),
        ({"launcher": {"threads": 0}}, "are 1 or more"),
        (
            {"launcher": {"kind": "slurm", "sbatch": {"gpu": []}}},
            "sbatch: no such kind: gpu; known: training, scores, spread, cpu",
        ),
        ({"prepare": {"sources": {"mimic": "x"}}}, "unknown source mimic; known: "),
        ({"prepare": {"sources": {"ct-rate": "x"}, "phantoms": {"inspect": 3}}}, "not both"),
        ({"prepare": {"phantoms": {"ct-rate": "many"}}}, "prepare/phantoms/ct-rate: expected a whole number"),
        ({"figure7": {"subset": "ct-rate", "systems": ["Argus nr"], "findings": "gren"}}, "unknown findings 'gren'"),
        ({"figure7": {"subset": "ct-rate", "systems": []}}, "figure7 needs at least one system"),
        ({"table4": {"systems": ["Argus nr"], "cases": 0}}, "table4 needs at least one system and one case"),
        ({"prepare": {"phantoms": {"ct-rate": 0}}}, "workers and phantoms are 1 or more"),
        ({"prepare": {"phantoms": {1: 2}}}, "unknown source 1; known: "),
        ({"grids": []}, "name at least one grid"),
        ({"grids": "table2.yaml"}, "grids: expected a list"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_file_and_key(change, keys, message):
    with pytest.raises(ValueError, match=f"^recipes/plan.yaml: .*{message}"):
        read_plan(change(**keys))


def test_a_launch_configuration_that_is_not_there_is_refused(change):
    file = change(launcher={"kind": "accelerate", "configs": {"sft": "zero3.yaml"}})
    Path("recipes/zero3.yaml").unlink()
    with pytest.raises(ValueError, match="^recipes/plan.yaml: launcher: configs: recipes/zero3.yaml: no such file"):
        read_plan(file)
