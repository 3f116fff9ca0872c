"""Read the plan of a reproduction, a YAML file that names the data, the grids to train, and how to launch trainings.

    prepare: {sources: {ct-rate: downloads/CT-RATE, bimcv-r: downloads/BIMCV-R, inspect: downloads/INSPECT}}
    base: ../ablations/ct3drrg.yaml
    grids: [../ablations/table2.yaml, ../ablations/figure3.yaml]
    launcher: {kind: accelerate, processes: 8, configs: {sft: ../../accelerate_configs/zero3_offload.yaml}}

Recipes and launch configurations are named relative to the plan, as a grid names its base; downloads relative to the
working directory. The base recipe names the folder of the prepared data and the baselines' published weights.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from argus_processing.sources.registry import SOURCES
from argus_processing.storage.foreign_files import read_yaml_object
from argus_processing.storage.typed_json import from_json

from ..benchmark.report_comparison import FINDINGS_METRICS

LAUNCHERS = ("local", "accelerate", "slurm")
LAUNCHED = ("language", "vision", "sft")  # kinds of steps that train, and so need a launcher
# What a job on a cluster needs: a training's GPUs, one of them, all of a machine for one model, none.
RESOURCES = TRAINING, SCORING, SPREAD, CPU = ("training", "scores", "spread", "cpu")


@dataclass(frozen=True)
class Preparation:
    """Settings of the data set's preparation.

    Attributes:
        sources: folder of each source's download.
        phantoms: in place of downloads, the number of phantoms to draw in each source's layout.
        seed: of the phantoms.
        workers: number of volumes read in parallel.
        arguments: further arguments of `argus prepare`, such as [--judge, MODEL].
    """

    sources: dict[str, str] = field(default_factory=dict)
    phantoms: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    workers: int = 1
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.sources and self.phantoms:
            raise ValueError("give sources or phantoms, not both")
        if unknown := sorted(map(str, {*self.sources, *self.phantoms} - set(SOURCES))):
            raise ValueError(f"unknown source {', '.join(unknown)}; known: {', '.join(SOURCES)}")
        if min([self.workers, *self.phantoms.values()]) < 1 or self.seed < 0:
            raise ValueError("prepare: workers and phantoms are 1 or more, and the seed is not below 0")


@dataclass(frozen=True)
class Launcher:
    """Settings that start the jobs.

    Attributes:
        kind: "local", one process a cell; "accelerate", `processes` of them; "slurm", arrays of jobs.
        at_once: number of jobs that run at the same time, without Slurm. With "accelerate" a training has all GPUs
            to itself, a score has one, and of the jobs that need none, such as an assembly, one runs at a time.
        threads: threads of each job's libraries. Default: their own choice.
        processes: of a training, over all its machines.
        nodes: machines of a training, with Slurm; each other job has one.
        configs: file of `accelerate launch` by kind of step: language, vision, sft.
        sbatch: options of the arrays by what their jobs need: training; scores (one GPU); spread, scores of a model
            that is spread over a machine's GPUs (default: as training); cpu. Nodes and tasks are added.
    """

    kind: str = "local"
    at_once: int = 1
    threads: int | None = None
    processes: int = 1
    nodes: int = 1
    configs: dict[str, str] = field(default_factory=dict)
    sbatch: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in LAUNCHERS:
            raise ValueError(f"unknown kind {self.kind!r}; known: {', '.join(LAUNCHERS)}")
        if min(self.at_once, self.processes, self.nodes, 1 if self.threads is None else self.threads) < 1:
            raise ValueError("at_once, threads, processes and nodes are 1 or more")
        for key, known in (("configs", LAUNCHED), ("sbatch", RESOURCES)):
            if unknown := sorted(map(str, set(getattr(self, key)) - set(known))):
                raise ValueError(f"{key}: no such kind: {', '.join(unknown)}; known: {', '.join(known)}")


@dataclass(frozen=True)
class Figure7:
    """The page of reports beside the truth: its subset, its systems by name, and the metric that names findings."""

    subset: str
    systems: tuple[str, ...]
    findings: str = "rules"
    limit: int = 8

    def __post_init__(self) -> None:
        if self.findings not in FINDINGS_METRICS:
            raise ValueError(f"figure7: unknown findings {self.findings!r}; known: {', '.join(FINDINGS_METRICS)}")
        if self.limit < 1 or not self.systems:
            raise ValueError("figure7 needs at least one system, and a limit of 1 or more")


@dataclass(frozen=True)
class ReaderStudy:
    """The reader study behind Table 4: its systems by name, and the number of cases drawn from each subset."""

    systems: tuple[str, ...]
    cases: int = 100

    def __post_init__(self) -> None:
        if self.cases < 1 or not self.systems:
            raise ValueError("table4 needs at least one system and one case")


@dataclass(frozen=True)
class PaperPlan:
    """Content of a plan's file; `figure7` and `table4` need a grid with the axes system and resolution."""

    base: str
    grids: tuple[str, ...]
    prepare: Preparation = field(default_factory=Preparation)
    launcher: Launcher = field(default_factory=Launcher)
    figure7: Figure7 | None = None
    table4: ReaderStudy | None = None


def read_plan(path: Path) -> PaperPlan:
    """Read a plan; the files that it names beside itself become paths from the working directory.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: naming the file and the key that is unknown, missing or wrong.
    """
    try:
        plan = from_json(PaperPlan, read_yaml_object(path))
    except ValueError as error:
        told = str(error)
        raise ValueError(told if told.startswith(f"{path}: ") else f"{path}: {told}") from None
    if not plan.grids:
        raise ValueError(f"{path}: grids: name at least one grid")
    configs = {kind: _beside(path, name) for kind, name in plan.launcher.configs.items()}
    if missing := next((name for name in configs.values() if not Path(name).is_file()), None):
        raise ValueError(f"{path}: launcher: configs: {missing}: no such file")
    return replace(
        plan,
        base=_beside(path, plan.base),
        grids=tuple(_beside(path, name) for name in plan.grids),
        launcher=replace(plan.launcher, configs=configs),
    )


def _beside(path: Path, name: str) -> str:
    return os.path.normpath(Path(path).parent / name)
