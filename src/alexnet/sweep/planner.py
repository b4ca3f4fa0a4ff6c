"""plan=true: the runs, cost, claims and power of a sweep, before anything is trained.

The time is estimated from existing runs of the same network, data and machine, or else from a
warm-up: a run in a temporary folder, ended as soon as its pace is known. Power needs the spread
between seeds, from this sweep or another of the same experiment.
"""

import itertools
import logging
import math
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from omegaconf import OmegaConf, open_dict

from alexnet.config.experiment import Experiment, same_level
from alexnet.config.names import confounds, flatten
from alexnet.folders.disk import KEPT_CHECKPOINTS, Cost, duration, space
from alexnet.folders.files import DamagedFile
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir, find_sweeps
from alexnet.run.images import identify
from alexnet.run.provenance import cpu_name
from alexnet.sweep.added_seeds import AddedSeeds
from alexnet.sweep.devices import Devices, gpus_here
from alexnet.sweep.plan import PlannedRun, join_plan, prepare, write_config
from alexnet.sweep.processes import start
from alexnet.sweep.race import runs_to_go
from alexnet.sweep.tell import status_of

log = logging.getLogger("alexnet.sweep")

NUMBERS = (3, 5, 10)
"""Numbers of seeds for which power is shown."""

_MOST_RUNS_READ = 200  # reading the configuration of a run takes some milliseconds
_MOST_SWEEPS_READ = 5
_SECONDS_OF_WARM_UP = 60.0

# Keys on which the time of a run depends (trainer), and keys on which it does not (data).
_OF_TRAINER = ("accelerator", "devices", "num_nodes", "precision", "compile", "strategy", "threads")
_NOT_OF_DATA = ("root", "verify", "workers")


@dataclass(frozen=True, kw_only=True)
class _Price:
    """The cost of one run: seconds, and bytes of a checkpoint, None if not known."""

    seconds: float
    checkpoint: int | None
    at_most: bool


def describe(
    sweep: SweepDir,
    runs: Sequence[PlannedRun],
    experiment: Mapping[str, Any],
    *,
    outputs: Path,
    parallel: int | str,
    added: AddedSeeds | None,
) -> Iterator[str]:
    """Yield the plan as lines: runs, arms, time, disk, claims, power.

    Nothing is written to `outputs`. `experiment` is the experiment as sweep.json would describe it.
    """
    by_arm = [
        list(group) for _, group in itertools.groupby(runs, key=lambda run: sorted(run.arm.items()))
    ]
    left = runs_to_go(sweep, runs)
    seeds = list(dict.fromkeys(run.config.seed for run in runs))
    listed = ", ".join(map(str, seeds))
    if added:
        listed += (
            f", then one at a time until the first claim is settled, {added.max_seeds} at most"
        )
    yield (
        f"plan of {runs[0].config.experiment.name}: {len(runs)} runs, {len(by_arm)} "
        f"{'arm' if len(by_arm) == 1 else 'arms'} x {len(seeds)} "
        f"{'seed' if len(seeds) == 1 else 'seeds'} ({listed}); "
        f"{len(runs) - len(left)} of them have ended. Folder: {sweep.path}"
    )
    firsts = [group[0] for group in by_arm]
    if len(firsts) > 1:
        yield from _arms(firsts, experiment.get("baseline") or {})
    yield from _costs(
        left, firsts, outputs=outputs, parallel=parallel,
        rounds_more=(added.max_seeds - len(seeds)) if added else 0,
    )  # fmt: skip
    its = Experiment.model_validate(experiment)
    yield from _claims(its, sweep, runs)
    if len(firsts) > 1 or any(claim.direction == "value" for claim in its.claims):
        yield from _power(sweep, its, len(seeds), added)
    yield "nothing was trained: leave out plan=true to start"


def _arms(firsts: Sequence[PlannedRun], baseline: Mapping[str, Any]) -> Iterator[str]:
    """Yield what each arm changes in comparison with the baseline, or with the first arm."""

    def is_baseline(run: PlannedRun) -> bool:
        return all(same_level(run.arm.get(key), level) for key, level in baseline.items())

    base = next(filter(is_baseline, firsts), firsts[0])
    before = flatten(base.config.plain())
    for run in firsts:
        label = ", ".join(f"{key.rpartition('.')[2]}={level}" for key, level in run.arm.items())
        if run is base:
            yield f"  {label}: the baseline of the others"
            continue
        now = flatten(run.config.plain())
        changes = (
            f"{key}={now.get(key, 'not set')} instead of {before.get(key, 'not set')}"
            for key in sorted(confounds(base.config, run.config))
        )
        yield f"  {label}: {', '.join(changes) or 'nothing'}"


def _claims(experiment: Experiment, sweep: SweepDir, runs: Sequence[PlannedRun]) -> Iterator[str]:
    """Yield which claims would be judged elsewhere, or not at all, and why."""
    from alexnet.results.claims import elsewhere  # pandas takes a second
    from alexnet.results.runs import data_of, setting_of

    setting = setting_of(data_of(sweep.path), [run.config.plain() for run in runs])
    numbers: dict[str, list[str]] = {}
    for number, claim in enumerate(experiment.claims, start=1):
        if setting.cut:
            why = f"not judged, because runs are cut short ({', '.join(setting.cut)})"
        elif differs := elsewhere(claim, setting):
            why = f"an analogue, made in another setting ({'; '.join(differs)})"
        elif claim.images:
            why = f"an analogue, unless the test set has {claim.images:,} images"
        else:
            continue
        numbers.setdefault(why, []).append(str(number))
    for why, listed in numbers.items():
        yield f"claim{'s' if len(listed) > 1 else ''} {', '.join(listed)}: {why}"


# Time and disk


def _costs(
    left: Sequence[PlannedRun],
    firsts: Sequence[PlannedRun],
    *,
    outputs: Path,
    parallel: int | str,
    rounds_more: int,
) -> Iterator[str]:
    if not left and not rounds_more:
        yield "time: none, all runs have ended"
        return
    prices, source = _prices(firsts, outputs)
    devices = Devices.of_this_machine(parallel)
    if not prices:
        price, source = _warm_up(firsts[0], devices.take(_gpus_of(firsts[0])))
        if price is None:
            yield f"time and disk: unknown, because there are no comparable runs, and {source}"
            return
        prices = {firsts[0].name: price}
    usual = fmean(price.seconds for price in prices.values())
    arm_of = {_arm(run): prices[run.name].seconds for run in firsts if run.name in prices}
    at_once = _at_once(parallel)
    seconds = sum(arm_of.get(_arm(run), usual) for run in left) / at_once
    about = "at most" if any(price.at_most for price in prices.values()) else "about"
    text = f"time: {about} {duration(seconds)} for {len(left)} runs to go, {at_once} at once"
    each = sorted(price.seconds for price in prices.values())
    if rounds_more:
        per_seed = sum(arm_of.get(_arm(run), usual) for run in firsts) / at_once
        most = duration(seconds + rounds_more * per_seed)
        text += f", and {most} if all {rounds_more} further seeds are needed"
    width = duration(each[0])
    if duration(each[-1]) != width:
        width = f"{width} to {duration(each[-1])}"
    yield f"{text} ({width} a run, from {source})"
    sizes = [price.checkpoint for price in prices.values() if price.checkpoint]
    if not sizes:
        yield "disk: unknown, the runs that exist have no checkpoints left"
        return
    kept = (len(left) + rounds_more * len(firsts)) * KEPT_CHECKPOINTS * max(sizes)
    there = next(each for each in (outputs, *outputs.parents) if each.exists())
    free = shutil.disk_usage(there).free
    short = ": NOT ENOUGH" if kept > free else ""
    yield f"disk: they keep {space(kept)} of checkpoints, {space(free)} are free{short}"


def _at_once(parallel: int | str) -> int:
    return max(1, len(gpus_here())) if parallel == "auto" else int(parallel)


def _gpus_of(run: PlannedRun) -> int:
    trainer = run.config.trainer
    return 0 if trainer.accelerator == "cpu" else trainer.devices


def _arm(run: PlannedRun) -> str:
    return str(sorted(run.arm.items()))


def _prices(firsts: Sequence[PlannedRun], outputs: Path) -> tuple[dict[str, _Price], str]:
    """Return costs from existing runs, by name of each arm's first run, and where those are."""
    wanted = {run.name: OmegaConf.to_container(run.told, resolve=True) for run in firsts}
    found: dict[str, list[_Price]] = {}
    folders = set()
    for run in itertools.islice(_runs_on_this_machine(outputs), _MOST_RUNS_READ):
        try:
            config = yaml.load(
                run.config.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            )
            result = run.read_result()
        except (OSError, yaml.YAMLError, DamagedFile):
            continue
        for name, planned in wanted.items():
            if isinstance(config, dict) and (price := _price(planned, config, result, run)):
                found.setdefault(name, []).append(price)
                folders.add(run.path.parent)
    prices = {
        name: _Price(
            seconds=fmean(each.seconds for each in like),
            checkpoint=max(each.checkpoint or 0 for each in like) or None,
            at_most=any(each.at_most for each in like),
        )
        for name, like in found.items()
    }
    count = sum(map(len, found.values()))
    if not found:
        return {}, ""
    where = " and ".join(map(str, sorted(folders)[:2])) + (
        " and others" if len(folders) > 2 else ""
    )
    runs = "1 run" if count == 1 else f"{count} runs"
    return prices, f"{runs} of the same network, data and machine in {where}"


def _runs_on_this_machine(outputs: Path) -> Iterator[RunDir]:
    """Yield the finished runs that were made on such a machine, newest sweeps first."""
    sweeps = find_sweeps(outputs) if outputs.is_dir() else []
    here = {"cpu": cpu_name(), "cores": os.cpu_count()}
    for sweep in sorted(sweeps, key=lambda each: -(each.path / "sweep.json").stat().st_mtime):
        try:
            for run in sweep.runs():
                hardware = run.read_provenance().get("hardware") or {}
                is_same = all(hardware.get(key) == value for key, value in here.items())
                if run.is_finished and is_same and len(hardware["gpus"]) == len(gpus_here()):
                    yield run
        except (DamagedFile, OSError, AttributeError, KeyError, TypeError):
            continue


def _price(planned: Any, config: Any, result: Mapping[str, Any], run: RunDir) -> _Price | None:
    """Return the cost of a planned run by a finished one; None if that is not comparable."""
    if _what_takes_time(planned) != _what_takes_time(config) or not result.get("epochs"):
        return None
    mine, its = planned["trainer"], config["trainer"]
    size = run.last_checkpoint.stat().st_size if run.last_checkpoint.is_file() else None
    ends = ("max_epochs", "max_steps")
    has_same_end = all(mine.get(key) == its.get(key) for key in ends)
    if has_same_end and planned["learning"] == config.get("learning"):
        return _Price(seconds=result["seconds"], checkpoint=size, at_most=False)
    per_epoch = result["seconds"] / result["epochs"]
    return _Price(seconds=per_epoch * mine["max_epochs"], checkpoint=size, at_most=True)


def _what_takes_time(config: Mapping[str, Any]) -> Any:
    model, data, trainer = (config.get(key) or {} for key in ("model", "data", "trainer"))
    limits = [key for key in trainer if key.startswith("limit_")]
    return (
        model,
        {key: value for key, value in data.items() if key not in _NOT_OF_DATA},
        {key: trainer.get(key) for key in (*_OF_TRAINER, *limits)},
    )


def _warm_up(planned: PlannedRun, share: Any) -> tuple[_Price | None, str]:
    """Return the cost of a run by its first steps, in a temporary folder, or why it is unknown."""
    try:
        identify(planned.config.data)  # before a data set is downloaded for it
    except (ValueError, OSError) as error:
        return None, f"its images are missing: {str(error).splitlines()[0]}"
    with TemporaryDirectory(prefix="alexnet-lab-plan-") as folder:
        sweep = SweepDir(Path(folder) / "warm-up")
        run = sweep.run(planned.name)
        sweep.write_plan(join_plan({}, {}, [], [planned], {}))
        prepare(planned, run)
        told = planned.told
        with open_dict(told):
            told.logger, told.callbacks = {}, {}  # these may write elsewhere
        write_config(told, run.config)
        began = time.monotonic()
        process = start(run, share.environment(), arguments=["--warm-up"])
        try:
            while process.poll() is None and "cost" not in status_of(run):
                if time.monotonic() - began > _SECONDS_OF_WARM_UP:
                    return None, f"a warm-up of {_SECONDS_OF_WARM_UP:.0f} seconds was too short"
                time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGKILL)
            process.end()
        status = status_of(run)
        source = "a warm-up of the first arm"
        if "cost" in status:
            cost = Cost.read(status["cost"])
            price = _Price(
                seconds=cost.seconds_in_all,
                checkpoint=cost.disk.checkpoint,
                at_most=cost.may_end_earlier,
            )
            return price, f"{source}, {cost.images_per_second:,.0f} images/s"
        if run.is_finished:
            seconds, size = run.read_result()["seconds"], run.last_checkpoint.stat().st_size
            return _Price(seconds=seconds, checkpoint=size, at_most=False), f"{source}, whole"
        why = str(status.get("error") or status.get("cause") or "it wrote no status")
        return None, f"a warm-up failed: {why.splitlines()[0]}"


# Power


def _power(
    sweep: SweepDir, experiment: Experiment, planned: int, added: AddedSeeds | None
) -> Iterator[str]:
    """Yield the smallest effects that can be shown with 80 % power, for some numbers of seeds."""
    from alexnet.results import anytime, statistics  # pandas takes a second

    is_anytime = added or sweep.read_plan().get("max_seeds") is not None
    smallest = anytime.smallest_effect if is_anytime else statistics.smallest_effect
    needed = anytime.seeds_needed if is_anytime else statistics.seeds_needed
    deviation, source = _spread(sweep, experiment)
    numbers = sorted({*NUMBERS, planned, *([added.max_seeds] if added else [])})
    shown = []
    for n in numbers:
        effect = smallest(deviation or 1.0, n)
        if effect is None:
            text = "none"
        elif deviation is None:
            text = f"{effect:.2g} times the spread"
        else:
            text = _effect(effect, experiment)
        shown.append(f"n = {n}: {text}")
    test = "the test of seed=auto" if is_anytime else "a paired t-test"
    yield f"power: the smallest effect that {test} shows in 80 % of sweeps: {'; '.join(shown)}"
    if deviation is None:
        yield (
            "  the spread of the effect between seeds is unknown until 2 seeds have run in every "
            "arm: there is no sweep of this experiment in this outputs folder"
        )
        return
    text = _spread_text(deviation, experiment)
    yield f"  the spread of the effect between seeds is {text}, {source}"
    size = experiment.claims[0].size if experiment.claims else None
    if size is not None and size.value not in (None, experiment.no_effect):
        is_value = experiment.claims[0].direction == "value"
        if is_value:
            return
        assert size.value is not None
        on_scale = math.log(size.value) if experiment.effect == "ratio" else size.value
        enough = needed(on_scale, deviation)
        yield f"  the claimed size, {_effect(abs(on_scale), experiment)}, needs " + (
            f"about {enough} seeds" if enough else "more than 1000 seeds"
        )


def _effect(size: float, experiment: Experiment) -> str:
    """Return a positive effect, given on the scale of the test, with its unit."""
    from alexnet.results import wording

    if experiment.effect == "ratio":
        return f"a factor of {math.exp(min(size, 700)):.3g}"
    return wording.paper_value(size, experiment).lstrip("+")


def _spread_text(deviation: float, experiment: Experiment) -> str:
    is_ratio = experiment.effect == "ratio"
    return f"{deviation:.3g} (of logarithms)" if is_ratio else _effect(deviation, experiment)


def _spread(sweep: SweepDir, experiment: Experiment) -> tuple[float | None, str]:
    """Return the largest spread of the first claim's effects, and from which runs it is known."""
    from alexnet.results import wording
    from alexnet.results.findings import comparison_of
    from alexnet.results.runs import data_of, load_sweep

    siblings = find_sweeps(sweep.path.parent) if sweep.path.parent.is_dir() else []
    siblings.sort(
        key=lambda each: (
            each.path != sweep.path,
            data_of(each.path) != data_of(sweep.path),
            -(each.path / "sweep.json").stat().st_mtime,
        )
    )
    for each in siblings[:_MOST_SWEEPS_READ]:
        try:
            loaded = load_sweep(each.path)
        except (OSError, ValueError):
            continue
        there = loaded.experiment
        if loaded.setting.cut or (there.measure, there.effect) != (
            experiment.measure, experiment.effect
        ):  # fmt: skip
            continue
        comparison = comparison_of(loaded)
        first = comparison.claims[0].effects if comparison.claims else comparison.claimed
        known = [effect for effect in first if effect.spread is not None]
        if known:
            widest = max(known, key=lambda effect: effect.spread or 0.0)
            which = "this sweep"
            if each.path != sweep.path:
                epochs = loaded.setting.epochs
                of = f" of {wording.count(epochs, 'epoch')}" if epochs else ""
                which = f"a similar sweep{of}, {each.path}"
            return widest.spread, f"from {widest.n} seeds of {which}"
    return None, ""
