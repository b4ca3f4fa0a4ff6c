"""A sweep folder as tidy tables: one row per planned run, per epoch, per row of progress.csv."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import ValidationError

from alexnet.config.experiment import Experiment, Level, Measure
from alexnet.config.registration import Registered, compare_plans
from alexnet.crossing import CONFIRMED_AFTER
from alexnet.folders.files import Row
from alexnet.folders.run import PROGRESS_COLUMNS, RunDir, metrics_columns
from alexnet.folders.sweep import SweepDir, find_sweeps
from alexnet.results.claims import Setting
from alexnet.results.effects import Fate, Outcome
from alexnet.results.search import Intervals, beaten_early, trials_of

# Keys of the trainer that cut a run short, with the value at which they do not; null never does.
_WHOLE = {
    "limit_train_batches": None,
    "limit_val_batches": None,
    "limit_test_batches": None,
    "max_steps": -1,
    "overfit_batches": 0,
}

COSTS = ("seconds", "images_per_second", "peak_memory_megabytes")
"""Costs of a finished run, per process; the memory excludes what its imports take."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Sweep:
    """All runs of one experiment, for notebooks and for the report.

    runs      one row per planned run, in the order of the plan: run, a column per swept key, seed,
              state, cause, epochs, COSTS, every metric of result.json, and what the experiment
              measures: measure (NaN if there is none) and censored (the run ended before it reached
              the error; its measure is how long it was trained). state is that of status.json, or
              "missing" (never started) or "unreadable" (a file is damaged).
    metrics   one row per run and epoch; progress: several per epoch. Both begin with run, the swept
              keys and seed.
    registered  the plan before the first run, and what was changed since.
    configs   resolved configuration by run; provenance: provenance.json by run. {} if missing.
    intervals  for each command that searched intervals: the two ends of each key.
    """

    path: Path
    experiment: Experiment
    registered: Registered
    command: str
    arms: Mapping[str, Mapping[str, Level]]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    progress: pd.DataFrame
    configs: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Mapping[str, Any]]
    intervals: Intervals = ()

    def __repr__(self) -> str:
        measure = self.experiment.measure
        threshold = "" if measure.threshold is None else f" of {measure.threshold:g}"
        states = ", ".join(
            f"{count} {state}" for state, count in self.runs["state"].value_counts().items()
        )
        tables = ", ".join(
            f"{name} {len(table)} x {table.shape[1]}"
            for name, table in (
                ("runs", self.runs),
                ("metrics", self.metrics),
                ("progress", self.progress),
            )
        )
        return (
            f"Sweep({self.experiment.name} on {self.data}: {states}; measure: {measure.kind} "
            f"{measure.metric}{threshold}; tables: {tables})"
        )

    @property
    def searches(self) -> dict[str, Mapping[str, Any]]:
        """The searches that supplied values to these runs, by name, from their provenance.json."""
        noted = [_section(each, "searches") for each in self.provenance.values()]
        return {name: dict(each) for searches in noted for name, each in searches.items()}

    @property
    def unfinished_search(self) -> str | None:
        """Which searches on the same data supplied values and are unfinished; None if none are."""
        reasons = [
            f"search unfinished: the values of {name} ({each['unfinished']})"
            for name, each in self.searches.items()
            if each.get("unfinished") and each.get("data") == self.data
        ]
        return "; ".join(reasons) or None

    @property
    def data(self) -> str:
        """Name of the data set."""
        return data_of(self.path)

    @property
    def is_rehearsal(self) -> bool:
        """Whether some run used only the first batches of each epoch, as with +debug=smoke."""
        return any(each.startswith("trainer.limit_") for each in self.setting.cut)

    @property
    def is_anytime(self) -> bool:
        """Whether seeds were added until the first claim was settled (seed=auto)."""
        return self.registered.max_seeds is not None

    @cached_property
    def beaten(self) -> frozenset[str]:
        """The unfinished runs of a search whose trials can no longer be the best of their arms."""
        trials = trials_of(self.outcomes(), self.experiment) if self.experiment.searched else []
        return frozenset(each.run for each in beaten_early(trials, self.experiment))

    @property
    def ended(self) -> int:
        """The number of runs that have finished or failed, or need not finish."""
        is_beaten = self.runs["run"].isin(self.beaten)
        return int((self.runs["state"].isin(["finished", "failed"]) | is_beaten).sum())

    @property
    def curve_metric(self) -> str:
        """The metric whose curves show the measure.

        Test errors are measured once, at the end, so their curve is that of the validation error.
        """
        metric = self.experiment.measure.metric
        stage, _, name = metric.partition("/")
        return f"val/{name}" if stage in ("test", "ten_views") else metric

    @property
    def setting(self) -> Setting:
        """Data, network, test images and epochs of the runs, and what cut them short."""
        counts = set(self.runs["test_images"].dropna()) if "test_images" in self.runs else set()
        images = int(counts.pop()) if len(counts) == 1 else None
        planned = setting_of(self.data, list(self.configs.values()))
        # Early stopping and max_time end a run before its budget.
        trained = self.runs.loc[self.runs["state"] == "finished", "epochs"].dropna()
        epochs = min([planned.epochs, *map(int, trained)]) if planned.epochs else None
        return replace(planned, images=images, epochs=epochs)

    def outcomes(self, measure: Measure | None = None) -> list[Outcome]:
        """Return the outcome of every planned run, by a measure (default: the experiment's).

        A finished run that lacks the measured metric is unmeasured: see `why_unmeasured`. A run
        that diverged has a value: see Outcome.
        """
        measure = measure or self.experiment.measure
        return [self._outcome(row, measure) for row in self.runs.to_dict("records")]

    def why_unmeasured(self) -> str:
        """Explain why a finished run has no measure."""
        tables = (self.metrics, self.progress, self.runs)
        keys = dict.fromkeys(
            str(key)
            for table in tables
            for key in table
            if "/" in str(key) and table[key].notna().any()
        )
        recorded = ", ".join(keys) or "none"
        return (
            f"finished, but recorded no {self.experiment.measure.metric}: the metrics recorded "
            f"here are {recorded}"
        )

    def _outcome(self, row: Mapping[str, Any], measure: Measure) -> Outcome:
        name, fate = row["run"], _fate(row["state"], row["cause"])
        value, censored, not_by, has_crossed = None, False, None, False
        is_readable = row["state"] != "unreadable"
        if fate == "unfinished" and is_readable and measure.kind == "epochs_to_error":
            not_by, has_crossed = self._so_far(name, measure)
        if fate == "finished":
            value, censored = self._measure(row, measure)
            if value is None:
                fate = "unmeasured"
            elif not math.isfinite(value):
                fate, value = "diverged", None
        if fate == "diverged":
            value, censored = self._diverged(row, measure)
        return Outcome(
            run=name,
            arm=self.arms[name],
            seed=row["seed"],
            fate=fate,
            value=value,
            censored=censored,
            error_reached=self._error_reached(name, measure),
            images=_images(row, measure),
            not_by=not_by,
            has_crossed=has_crossed,
        )

    def _so_far(self, run: str, measure: Measure) -> tuple[float | None, bool]:
        """Return before which epoch an unfinished run cannot reach the threshold; whether it has.

        Later rows change nothing once a crossing is confirmed, and can only delay it before.
        """
        epochs, values = self._points(run, measure.metric)
        if not epochs:
            return None, False
        # The next row can cross between itself and the last one, which is placed before its end.
        before_last = epochs[-2] if len(epochs) > 1 else 0.0
        reached, is_censored = measure.of_curve(epochs, values)
        if is_censored:
            return before_last, False
        return reached, before_last - reached >= CONFIRMED_AFTER

    def _error_reached(self, run: str, measure: Measure) -> float | None:
        if measure.kind == "final":
            return None
        _, values = self._points(run, measure.metric)
        if not values:
            return None
        return min(values) if measure.described.better == "lower" else -max(values)

    def _measure(self, row: Mapping[str, Any], measure: Measure) -> tuple[float | None, bool]:
        """Return (value, censored); the value is None if the run did not record the metric."""
        value: Any = row.get(measure.metric)
        if measure.kind == "final" and value is not None and not pd.isna(value):
            return float(str(value)), False
        epochs, values = self._points(row["run"], measure.metric)
        return measure.of_curve(epochs, values) if epochs else (None, False)

    def _diverged(self, row: Mapping[str, Any], measure: Measure) -> tuple[float | None, bool]:
        """Return (value, censored) of a diverged run: its whole budget or the error of guessing."""
        if measure.kind == "final":
            classes = self.provenance[row["run"]].get("num_classes")
            guesses = {"error": 1, "error_top5": 5}.get(measure.metric.partition("/")[2])
            if not isinstance(classes, int) or guesses is None:
                return None, False
            return 1 - min(guesses, classes) / classes, False
        reached, censored = self._measure(row, measure)
        if reached is not None and not censored:
            return reached, False
        trainer = _section(self.configs[row["run"]], "trainer")
        budget = trainer.get("max_epochs")
        if isinstance(budget, int) and budget > 0:
            return float(budget), True
        return reached, True

    def curve(self, run: str, metric: str) -> pd.DataFrame:
        """Return the columns epoch and `metric` of a run, from progress.csv or else metrics.csv.

        The table is empty if the run has not recorded the metric.
        """
        if metric not in self._curves:
            self._curves[metric] = self._curves_of(metric)
        known = self._curves[metric].get(run)
        return pd.DataFrame({"epoch": [], metric: []}) if known is None else known

    def _points(self, run: str, metric: str) -> tuple[list[float], list[float]]:
        """The epochs and values of a curve."""
        if (run, metric) not in self._lists:
            curve = self.curve(run, metric)
            self._lists[run, metric] = curve["epoch"].tolist(), curve[metric].tolist()
        return self._lists[run, metric]

    @cached_property
    def _lists(self) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
        """By run and metric. Every threshold of a report goes through them again."""
        return {}

    @cached_property
    def _curves(self) -> dict[str, dict[str, pd.DataFrame]]:
        """Curves by metric and run, kept because a report reads each of them a dozen times."""
        return {}

    def _curves_of(self, metric: str) -> dict[str, pd.DataFrame]:
        for table in (self.progress, self.metrics):
            if metric in table:
                known = table[["run", "epoch", metric]].dropna()
                groups = known[["epoch", metric]].groupby(known["run"], sort=False)
                return {str(run): rows for run, rows in groups}
        return {}


def load_sweep(folder: str | Path) -> Sweep:
    """Read a sweep folder, whether or not all of its runs have finished.

    A run whose files are missing, damaged or half-written counts as not finished, with the reason
    in `cause`. Raises FileNotFoundError if the folder is not a sweep, ValueError if its plan is
    damaged.
    """
    path = Path(folder)
    sweep = SweepDir(path)
    try:
        plan = sweep.read_plan()
    except NotADirectoryError:
        plan = {}
    except ValueError as error:
        raise ValueError(f"cannot read {path / 'sweep.json'}: {error}") from error
    if not plan:
        raise FileNotFoundError(_why_no_sweep(path))
    try:
        experiment = Experiment.model_validate(plan["experiment"])
        registered = compare_plans(plan)
        planned = {
            name: {key: _level(level) for key, level in each["arm"].items()}
            for name, each in plan["runs"].items()
        }
        seeds = {name: each["seed"] for name, each in plan["runs"].items()}
    except ValidationError as error:
        from alexnet.config.explain import explain  # loads the schema of all of conf/

        raise ValueError(f"cannot use {path / 'sweep.json'}: {explain(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"cannot use {path / 'sweep.json'}: {error}") from error

    if not planned:
        raise ValueError(f"cannot use {path / 'sweep.json'}: it plans no runs")
    swept = list(dict.fromkeys(key for arm in planned.values() for key in arm))
    labels = {
        name: {"run": name, **{key: arm.get(key) for key in swept}, "seed": seeds[name]}
        for name, arm in planned.items()
    }
    loaded = {name: _load_run(sweep.run(name), each) for name, each in plan["runs"].items()}
    loaded_sweep = Sweep(
        path=path,
        experiment=experiment,
        registered=registered,
        command=plan.get("command", ""),
        arms=planned,
        runs=pd.DataFrame(
            [{**labels[name], **run.summary} for name, run in loaded.items()],
            columns=_columns(
                "run", *swept, "seed", *(key for run in loaded.values() for key in run.summary)
            ),
        ),
        metrics=pd.DataFrame(
            [{**labels[name], **row} for name, run in loaded.items() for row in run.metrics],
            columns=_columns(
                "run", *swept, "seed", *metrics_columns(), *_keys(loaded, lambda run: run.metrics)
            ),
        ),
        progress=pd.DataFrame(
            [{**labels[name], **row} for name, run in loaded.items() for row in run.progress],
            columns=_columns(
                "run", *swept, "seed", *PROGRESS_COLUMNS, *_keys(loaded, lambda run: run.progress)
            ),
        ),
        configs={name: run.config for name, run in loaded.items()},
        provenance={name: run.provenance for name, run in loaded.items()},
        intervals=plan.get("intervals", ()),
    )
    outcomes = loaded_sweep.outcomes()
    runs = loaded_sweep.runs.assign(
        measure=pd.Series([each.value for each in outcomes], dtype=float),
        censored=[each.censored for each in outcomes],
    )
    return replace(loaded_sweep, runs=runs)


def _why_no_sweep(path: Path) -> str:
    """Explain why a folder is not a sweep, and suggest the sweep that was probably meant."""
    if (path / "sweep.json").is_file():
        return f"{path / 'sweep.json'} names no runs: give the command of the sweep again"
    problem = f"{path} is not a sweep: expected a folder with sweep.json, "
    if not path.exists():
        return f"{path} does not exist: expected a folder with sweep.json, {_EXAMPLE}"
    if path.is_dir() and (path.parent / "sweep.json").is_file():
        return f"{problem}and this is a run: give its sweep, {path.parent}"
    if path.is_dir() and (sweeps := find_sweeps(path)):
        return (
            f"{problem}and this folder contains {len(sweeps)}: give one, such as {sweeps[0].path}"
        )
    return f"{problem}{_EXAMPLE}"


_EXAMPLE = "such as outputs/relu_vs_tanh/cifar10-0123abcd"


@dataclass(frozen=True, kw_only=True)
class _Run:
    summary: Mapping[str, Any]
    metrics: list[Row]
    progress: list[Row]
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]


def _load_run(run: RunDir, planned: Mapping[str, Any]) -> _Run:
    damage: list[str] = []  # makes the run unreadable
    remarks: list[str] = []  # only mentioned, because these files do not affect the outcome

    def read(file: str, reader: Callable[[], Any], kind: type, problems: list[str] = damage) -> Any:
        try:
            content = reader()
            if not isinstance(content, kind):
                raise ValueError(f"expected a {kind.__name__}")
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            problems.append(f"cannot read {file}: {' '.join(str(error).split())}")
            return kind()
        return content

    evaluation = read("evaluation.json", run.read_evaluation, dict, remarks)
    result = read("result.json", lambda: run.read_result(planned=planned), dict)
    status = read("status.json", run.read_status, dict)
    metrics = read("metrics.csv", run.read_metrics, list)
    progress = read("progress.csv", run.read_progress, list)
    config = read("config.yaml", lambda: _read_config(run.config), dict, remarks)
    provenance = read("provenance.json", run.read_provenance, dict, remarks)
    numbers = result.get("metrics")
    if run.is_finished and not damage and not isinstance(numbers, dict):
        damage.append("cannot read result.json: it has no metrics")

    if damage:
        state, cause = "unreadable", "; ".join(damage)
    elif run.is_finished:
        state, cause = "finished", ""
    elif not status:
        state, cause = "missing", "not started"
    elif status.get("state") == "finished":
        state, cause = "unreadable", "status.json says finished, but there is no result.json"
    else:
        state = str(status.get("state", "unreadable"))
        cause = str(status.get("cause") or status.get("error") or "")
    is_finished = state == "finished"
    return _Run(
        summary={
            "state": state,
            "cause": "; ".join(filter(None, [cause, *remarks])),
            "epochs": result.get("epochs") if is_finished else status.get("epoch"),
            **{name: result.get(name) if is_finished else None for name in COSTS},
            **(_told_from_missing(numbers) if is_finished and isinstance(numbers, dict) else {}),
            **(_tested(result, evaluation) if is_finished else {}),
        },
        metrics=_without_repeats(metrics),
        progress=_without_repeats(progress),
        config=config,
        provenance=provenance,
    )


def _told_from_missing(metrics: Mapping[str, float]) -> dict[str, float]:
    """Replace NaN by infinity: a result of NaN diverged, but in a table NaN means not measured."""
    return {key: math.inf if math.isnan(value) else value for key, value in metrics.items()}


def _tested(result: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ten-view errors, if the run was evaluated, and the number of test images."""
    images = result.get("test_images", evaluation.get("images"))
    found: dict[str, Any] = {} if images is None else {"test_images": images}
    if evaluation.get("crops") == 10:
        for key, value in evaluation.get("metrics", {}).items():
            found[f"ten_views/{key.partition('/')[2]}"] = value
    return found


def _images(row: Mapping[str, Any], measure: Measure) -> int | None:
    """Return the number of images of a final error; None if it is not an error, or not known."""
    stage, _, name = measure.metric.partition("/")
    images = row.get("test_images")
    is_counted = measure.kind == "final" and stage in ("test", "ten_views")
    if not is_counted or name not in ("error", "error_top5") or images is None or pd.isna(images):
        return None
    return int(images)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    # In C where there is libyaml: a tenth of the time, which is 2 s for 200 runs.
    return yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


def data_of(sweep: Path) -> str:
    """The data set of a sweep, whose folder is called <data>-<hash>, or <data>-<hash>-2."""
    return re.sub(r"-[0-9a-f]{8}(-\d+)?$", "", sweep.name)


def setting_of(data: str, configs: Sequence[Mapping[str, Any]]) -> Setting:
    """Return the setting of runs with these resolved configurations, on a data set of this name."""
    targets = [str(_section(each, "model").get("_target_", "")) for each in configs]
    # An arm may have another network of the same kind: the first is the experiment's own.
    network = next((each.rpartition(".")[2] for each in targets if each), None)
    part = {
        f"{key}={value}"
        for each in configs
        for key, whole in (("classes", None), ("fraction", 1.0))
        if (value := _section(each, "data").get(key, whole)) not in (whole, None)
    }
    cuts = dict.fromkeys(
        f"trainer.{key}={value}"
        for each in configs
        for key, whole in _WHOLE.items()
        if (value := _section(each, "trainer").get(key)) not in (None, whole)
    )
    budgets = [_section(each, "trainer").get("max_epochs") for each in configs]
    return Setting(
        data=f"{data} with {', '.join(sorted(part))}" if part else data,
        network=network,
        epochs=min(filter(None, budgets), default=None),
        cut=tuple(cuts),
    )


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of a stored configuration; {} if it is missing or damaged."""
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def _without_repeats(rows: list[Row]) -> list[Row]:
    """Return rows in ascending order of epochs.

    A killed run resumes from its last checkpoint and writes the rows since then again: the later
    ones led to the result. A last row that was cut short has no epoch, or no error.
    """
    kept: list[Row] = []
    for row in rows:
        epoch = row.get("epoch", math.nan)
        if math.isnan(epoch):
            continue
        while kept and kept[-1]["epoch"] >= epoch:
            kept.pop()
        kept.append(row)
    return kept


def _fate(state: str, cause: str) -> Fate:
    match state:
        case "failed":
            return "diverged" if cause.startswith("diverged") else "failed"
        case "finished":
            return "finished"
        case "missing":
            return "missing"
    return "unfinished"  # running, stopped, unreadable


def _level(level: Any) -> Level:
    """Return a level that can be compared and hashed: a list or mapping becomes its JSON text."""
    return json.dumps(level) if isinstance(level, list | dict) else level


def _keys(loaded: Mapping[str, _Run], rows: Callable[[_Run], list[Row]]) -> Iterator[str]:
    """Yield the columns of the runs' files, including metrics that this process does not know.

    Only first rows are read, because all rows of a file have the same columns.
    """
    for run in loaded.values():
        yield from (key for row in rows(run)[:1] for key in row)


def _columns(*names: str) -> list[str]:
    return list(dict.fromkeys(names))
