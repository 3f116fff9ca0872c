"""Read the grid of an ablation: a YAML file of panels, each with axes, over a base recipe.

A panel has a cell for every combination of one value from each axis. The overrides of these values are applied to the
base recipe, for every seed. Cells of two panels with the same settings are the same cell: they are trained once.

What a name such as "hr" or "8B" means depends on the data, so the base recipe says it, under `choices`:

    choices: {resolution: {nr: {preset: argus-8b-nr}, hr: {preset: argus-8b-hr}}}

A value `{choose: {resolution: hr}}` of an axis then stands for these overrides. Where two of them differ, the kind that
the base recipe lists later wins; what the grid itself sets wins over what is chosen.
"""

import itertools
import json
import re
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from argus_processing.storage.foreign_files import read_yaml_object
from argus_processing.storage.typed_json import from_json
from argus_training.ablations.ablation_recipes import DRIVEN, RECIPES, check_mapping, names_of

_FOLDER_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class _PaperOrder:
    """Form of a panel's `paper` in a file."""

    axis: str = ""
    order: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class _PanelFile:
    """Form of a panel in a file; what its axes hold is checked where the cells are made."""

    axes: dict[str, Any]
    title: str = ""
    paper: _PaperOrder = _PaperOrder()
    ours: str = ""


@dataclass(frozen=True)
class _GridFile:
    """Form of a grid's file."""

    name: str
    base: str
    seeds: list[int]
    panels: list[_PanelFile]
    title: str = ""
    kind: str = ""
    score: str | None = None
    metrics: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _BaseFile:
    """Form of what a base recipe holds beside the settings of the cells, which their recipe checks."""

    choices: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    score: str | None = None
    metrics: list[str] = field(default_factory=list)


_GRID_KEYS, _PANEL_KEYS, _BASE_KEYS = map(names_of, (_GridFile, _PanelFile, _BaseFile))


@dataclass(frozen=True)
class Cell:
    """One combination of a panel's values: `values` maps axis to value name, `settings` is the resulting recipe."""

    values: dict[str, str]
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """Return the names of the cell's values, for display."""
        return ", ".join(self.values.values())


@dataclass(frozen=True)
class Panel:
    """One plot of the figure: axes (name -> value name -> overrides) and the order of values in the paper.

    `ours` says what the paper does not have, in a panel whose cells stand beside the paper's.
    """

    title: str
    axes: dict[str, dict[str, dict]]
    cells: tuple[Cell, ...]
    paper: dict[str, Any] = field(default_factory=dict)
    ours: str = ""


@dataclass(frozen=True)
class Base:
    """A base recipe, and what the names that a grid may choose mean: kind -> name -> overrides."""

    recipe: dict[str, Any]
    choices: dict[str, dict[str, dict]]


@dataclass(frozen=True)
class Grid:
    """Content of a grid's file.

    Attributes:
        name: name of the files that are written.
        title: title of the table and the figure.
        kind: kind of the cells, one of `RECIPES`: a training run scored by its reports, or a preprocessing.
        seeds: every cell is run with each of these seeds.
        score: the metric that the figure shows and that decides the order.
        metrics: the table's columns, `score` first.
        panels: the plots.
    """

    name: str
    title: str
    kind: str
    seeds: tuple[int, ...]
    score: str
    metrics: tuple[str, ...]
    panels: tuple[Panel, ...]

    def cells(self) -> list[Cell]:
        """Return all cells of all panels; of those with the same settings only the first."""
        distinct: dict[str, Cell] = {}
        for panel in self.panels:
            for cell in panel.cells:
                distinct.setdefault(key_of(cell.settings), cell)
        return list(distinct.values())


def key_of(settings: dict[str, Any]) -> str:
    """Return settings as text that does not depend on the order they were written in."""
    return json.dumps(settings, sort_keys=True)


def read_grid(path: Path, base: Path | None = None) -> Grid:
    """Read a grid and make its cells.

    Args:
        path: the grid's YAML.
        base: base recipe, such as the one for CT-3DRRG. Default: the one that the file names.

    Raises:
        ValueError: naming the file, and the key, axis or setting that is unknown or missing.
    """
    path = Path(path)
    content = _read_yaml(path)
    _check_keys(path, content, _GRID_KEYS, {"name", "base", "seeds", "panels"})
    kind = content.get("kind", "reports")
    if kind not in RECIPES:
        raise ValueError(f"{path}: unknown kind {kind!r}; known: {', '.join(RECIPES)}")
    _check_form(path, content)
    seeds = content["seeds"]
    if not seeds or len(set(seeds)) != len(seeds) or not all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        raise ValueError(f"{path}: seeds is a list of distinct integers from 0 up, got {seeds}")
    known = read_base(base or path.parent / content["base"])
    # The metrics depend on the data, so the base recipe lists them; a grid may list others.
    own_score, own_metrics = known.recipe.pop("score", None), known.recipe.pop("metrics", [])
    score = content.get("score", own_score)
    if score is None:
        raise ValueError(f"{path}: neither it nor its base recipe names a score")
    panels = tuple(_panel(path, panel, known, content.get("settings", {}), kind) for panel in content["panels"])
    metrics = tuple(dict.fromkeys([score, *content.get("metrics", own_metrics)]))
    return Grid(content["name"], content.get("title", content["name"]), kind, tuple(seeds), score, metrics, panels)


def _check_form(path: Path, content: dict[str, Any]) -> None:
    """Check the types of a grid's values, and that its name can be that of a folder."""
    for panel in content["panels"] if isinstance(content["panels"], list) else ():
        if isinstance(panel, dict):
            _check_keys(path, panel, _PANEL_KEYS, {"axes"})
    try:
        from_json(_GridFile, content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not _FOLDER_NAME.fullmatch(content["name"]):
        raise ValueError(f"{path}: name: letters, digits, dots, hyphens and underscores only, got {content['name']!r}")
    if not content["panels"]:
        raise ValueError(f"{path}: panels: give at least one")


def read_base(path: Path) -> Base:
    """Read a base recipe; replace an objective given as a file by that recipe without the keys that the grid sets.

    Raises:
        ValueError: naming the file, and what in it has another form.
    """
    path = Path(path)
    recipe = _read_yaml(path)
    try:
        from_json(_BaseFile, {name: recipe[name] for name in _BASE_KEYS if name in recipe})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    choices = recipe.pop("choices", {})
    for part in (recipe, *(overrides for names in choices.values() for overrides in names.values())):
        check_mapping(f"{path}: objectives", part.get("objectives", {}))
        for name, given in part.get("objectives", {}).items():
            if isinstance(given, str):
                settings = _read_yaml(path.parent / given)
                own = {key: value for key, value in settings.items() if key not in DRIVEN - {"vision"}}
                part["objectives"][name] = own
    return Base(recipe, choices)


def _read_yaml(path: Path) -> dict[str, Any]:
    if not Path(path).exists():
        raise ValueError(f"{path}: no such recipe")
    return read_yaml_object(path)


def _check_keys(path: Path, content: dict, known: set[str], needed: set[str]) -> None:
    if unknown := sorted(map(str, set(content) - known)):
        raise ValueError(f"{path}: no such key: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    if missing := sorted(needed - set(content)):
        raise ValueError(f"{path}: lacks {', '.join(missing)}")


def _panel(path: Path, content: dict[str, Any], base: Base, settings: dict[str, Any], kind: str) -> Panel:
    _check_keys(path, content, _PANEL_KEYS, {"axes"})
    axes = content["axes"]
    for axis, values in axes.items():
        named = values if isinstance(values, dict) else {}
        if not named or not all(isinstance(overrides, dict) for overrides in named.values()):
            raise ValueError(f"{path}: axis {axis!r} is a mapping of names to overrides, such as {{a: {{seed: 1}}}}")
    if not axes:
        raise ValueError(f"{path}: axes: give at least one")
    axes = {str(axis): {str(name): overrides for name, overrides in values.items()} for axis, values in axes.items()}
    paper = content.get("paper", {})
    _check_paper(path, paper, axes)
    cells = tuple(
        _cell(path, dict(zip(axes, names, strict=True)), axes, base, settings, kind)
        for names in itertools.product(*axes.values())
    )
    return Panel(content.get("title", ", ".join(axes)), axes, cells, paper, content.get("ours", ""))


def _check_paper(path: Path, paper: dict[str, Any], axes: dict[str, dict]) -> None:
    """Check that the paper's order names only axes and values of the panel."""
    _check_keys(path, paper, {"axis", "order", "source"}, {"axis", "order"} if paper else set())
    if paper and paper["axis"] not in axes:
        raise ValueError(f"{path}: the paper's order is of an unknown axis {paper['axis']!r}; known: {', '.join(axes)}")
    if paper and (unknown := [name for name in paper["order"] if name not in axes[paper["axis"]]]):
        raise ValueError(f"{path}: the paper's order names {unknown[0]!r}, which axis {paper['axis']} has not")


def _cell(
    path: Path,
    values: dict[str, str],
    axes: dict[str, dict[str, dict]],
    base: Base,
    settings: dict[str, Any],
    kind: str,
) -> Cell:
    for axis, name in values.items():
        settings = overlay(settings, axes[axis][name])
    try:
        settings = apply(settings, base)
        RECIPES[kind](**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {', '.join(values.values())}: {error}") from error
    return Cell(values, settings)


def apply(overrides: dict[str, Any], base: Base) -> dict[str, Any]:
    """Return the base recipe with what the overrides choose, and over that the overrides themselves.

    Raises:
        ValueError: if the base recipe does not know what is chosen.
    """
    settings = base.recipe
    own = dict(overrides)
    chosen = own.pop("choose", {})
    check_mapping("choose", chosen)
    for kind in sorted(chosen, key=[*base.choices, *chosen].index):
        name, names = chosen[kind], base.choices.get(kind, {})
        if name not in names:
            known = f"; known: {', '.join(map(str, names))}" if names else ""
            raise ValueError(f"choose: the base recipe has no {kind} {name!r}{known}")
        settings = overlay(settings, names[name])
    return overlay(settings, own)


def overlay(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Apply overrides to settings: mappings are merged key by key, everything else is replaced."""
    merged = deepcopy(base)
    for key, value in overrides.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlay(merged[key], value) if both else deepcopy(value)
    return merged
