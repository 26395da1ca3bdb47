"""A grid of experiments, read from a YAML file.

All that it may say; only ``axes`` must be there:

    title: Gradient accumulation
    base: common.yaml                     # another such file, of which this one changes something
    settings:                             # options of the training script that all runs share
      recipe: paper_cmrc2018.yaml         # stands for the options in it: a file beside this one, or the package's
    axes:                                 # every combination is run
      gradient_accumulation_steps: [1, 2, 3, 4]
      precision: {fp32: {}, bf16: {bf16: true}}    # an axis of several options: label -> options
    names: {gradient_accumulation_steps: steps}    # what an axis is called in tables
    seeds: [42, 43]
    metrics: {F1: eval_f1, EM: eval_em}   # column -> what a run measured (null: no column); the first is plotted
    digits: {F1: 1}                       # column -> digits after the point; by default 2
    columns: precision                    # an axis to spread over columns; the others make the rows
    plot: gradient_accumulation_steps     # the horizontal axis of the picture; by default the first
    caption: What a reader must know.
    paper: {F1: {1: {fp32: 79.6, bf16: 79.4}}}     # metric -> label -> … -> the figure that a paper reports there
    start: [{recipe: small_cloze.yaml}]            # runs, each from the one before, that all runs start from
    folder: "{precision} {seed}"                   # what a run's folder is called, of its labels and its seed
    without_weights: {…}                  # what to change where a model_name_or_path cannot be had
    scales:                               # the same grid at other sizes: what to change
      small: {settings: {max_train_samples: 2000}, seeds: [42]}

A run of ``start`` may say ``folder`` as well, what its own folder is called. A folder without a name is called after a
digest of the run's settings; one with a name is refused if it holds a run with other settings.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..training.recipe_files import find_recipe
from .settings import Settings, canonical, load_settings, settings_key

__all__ = ["Grid", "Trial", "load_grid", "scales_of"]

KEYS = {
    "axes", "base", "caption", "columns", "digits", "folder", "metrics", "names", "paper", "plot", "scales", "seeds",
    "settings", "start", "title", "without_weights",
}  # fmt: skip

SHARED_WITH_START = ("dataset_config_name", "dataset_name", "hidden_act", "tokenizer_name", "train_file", "use_cpu")
"""Options that a run passes on to those it starts from: data, activation and device; if they evaluate, its
``validation_file`` as well."""


@dataclass(frozen=True)
class Trial:
    """One run: a point of the grid and a seed.

    Attributes:
        labels: Axis -> label of the point; empty for a run that others start from.
        settings: Options of the training script, all but ``output_dir``.
        start: The trial whose model this one starts from, if any.
        folder: What its folder is called; None for a digest of the settings.
    """

    labels: dict[str, str]
    settings: Settings
    start: Trial | None = None
    folder: str | None = None

    @property
    def key(self) -> str:
        """A digest that is equal for runs with the same result; what the run starts from counts as well."""
        return settings_key(self.settings | ({"start": self.start.key} if self.start else {}))


@dataclass(frozen=True)
class Grid:
    """A grid at one scale; the module's docstring explains the fields.

    ``changed`` has the options that overrides gave another value than runs would have had, and ``start`` where a
    checkpoint was given that runs start from.
    """

    name: str
    title: str
    scale: str
    caption: str
    axes: dict[str, dict[str, Settings]]
    seeds: tuple[int, ...]
    metrics: dict[str, str]
    names: dict[str, str]
    columns: str | None
    plot: str
    settings: Settings
    start: list[Settings] | str
    folder: str | None = None
    paper: dict[str, Any] = field(default_factory=dict)
    digits: dict[str, int] = field(default_factory=dict)
    changed: Settings = field(default_factory=dict)

    def trials(self) -> list[Trial]:
        """All runs of the grid: every combination of labels, each with every seed."""
        return [self._trial(labels, settings, seed) for labels, settings in self.points() for seed in self.seeds]

    def points(self) -> list[tuple[dict[str, str], Settings]]:
        """Every combination of labels, each with its settings: all but the seed and the start."""
        points = []
        for chosen in product(*(axis.items() for axis in self.axes.values())):
            settings = dict(self.settings)
            for _, options in chosen:
                settings |= options
            points.append(({axis: label for axis, (label, _) in zip(self.axes, chosen, strict=True)}, settings))
        return points

    def _trial(self, labels: dict[str, str], settings: Settings, seed: int) -> Trial:
        settings = {**settings, "seed": seed}
        folder = self.folder and self.folder.format(**labels, seed=seed).replace(" ", "_")
        if not _needs_start(settings):
            return Trial(labels, settings, folder=folder)
        if isinstance(self.start, str):
            return Trial(labels, settings | {"model_name_or_path": self.start}, folder=folder)
        return Trial(labels, settings, self._last_start(settings, self.start), folder)

    def _last_start(self, settings: Settings, steps: list[Settings]) -> Trial | None:
        start = None
        for step in steps:
            options = {option: value for option, value in step.items() if option != "folder"}
            start = Trial({}, options | _shared(settings, step), start, step.get("folder"))
        return start

    def figure(self, metric: str, labels: Mapping[str, str]) -> float | str | None:
        """What the paper reports at a point of the grid, in the column ``metric``; None where it reports nothing."""
        found: Any = self.paper.get(metric)
        for axis in self.axes:
            found = {str(label): value for label, value in found.items()}.get(labels[axis]) if found else None
        return found


def _needs_start(settings: Settings) -> bool:
    """Whether a run with these settings names no model: neither a checkpoint nor a word-level reader, made anew."""
    return not (settings.get("model_name_or_path") or settings.get("model_type"))


def _shared(settings: Settings, step: Settings) -> Settings:
    """What a run with these settings passes on to a step of its start."""
    options = (*SHARED_WITH_START, "validation_file") if step.get("do_eval") else SHARED_WITH_START
    return {option: settings[option] for option in options if option in settings}


def load_grid(
    file: Path,
    scale: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
    start: str | None = None,
    weights_at_hand: Callable[[str], bool] = lambda _: True,
) -> Grid:
    """Read a grid.

    Args:
        file: The YAML file.
        scale: One of its ``scales``; None takes the file without them.
        overrides: Options that win over those of the file, in all runs.
        seeds: Seeds instead of the file's.
        start: A checkpoint to start from, instead of the runs that the file has for that.
        weights_at_hand: Says whether a ``model_name_or_path`` can be loaded. If one cannot, and the grid has
            ``without_weights``, that is merged in, and the option is taken away where it stands.

    Raises:
        ConfigurationError: if the file cannot be read, has unknown keys, no axis, or lacks the scale; or if overrides
            would undo what an axis varies, or set the seed.
    """
    spec = _at_scale(_read(file), scale, file)
    given = dict(overrides or {})
    own = _grid(spec, file, scale)
    grid = _overridden(own, given, file)
    models = _models({"settings": grid.settings, "axes": grid.axes})
    if "without_weights" in spec and (missing := {name for name in models if not weights_at_hand(name)}):
        given = _without_models(given, missing)
        own = _grid(_merge(_without_models(spec, missing), spec["without_weights"]), file, scale)
        grid = _overridden(own, given, file)
    changed = _changed(own, given)
    if start and any(_needs_start(settings) for _, settings in grid.points()):
        changed["start"] = start
    grid = replace(grid, seeds=tuple(seeds or grid.seeds), start=start or grid.start, changed=changed)
    _require_axes(grid, file)
    _require_folders(grid, file)
    return grid


def scales_of(file: Path) -> list[str]:
    """The scales that a grid has.

    Raises:
        ConfigurationError: if the file cannot be read, or has unknown keys.
    """
    return list(_read(file).get("scales", {}))


def _grid(spec: Mapping[str, Any], file: Path, scale: str | None) -> Grid:
    """The grid as the file says it."""
    if not spec.get("axes"):
        raise ConfigurationError(f"{file} has no axes: there is nothing to compare.")
    return Grid(
        name=file.stem,
        title=spec.get("title", file.stem),
        scale=scale or "",
        caption=spec.get("caption", ""),
        axes={name: _axis(name, values) for name, values in spec["axes"].items()},
        seeds=tuple(spec.get("seeds", [42])),
        metrics={name: metric for name, metric in spec.get("metrics", {"F1": "eval_f1"}).items() if metric},
        names=spec.get("names", {}),
        columns=spec.get("columns"),
        plot=spec.get("plot", next(iter(spec["axes"]))),
        settings=spec.get("settings", {}),
        start=spec.get("start", []),
        folder=spec.get("folder"),
        paper=spec.get("paper", {}),
        digits=spec.get("digits", {}),
    )


def _overridden(own: Grid, overrides: Settings, file: Path) -> Grid:
    """The grid with ``overrides`` in all of its runs: in the settings, and in the options that labels stand for."""
    if "seed" in overrides:
        raise ConfigurationError(f"seed={overrides['seed']}: a grid has its own seeds; --seeds gives it others.")
    axes = {
        axis: {
            label: {**options, **{name: overrides[name] for name in options if name in overrides}}
            for label, options in labels.items()
        }
        for axis, labels in own.axes.items()
    }
    grid = replace(own, settings={**own.settings, **overrides}, axes=axes)
    if any(_is_named_after(axis, own.axes[axis]) for axis in own.axes if axis in overrides) or _merges(own, grid):
        raise _collision(own, overrides, file)
    return grid


def _is_named_after(axis: str, labels: Mapping[str, Settings]) -> bool:
    """Whether labels say the values of the option that the axis is named after: another would not be what they say."""
    return any(str(options.get(axis)) == label for label, options in labels.items())


def _merges(own: Grid, grid: Grid) -> bool:
    """Whether points of ``own`` that have different settings have equal ones in ``grid``."""
    first: dict[str, str] = {}
    points = zip(own.points(), grid.points(), strict=True)
    pairs = [(_comparable(before), _comparable(after)) for (_, before), (_, after) in points]
    return any(first.setdefault(after, before) != before for before, after in pairs)


def _comparable(settings: Settings) -> str:
    """A text that is equal for equal settings."""
    known = {option: canonical(option, value) for option, value in settings.items() if value is not None}
    return json.dumps(known, sort_keys=True, ensure_ascii=False)


def _collision(grid: Grid, overrides: Settings, file: Path) -> ConfigurationError:
    """What is wrong with overrides that make points of the grid equal."""
    varied = {
        axis: {name for options in labels.values() for name in options if name in overrides}
        for axis, labels in grid.axes.items()
    }
    options = ", ".join(f"{name}={overrides[name]}" for name in sorted(set().union(*varied.values())))
    axes = " and ".join(axis for axis, names in varied.items() if names)
    return ConfigurationError(
        f"{file}: {options} in all runs would undo what the axis {axes} varies. Leave it out, or change the axis in a"
        " grid file of your own."
    )


def _changed(own: Grid, overrides: Settings) -> Settings:
    """The overrides that give some run another value than it would have had."""
    points = [settings for _, settings in own.points()]
    return {
        name: value
        for name, value in overrides.items()
        if any(canonical(name, settings.get(name)) != canonical(name, value) for settings in points)
    }


def _require_axes(grid: Grid, file: Path) -> None:
    for role, axis in (("columns", grid.columns), ("plot", grid.plot)):
        if axis is not None and axis not in grid.axes:
            raise ConfigurationError(f"{file}: {role}={axis!r} is no axis; axes are {', '.join(grid.axes)}.")


def _require_folders(grid: Grid, file: Path) -> None:
    """Let no two runs write into one folder."""
    if grid.folder is None:
        return
    try:
        trials = grid.trials()
    except (KeyError, IndexError, ValueError) as error:
        known = ", ".join(f"{{{name}}}" for name in (*grid.axes, "seed"))
        raise ConfigurationError(f"{file}: folder={grid.folder!r} is not made of {known}: {error!r}.") from error
    folders = Counter(trial.folder for trial in trials)
    if twice := [str(folder) for folder, count in folders.items() if count > 1]:
        raise ConfigurationError(
            f"{file}: folder={grid.folder!r} gives several runs the folder {twice[0]!r}; it must tell them apart."
        )


def _axis(name: str, values: Any) -> dict[str, Settings]:
    """The labels of an axis, each with the options that it stands for."""
    if isinstance(values, dict) and all(isinstance(options, dict) for options in values.values()):
        return {str(label): options for label, options in values.items()}
    if isinstance(values, list):
        return {str(value): {name: value} for value in values}
    raise ConfigurationError(f"The axis {name} must be a list of values, or a mapping from label to options.")


def _models(value: Any) -> set[str]:
    """Every ``model_name_or_path`` in the settings and axes of ``value``."""
    if not isinstance(value, dict):
        return set()
    inner = {name for item in value.values() for name in _models(item)}
    name = value.get("model_name_or_path")
    return inner | {name} if isinstance(name, str) else inner


def _without_models(value: Any, names: set[str]) -> Any:
    """``value`` with each ``model_name_or_path`` in ``names`` taken away."""
    if not isinstance(value, dict):
        return value
    return {
        key: None if key == "model_name_or_path" and item in names else _without_models(item, names)
        for key, item in value.items()
    }


def _read(file: Path) -> dict[str, Any]:
    spec = load_settings(file)
    if unknown := sorted(set(spec) - KEYS):
        raise ConfigurationError(f"{file} has unknown keys: {', '.join(unknown)}. Known are {', '.join(sorted(KEYS))}.")
    spec = _with_recipes(spec, file.parent)
    base = spec.pop("base", None)
    return spec if base is None else _merge(_read(file.parent / base), spec)


def _with_recipes(value: Any, folder: Path) -> Any:
    """``value`` with every ``recipe: file`` replaced by the options in that file."""
    if isinstance(value, list):
        return [_with_recipes(item, folder) for item in value]
    if not isinstance(value, dict):
        return value
    recipe = value.get("recipe")
    rest = {key: _with_recipes(item, folder) for key, item in value.items() if key != "recipe"}
    return rest if recipe is None else {**load_settings(find_recipe(recipe, folder)), **rest}


def _at_scale(spec: dict[str, Any], scale: str | None, file: Path) -> dict[str, Any]:
    scales = spec.pop("scales", {})
    if scale is None:
        return spec
    if scale not in scales:
        raise ConfigurationError(f"{file} has no scale {scale!r}; it has {', '.join(scales) or 'none'}.")
    return _merge(spec, scales[scale])


def _merge(low: Any, high: Any) -> Any:
    """``high`` over ``low``; mappings are merged, what ``high`` has first, but an axis is replaced as a whole."""
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return high
    merged = {key: _merge(low.get(key), value) for key, value in high.items()}
    merged |= {key: value for key, value in low.items() if key not in high}
    if "axes" in high:
        merged["axes"] = {**low.get("axes", {}), **high["axes"]}
    return merged
