import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from alexnet.config.check import check, load, read_stored, without_hydra
from alexnet.config.grammar import quoted
from alexnet.config.names import flatten, is_at_or_below
from alexnet.config.schema import AUTO, Config, ConfigError
from alexnet.config.suggest import did_you_mean
from alexnet.config.trust import (
    allowed,
    names_in,
    refuse_strangers,
    targets_in,
    targets_of_files,
    tell_runs,
)
from alexnet.folders.ending import CANNOT_BE_BUILT, DAMAGED, Exit
from alexnet.folders.files import DamagedFile, hold
from alexnet.folders.sweep import SweepDir
from alexnet.paths import outputs_folder, python_path
from alexnet.run.loggers import destination_of
from alexnet.run.ranks import started_from_outside
from alexnet.sweep.added_seeds import AddedSeeds
from alexnet.sweep.devices import Devices, check_parallel
from alexnet.sweep.plan import (
    ComposedArm,
    PlannedRun,
    join_plan,
    missing_root,
    named_as_before,
    plain_key,
    prepare,
    run_name,
    spread,
    sweep_folder,
)
from alexnet.sweep.planner import describe
from alexnet.sweep.preflight import (
    refuse_missing_packages,
    refuse_other_images,
    refuse_outside,
    refuse_unknown_factors,
    refuse_unsearched_intervals,
    refuse_what_is_not_here,
    starts_of,
)
from alexnet.sweep.processes import ENDS_THE_SWEEP, Interrupted, Job, run_jobs, run_other_rank
from alexnet.sweep.race import beaten_runs, runs_to_go
from alexnet.sweep.resume import change_run, find_run
from alexnet.sweep.tell import (
    announce,
    damage,
    nothing_could_be_built,
    status_of,
    summarize,
    why_wrong,
)
from alexnet.sweep.trials import MOST_RUNS, Axes, axes_of, levels_of

if TYPE_CHECKING:
    from alexnet.results import Report

log = logging.getLogger("alexnet.sweep")

ARM = "+arm"
OF_THE_COMMAND = (
    "outputs",
    "fresh",
    "plan",
    "max_seeds",
    "allow",
    "imports",
    "arms",
    "rates",
    "searches",
    "trials",
    "experiment",
)
OUR_PLUGINS = "hydra_plugins.alexnet_lab."


class ExperimentSweep:
    """Trains every arm and seed once: plans, checks all runs, skips finished ones, trains, reports.

    The sweep is the product of the levels in `params` (from the experiment's file) and on the
    command line, where levels replace those of the file. `max_seeds` and `max_runs` reduce it for
    trial runs. `config` is the command's configuration as composed by Hydra, `loader` composes each
    arm, and `make_launcher` makes the launcher that the configuration names.
    """

    def __init__(
        self,
        config: DictConfig,
        loader: ConfigLoader,
        make_launcher: Callable[[], Launcher],
        *,
        params: Mapping[str, Any],
        max_runs: int | None = None,
        max_seeds: int | None = None,
    ) -> None:
        self.config = config
        self.loader = loader
        self.instantiate_launcher = make_launcher
        self.params = {str(key): str(levels) for key, levels in params.items()}
        # In version 0.1, rates were under arms.lr.
        self.arms = {str(name): arm or {} for name, arm in config.arms.items() if name != "lr"}
        for key, most in (("max_runs", max_runs), ("max_seeds", max_seeds)):
            if most is not None and (type(most) is not int or most < 1):
                raise ConfigError(
                    f"hydra.sweeper.{key}={most} is not possible: give a number from 1, or null"
                )
        self.max_runs = max_runs
        self.max_seeds = max_seeds
        self._compositions: dict[tuple[str | None, ...], DictConfig] = {}

    @property
    def is_local(self) -> bool:
        """Whether runs are started on this machine, and not by another launcher."""
        return bool(self.config.hydra.launcher._target_.startswith(OUR_PLUGINS))

    def plan_runs(self, arguments: list[str]) -> list[PlannedRun]:
        """Return every arm with every seed; `arguments` are the command line without Hydra's keys.

        Raises ConfigError if a run is not possible.
        """
        fixed, axes = self._split(arguments)
        if added := self._added_seeds(fixed, axes):
            axes["seed"] = added.first({})
        return self._plan(fixed, axes)

    def run(self, arguments: list[str]) -> NoReturn:
        """Plan, train and report, then exit the process with an Exit."""
        for override in self.config.hydra.overrides.hydra:
            if override.startswith(("hydra.sweep.", "hydra.run.")):
                raise ConfigError(
                    f"{override} is not possible: folders get their names from the configuration. "
                    "Set outputs=FOLDER"
                )
        if self.config.resume == "":  # or an empty variable of the shell
            raise ConfigError("resume is empty: give resume=RUN_FOLDER, or leave it out")
        if self.config.resume:
            if started_from_outside():
                raise ConfigError("resume=RUN_FOLDER does not work under torchrun or srun")
            self._train_on(arguments)
        fixed, axes = self._split(arguments)
        swept = [plain_key(key) for key in axes]
        base = self._compose(fixed)
        added = self._added_seeds(fixed, axes)
        if added:
            axes["seed"] = added.first({})
        runs = self._plan(fixed, axes)
        starts = starts_of(runs)
        configs = [run.config for run in runs]
        refuse_missing_packages(configs)
        outside = started_from_outside()
        if not outside and self.is_local:
            check_parallel(self.config.hydra.launcher.get("parallel", "auto"))
            self._refuse_what_is_not_applied()
            refuse_what_is_not_here(configs)
        if outside and (problem := refuse_outside(outside, runs)):
            raise ConfigError(problem)

        # Also needed by other ranks, whose processes start below.
        tell_runs([each for run in runs for each in targets_in(run.config.plain())], base.allow)
        if len(runs) > 1:
            os.environ.pop("WANDB_RUN_ID", None)  # set by an agent of W&B, for a single run
        choice = self.config.hydra.runtime.choices["data"]
        sweep = sweep_folder(base, choice, swept, runs, starts)
        before = sweep.read_plan()
        if added and axes["seed"] != (seeds := added.first(before)):
            axes["seed"] = seeds
            runs = self._plan(fixed, axes)
        runs = named_as_before(before, runs)
        experiment = self._experiment(base, axes, before.get("experiment", {}))
        self._refuse_missing_data(runs_to_go(sweep, runs))
        refuse_other_images(sweep, runs)
        if base.plan:
            if not outside or outside.rank == 0:
                parallel = self.config.hydra.launcher.get("parallel", "auto")
                for line in describe(
                    sweep, runs, experiment, outputs=outputs_folder(base.outputs),
                    parallel=parallel, added=added,
                ):  # fmt: skip
                    log.info("%s", line)
            sys.exit(Exit.FINISHED)
        if outside and outside.rank > 0:  # only rank 0 writes the plan
            sys.exit(_be_other_rank(runs[0], sweep, outside.rank))
        with hold(sweep.path):
            is_seen = (sweep.report / "verdict.json").is_file()
            left: list[PlannedRun] = []
            while True:
                plan = join_plan(
                    sweep.read_plan(), experiment, swept, runs, self._levels(axes), starts,
                    intervals=axes.intervals, is_reported=is_seen,
                    max_seeds=added.max_seeds if added else None,
                )  # fmt: skip
                sweep.write_plan(plan)
                to_go = runs_to_go(sweep, runs)
                if not left:
                    announce(sweep, runs, to_go)
                left += to_go
                code = self._launch(sweep, to_go)
                if not added or code or runs_to_go(sweep, runs):
                    break
                if not added.needs_more(sweep, n := len(axes["seed"])):
                    break
                axes["seed"].append(str(n))
                runs, is_seen = named_as_before(plan, self._plan(fixed, axes)), True
            if code is Exit.WRONG:
                if not any(sweep.run(run.name).is_finished for run in runs):
                    raise ConfigError(why_wrong(sweep, left))
                code = Exit.FAILED  # something was trained
            failed = summarize(sweep, runs, left, beaten_runs(sweep))
            if not code and failed and nothing_could_be_built(sweep, runs):
                code = Exit.WRONG
            report = None
            if len(plan["runs"]) > 1:
                report = _report(sweep)
            else:
                log.info("results: %s", sweep.run(runs[0].name).path)
            if code not in (Exit.STOPPED, Exit.INTERRUPTED):
                _send_to_wandb(sweep, base, report)
        if damages := [text for run in runs if (text := damage(sweep.run(run.name), run))]:
            raise DamagedFile("\n".join(damages))
        sys.exit(code or (Exit.FAILED if failed else Exit.FINISHED))

    def _train_on(self, arguments: list[str]) -> NoReturn:
        """Train one run further (resume=RUN_FOLDER), with the changes that are allowed."""
        overrides = OverridesParser.create(config_loader=self.loader).parse_overrides(arguments)
        run = find_run(Path(self.config.resume).expanduser().resolve())
        may_build = allowed([*targets_of_files(self._folders()), *names_in(self.config.allow)])
        refuse_strangers(OmegaConf.to_container(read_stored(run.config)), may_build, str(run.path))
        load(run.config, allow=may_build)  # a wrong key in the file is not a mistake in the command
        tell_runs(may_build)
        sweep = SweepDir(run.path.parent)
        with hold(sweep.path):
            before = {file: file.read_bytes() for file in (run.config, run.status) if file.exists()}
            change_run(run, overrides, self.config)
            log.info("resuming %s in %s", run.name, run.path)
            try:
                [code] = run_jobs([Job.of(run)], Devices.of_this_machine("auto")).values()
            except Interrupted as error:
                code = error.exit
            status = status_of(run)
            if run.is_finished and status.get("cause") in (CANNOT_BE_BUILT, DAMAGED):
                for file, content in before.items():  # nothing was trained: it is still finished
                    file.write_bytes(content)
                if status["cause"] == DAMAGED:
                    raise DamagedFile(status["error"].removeprefix("DamagedFile: "))
            if code is Exit.WRONG:
                raise ConfigError(status["error"])
            why = status.get("error", status.get("cause", ""))
            log.info("%s %s %s", run.name, status["state"], why)
            log.info("results: %s", run.path)
            report = _report(sweep) if len(sweep.read_plan()["runs"]) > 1 else None
            if code not in (Exit.STOPPED, Exit.INTERRUPTED):
                _send_to_wandb(sweep, load(run.config, allow=may_build), report)
        sys.exit(code)

    def _added_seeds(self, fixed: list[str], axes: Axes) -> AddedSeeds | None:
        """Return the seeds to add for seed=auto, or None. Raises ConfigError if impossible."""
        seeds = axes["seed"]
        if AUTO not in seeds:
            return None
        if len(seeds) > 1:
            raise ConfigError(
                f"seed={','.join(seeds)} is not possible: seed=auto takes 0, 1, 2 and so on, as "
                "many as it needs. Give seed=auto alone, or list the seeds"
            )
        base = self._compose(fixed)
        claims = base.experiment.claims
        if axes.count() < 2 and not (claims and claims[0].direction == "value"):
            raise ConfigError(
                "seed=auto has nothing to compare, and therefore no claim to settle: choose an "
                "experiment with +experiment=NAME, sweep a key as in model.nonlinearity=relu,tanh, "
                "or list the seeds, as in seed=0,1,2"
            )
        if started_from_outside() or not self.is_local:
            launcher = self.config.hydra.runtime.choices["hydra/launcher"]
            who = "torchrun or srun" if started_from_outside() else f"hydra/launcher={launcher}"
            raise ConfigError(
                f"seed=auto looks at results before it starts further runs, which {who} does not "
                "support: leave it out, or list the seeds, as in seed=0,1,2"
            )
        return AddedSeeds(min(base.max_seeds, self.max_seeds or base.max_seeds))

    def _folders(self) -> list[Path]:
        """Return the folders of configuration files: ours, --config-dir, hydra.searchpath."""
        paths = (each.path for each in self.loader.get_search_path().get_path() if each.path)
        folders = (Path(path.removeprefix("file://")) for path in paths if "pkg://" not in path)
        return [folder for folder in folders if folder.is_dir()]

    def _split(self, arguments: Sequence[str]) -> tuple[list[str], Axes]:
        """Return the arguments that all runs share, and the levels of swept keys, seeds last."""
        parser = OverridesParser.create(config_loader=self.loader)
        swept = self._declared()
        fixed = []
        for override in parser.parse_overrides(list(arguments)):
            key = override.get_key_element()
            is_axis = key in swept or key == "seed" or (key == ARM and self.arms)
            if override.is_sweep_override() or is_axis:
                swept[key] = override
            else:
                assert override.input_line is not None
                fixed.append(override.input_line)
        axes = axes_of(swept, self._trials(fixed, swept))
        if self.arms:
            axes = Axes({ARM: list(self.arms), **axes}, axes.intervals)
        seeds = axes.pop("seed", [str(self.config.seed)])
        axes["seed"] = seeds[: self.max_seeds]
        if len(seeds) > len(axes["seed"]):
            log.info("trial run: seed %s only, of %s", ", ".join(axes["seed"]), ", ".join(seeds))
        if "resume" in axes:
            raise ConfigError("only one run can be resumed at a time: give resume=RUN_FOLDER")
        if "+experiment" in axes:
            raise ConfigError("only one experiment at a time is possible: give +experiment=NAME")
        for key in axes:
            if is_at_or_below(plain_key(key), OF_THE_COMMAND):
                raise ConfigError(
                    f"{key}={','.join(axes[key])} is not possible: {key} has one value for all "
                    "runs of a command. Give a command for each"
                )
        return fixed, axes

    def _trials(self, fixed: Sequence[str], swept: Mapping[str, Override]) -> int | None:
        """Return the number of trials of intervals, or None.

        Raises ConfigError if a number on the command line is unused; that of an experiment may be.
        """
        trials: Any = self.config.trials
        if trials is not None and (type(trials) is not int or trials < 1):
            raise ConfigError(f"trials={trials} is not possible: give a number from 1, or null")
        is_typed = any(each.lstrip("+").startswith("trials=") for each in fixed)
        if trials and is_typed and not any(each.is_interval_sweep() for each in swept.values()):
            raise ConfigError(
                f"trials={trials} is for a search of an interval, as in "
                "learning.lr='interval(1e-4,1e-1)': listed levels are all tried"
            )
        return trials

    def _declared(self) -> dict[str, Override]:
        """Return the swept keys of the experiment's file."""
        parser = OverridesParser.create(config_loader=self.loader)
        overrides = parser.parse_overrides([f"{k}={v}" for k, v in self.params.items()])
        return {override.get_key_element(): override for override in overrides}

    def _levels(self, axes: Axes) -> dict[str, list[str]]:
        """Return levels in the order of the report: those of the experiment's file come first."""
        declared = {
            key: levels_of(override)
            for key, override in self._declared().items()
            if key in axes and not override.is_interval_sweep()
        }
        declared[ARM] = list(self.arms)
        return {
            plain_key(key): list(dict.fromkeys([*declared.get(key, []), *levels]))
            for key, levels in axes.items()
        }

    def _plan(self, fixed: list[str], axes: Axes) -> list[PlannedRun]:
        """Compose and check every combination of levels."""
        self._refuse_unknown_arms(axes.get(ARM, []))
        if (count := axes.count()) > MOST_RUNS:
            raise ConfigError(f"these are {count} runs: at most {MOST_RUNS} in one command")
        combinations = list(axes.combinations())
        chosen = spread(combinations, self.max_runs)
        if len(chosen) < len(combinations):
            log.info("trial run: %d of %d runs", len(chosen), len(combinations))
        self._refuse_what_arms_set(fixed, axes)
        runs = []
        arms: dict[tuple[str, ...], ComposedArm] = {}  # composing and resolving are slow
        for combination in chosen:
            overrides = [*fixed, *(f"{k}={v}" for k, v in combination.items() if k != ARM)]
            levels = {plain_key(key): level for key, level in combination.items()}
            of_arm = tuple(level for key, level in levels.items() if key != "seed")
            if of_arm not in arms:
                unseeded = [each for each in overrides if not each.startswith("seed=")]
                arms[of_arm] = ComposedArm(self._composed(unseeded, combination.get(ARM)))
            config = arms[of_arm].config(_seed(levels["seed"]))
            flat = flatten(config.plain())
            # A swept group has a name for its level and no value of its own.
            arm = {key: flat.get(key, level) for key, level in levels.items() if key != "seed"}
            name = run_name({**arm, "seed": config.seed})
            runs.append(
                PlannedRun(
                    name=name, overrides=overrides, arm=arm,
                    composed=arms[of_arm].composed, config=config,
                )
            )  # fmt: skip
        names = sorted(run.name for run in runs)
        if len(set(names)) < len(names):
            first = next(one for one, other in pairwise(names) if one == other)
            raise ConfigError(
                f"two levels or seeds are the same, or cannot be told apart by the name {first}: "
                "name each once"
            )
        refuse_unknown_factors(runs, [plain_key(key) for key in axes])
        refuse_unsearched_intervals(runs, axes.intervals)
        return runs

    def _composed(self, overrides: list[str], arm: str | None = None) -> DictConfig:
        """Compose a command with the settings of an arm: files of groups, or values.

        Values are merged into existing ones, as in a configuration file. Results are kept, because
        composing takes a tenth of a second and arms are composed twice.
        """
        if (composed := self._compositions.get((*overrides, arm))) is not None:
            return composed
        settings = self.arms[arm] if arm is not None else {}
        groups = {key for key in settings if self._is_group(str(key), settings[key])}
        chosen = [f"{key}={settings[key]}" for key in sorted(groups)]
        # The command's own words come last, because they take precedence over a group's file.
        composed = self.loader.load_sweep_config(self.config, [*chosen, *overrides])
        with read_write(composed), open_dict(composed):
            for key, value in settings.items():
                if key not in groups:
                    OmegaConf.update(composed, str(key), value, merge=True, force_add=True)
        self._compositions[(*overrides, arm)] = composed
        return composed

    def _is_group(self, key: str, value: Any) -> bool:
        return isinstance(value, str) and bool(self.loader.get_group_options(key))

    def _experiment(self, base: Config, axes: Axes, before: Mapping[str, Any]) -> dict[str, Any]:
        """Return the experiment for sweep.json, with its factors, and its baseline by key."""
        experiment = base.experiment.model_dump(by_alias=True, mode="json")
        swept = [plain_key(key) for key in axes if key != "seed"]
        factors = experiment["factor"] = experiment["factor"] or swept
        baseline = experiment["baseline"] or before.get("baseline")
        if baseline is not None and not isinstance(baseline, dict) and len(factors) == 1:
            baseline = {factors[0]: baseline}
        if baseline is None:  # the first as typed in the command that made the sweep
            first = {plain_key(key): levels[0] for key, levels in self._levels(axes).items()}
            baseline = {key: yaml.safe_load(first[key]) for key in factors if key in first}
        experiment["baseline"] = baseline
        return experiment

    def _refuse_unknown_arms(self, chosen: Sequence[str]) -> None:
        name = self.config.experiment.name
        for arm in chosen:
            if not self.arms:
                raise ConfigError(f"{ARM}={arm} is not possible: {name} has no arms")
            if arm not in self.arms:
                raise ConfigError(
                    f"{ARM}={arm}: {name} has no such arm: {did_you_mean(arm, self.arms)}"
                )

    def _refuse_what_arms_set(self, fixed: list[str], axes: Mapping[str, Sequence[str]]) -> None:
        """Raise ConfigError for command-line values that an arm would silently replace.

        Arms set the keys that they change, apart from values of the command line. A group such as
        data=cifar10 may be chosen if every arm keeps its values.
        """
        if ARM not in axes:
            return
        added = [override for override in fixed if override.startswith("+")]
        arms = list(axes[ARM])

        def values(*overrides: str, arm: str | None = None) -> dict[str, Any]:
            composed = self._composed([*added, *overrides], arm)
            return flatten(check(without_hydra(composed)).plain())

        without, of_arm = values(), {arm: values(arm=arm) for arm in arms}
        set_by_arms = {
            key
            for arm in arms
            for key in without.keys() | of_arm[arm].keys()
            if without.get(key) != of_arm[arm].get(key)
        } | {str(key) for arm in arms for key in self.arms[arm] if str(key) in without}
        by_hand = [*fixed, *(f"{key}={axes[key][0]}" for key in axes if key != ARM)]
        for override in by_hand:
            key = override.partition("=")[0].lstrip("+")
            theirs = {each for each in set_by_arms if f"{each}.".startswith(f"{key}.")}
            if theirs and (
                key in theirs
                or any(
                    changed.get(each) != of_arm[arm].get(each)
                    for arm in arms
                    for changed in [values(override, arm=arm)]
                    for each in theirs
                )
            ):
                raise ConfigError(
                    f"{key} cannot be set on the command line here, because the arms "
                    f"{', '.join(axes[ARM])} set {', '.join(sorted(theirs))}"
                )

    def _refuse_what_is_not_applied(self) -> None:
        """Raise ConfigError for settings that only Hydra's own launchers apply."""
        for key in ("env_set", "env_copy"):
            if self.config.hydra.job.get(key):
                raise ConfigError(
                    f"hydra.job.{key} is for other launchers: set variables before the command, as "
                    "in NAME=VALUE python src/train.py"
                )

    def _refuse_missing_data(self, runs: Sequence[PlannedRun]) -> None:
        """Raise ConfigError if data.root is missing here; other launchers' workers may have it."""
        if self.is_local:
            problems = [problem for run in runs if (problem := missing_root(run.config))]
            if problems:
                raise ConfigError("\n".join(dict.fromkeys(problems)))

    def _compose(self, overrides: list[str]) -> Config:
        return check(without_hydra(self._composed(overrides)))

    def _make_launcher(self) -> Launcher:
        """Make the launcher of the configuration, and set what its workers inherit."""
        # Workers of submitit and Ray have to find this project to import it.
        os.environ["PYTHONPATH"] = python_path()
        launcher = self.instantiate_launcher()
        # Hydra composes each job again in the workers. It must not see the launcher's settings
        # there, because it would warn about them for every run.
        with read_write(self.config.hydra):
            self.config.hydra.overrides.hydra = [
                override
                for override in self.config.hydra.overrides.hydra
                if not override.startswith(("hydra/launcher=", "hydra.launcher."))
            ]
        return launcher

    def _launch(self, sweep: SweepDir, runs: Sequence[PlannedRun]) -> Exit:
        """Launch all runs; return FINISHED, or what ended the sweep.

        The end of each run is recorded in its status.json.
        """
        if not runs:
            return Exit.FINISHED
        with open_dict(self.config.hydra):
            self.config.hydra.sweep.dir = str(sweep.path)
        jobs = [
            [
                *run.overrides,
                f"hydra.sweep.dir={quoted(str(sweep.path))}",
                f"hydra.sweep.subdir={run.name}",
            ]
            for run in runs
        ]
        # All are written before the first run starts: a worker may compose its job hours later, on
        # another machine, from files that have been edited.
        for run in runs:
            prepare(run, sweep.run(run.name))
        launcher = self._make_launcher()
        try:
            returns: Sequence[JobReturn] = launcher.launch(jobs, initial_job_idx=0)
        except Interrupted as error:
            return error.exit
        except KeyboardInterrupt:
            return Exit.INTERRUPTED
        except Exception as error:
            # A worker was killed, or a queue lost a job: the folder of each run shows how it ended.
            log.error("the launcher failed: %s: %s", type(error).__name__, error)
            return Exit.FINISHED
        ends = [job.return_value for job in returns if job.status is JobStatus.COMPLETED]
        return next((Exit(end) for end in ends if end in ENDS_THE_SWEEP), Exit.FINISHED)


def _seed(level: str) -> int:
    """Parse a seed. Raises ConfigError if YAML would read another number: 010 is 8 there."""
    if not re.fullmatch(r"0|[1-9]\d{0,17}", level):
        raise ConfigError(
            f"seed={level} is not possible: give a whole number from 0, such as 7, of at most 18 "
            "digits"
        )
    return int(level)


def _be_other_rank(planned: PlannedRun, sweep: SweepDir, rank: int) -> Exit:
    if not runs_to_go(sweep, [planned]):
        return Exit.FINISHED
    try:
        return run_other_rank(planned, sweep.run(planned.name), rank)
    except Interrupted as error:
        return error.exit


def _report(sweep: SweepDir) -> "Report":
    # pandas and matplotlib take a second.
    from alexnet.results import write_report
    from alexnet.results.console import console_text

    report = write_report(sweep.path)
    log.info("\n%s", console_text(report, sys.stdout))
    return report


def _send_to_wandb(sweep: SweepDir, config: Config, report: "Report | None") -> None:
    """Send the report and the ends of killed runs to W&B, if runs are logged there."""
    if (destination := destination_of(config.logger)) is None:
        return
    from alexnet.run.sync import sync

    try:
        for each in sync(sweep, destination, report=report):
            if each.outcome == "sent":
                log.info("W&B (%s): %s", destination.name, each.name)
    except Exception as error:  # of many kinds; the sweep is complete without it
        log.error("not sent to W&B: %s. Try again: python src/sync.py %s", error, sweep.path)
