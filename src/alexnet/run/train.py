import contextlib
import logging
import math
import resource
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra

from alexnet import vocabulary
from alexnet.config.check import refuse_16_bits_of_a_cpu, refuse_several_machines
from alexnet.config.names import flatten
from alexnet.config.schema import Config, ConfigError, Entries, Learning, Part
from alexnet.config.searches import searches_used
from alexnet.config.signature import signature_of
from alexnet.config.trust import allowed
from alexnet.folders.disk import Disk
from alexnet.folders.files import DamagedFile
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir, find_checkpoint
from alexnet.run.images import REMEDY, Images, contradiction, identify, images_before
from alexnet.run.loggers import log_picture, loggers_of, show_pictures
from alexnet.run.provenance import provenance
from alexnet.run.ranks import Ranks, started_from_outside
from alexnet.run.start import check_start

if TYPE_CHECKING:
    import lightning.pytorch as pl
    from torch import nn

log = logging.getLogger("alexnet.train")


def train(config: Config, run: RunDir, ranks: Ranks, *, is_warm_up: bool = False) -> None:
    """Do one run, from its last checkpoint if there is one: build, fit, test, write result.json.

    If the run has several processes, this is one of them; only rank 0 writes files. A warm-up
    measures what the run would cost, which its status.json contains after a few seconds.

    Raises ConfigError, before anything is trained, if the configuration is not possible, and
    Stopped if the process was told to stop.
    """
    import torch

    from alexnet.learning import (
        ClassificationTask,
        Diverged,
        Forecast,
        NormRecorder,
        RunRecorder,
        StopOnSignal,
        WarmUp,
        check_checkpoint,
        checkpoint_bytes,
    )
    from alexnet.model import CHECKPOINT_FORMAT, read_checkpoint, start_from
    from alexnet.run.flop import forward_flop

    _hush_lightning()
    imported = _peak_memory_megabytes()
    planned = SweepDir(run.path.parent).read_plan() if ranks.rank == 0 else {}
    if ranks.rank == 0:
        run.clear_partial()
    arm = planned["runs"][run.name]["arm"] if planned else {}
    checkpoint = run.whole_checkpoint()
    if checkpoint and ranks.rank == 0:
        run.go_on_from(checkpoint)
    # Another number of threads sums in another order, so a resumed run keeps its own.
    before = _noted(run) if checkpoint else {}
    share = max(1, torch.get_num_threads() // config.trainer.devices)
    torch.set_num_threads(config.trainer.threads or before.get("threads") or share)

    torch.manual_seed(config.seed)
    with _what_was_asked_for():
        data = _build_data(config)
        data.prepare_data()
        images = _its_images(config.data, run, arm) if ranks.rank == 0 else None
        start = _its_start(config, run, planned, has_begun=checkpoint is not None)
    if ranks.rank == 0:
        origin = provenance(
            threads=torch.get_num_threads(), command=planned["command"], before=before
        )
        about_input = {
            "data": asdict(images) if images else None,
            "init_from": start,
            "searches": _its_searches(config),
        }
        run.write_provenance({**origin, **about_input})
    with _what_was_asked_for():
        if started_from_outside() is None:
            refuse_several_machines(config)
        ranks.start(config.trainer.devices)
        data.setup("fit")
        num_classes = _num_classes(data, config)
        net = _build_net(config, num_classes)
        if ranks.rank == 0:
            # The number of classes gives the error of guessing, if the run diverges.
            flop = forward_flop(net, getattr(data, "image_size", None))
            about_net = {"num_classes": num_classes, "forward_flop": flop}
            run.write_provenance({**run.read_provenance(), **about_net})
        if checkpoint:
            check_checkpoint(checkpoint, net)
        elif config.init_from:
            # Only what the command allows: a run folder cannot allow its own classes.
            saved = read_checkpoint(
                find_checkpoint(Path(config.init_from)),
                layout=config.init_layout,
                model=config.model.plain(),
                allow=allowed(),
            )
            start_from(net, saved, model=config.model.plain())
    if config.trainer.precision == "64-true":
        net.double()  # before a checkpoint is read into it, which would round it to float32
    disk = Disk.of(run.last_checkpoint.parent, checkpoint=checkpoint_bytes(net))
    if ranks.rank == 0:
        with _what_was_asked_for():
            disk.check(run.path)
    about = {
        "format": CHECKPOINT_FORMAT,
        "model": {**config.model.plain(), "num_classes": num_classes},
        "image_size": getattr(data, "image_size", None),
        "mean_image": getattr(data, "mean_image", None),
        "class_names": list(getattr(data, "class_names", map(str, range(num_classes)))),
        "augmentation": getattr(data, "augmentation", None),
    }
    # Not by plain(), in which epochs are strings.
    learning = config.learning.model_dump(exclude_unset=True)
    recorder = RunRecorder(
        run,
        checkpoint_minutes=config.checkpoint.minutes,
        stop_at_train_error=learning.pop("stop_at_train_error"),
    )
    forecast = (WarmUp if is_warm_up else Forecast)(
        run,
        disk=disk,
        memory=lambda: _peak_memory_megabytes(beyond=imported) * 2**20,
        may_end_earlier=config.learning.stop_at_train_error is not None,
    )
    with _what_was_asked_for():
        task = ClassificationTask(net, about=about, **learning | _built_parts(config.learning))

    flat = flatten(config.model_copy(update={"searches": {}}).plain())
    flat |= {f"ablation/{key}": level for key, level in arm.items()}
    entries = config.logger if ranks.rank == 0 else Entries()
    with loggers_of(entries, run, experiment=config.experiment, config=flat) as loggers:
        with _what_was_asked_for():
            theirs = [_instantiate(part) for _, part in config.callbacks.items()]
            # The user's come first, because the recorder's checkpoint contains their state.
            norms = NormRecorder(run, is_new=checkpoint is None)
            pictures = None
            if show_pictures(config.logger):
                from alexnet.run.pictures import Pictures

                pictures = Pictures(run, partial(log_picture, loggers))
                theirs.append(pictures)
            callbacks = [*theirs, norms, recorder, forecast, StopOnSignal(recorder)]
            trainer = _trainer(
                config, run, ranks, callbacks=callbacks, loggers=loggers,
                shares_batches=hasattr(data, "start_at"),
            )  # fmt: skip
            if trainer.strategy.root_device.type == "cpu":
                refuse_16_bits_of_a_cpu(config)
        if checkpoint:
            log.info("resuming from %s", checkpoint)
        trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        began = time.monotonic()
        trainer.test(task, datamodule=data, verbose=False)
        tested = {name: round(float(m), 7) for name, m in trainer.callback_metrics.items()}
        if not math.isfinite(loss := tested.get(vocabulary.TEST_LOSS, 0.0)):
            raise Diverged(f"the test loss is {loss}: try a lower learning.lr")
        for logger in loggers:
            logger.log_metrics(tested, step=trainer.global_step)
        if ranks.rank > 0:
            return
        last = run.read_metrics()[-1]
        known = {name: value for name, value in last.items() if "/" in name and value == value}
        metrics = known | tested
        run.write_result(
            {
                "metrics": metrics,
                "epochs": last["epoch"],
                "seconds": round(recorder.at.seconds + time.monotonic() - began, 3),
                "images_per_second": last["images_per_second"],
                "peak_memory_megabytes": round(_peak_memory_megabytes(beyond=imported)),
                "seed": config.seed,
                "arm": arm,
                **({"test_images": data.size_of("test")} if hasattr(data, "size_of") else {}),
                **_exchange(trainer),
            }
        )
        if pictures:
            pictures.draw_test(about, trainer.global_step)
    log.info("test error %.2f %%: %s", 100 * metrics[vocabulary.TEST_ERROR], run.path)


def _instantiate(part: Part, **given: Any) -> Any:
    """Build the object that a section of the configuration describes."""
    return hydra.utils.instantiate(part.plain(), _convert_="all", **given)


def _build_data(config: Config) -> "pl.LightningDataModule":
    """Build the data module, with the seed if it takes one."""
    import lightning.pytorch as pl

    takes = signature_of(config.data.target).parameters
    given = {"seed": config.seed} if "seed" in takes else {}
    data = _instantiate(config.data, **given)
    if not isinstance(data, pl.LightningDataModule):
        raise ConfigError(f"data: {config.data.target} does not return a LightningDataModule")
    if not hasattr(data, "start_at"):
        log.warning(
            "%s is not an alexnet.data.ImageModule: a killed run resumes from its last complete "
            "epoch, and equal seeds give equal batches only if the data module ensures that",
            config.data.name,
        )
    return data


def _num_classes(data: Any, config: Config) -> int:
    number = getattr(data, "num_classes", None)
    if not isinstance(number, int) or number < 2:
        raise ConfigError(
            f"{config.data.target}.num_classes is {number}: set it to the number of classes, at "
            "least 2, in setup() or before"
        )
    return number


def _build_net(config: Config, num_classes: int) -> "nn.Module":
    from torch import nn

    from alexnet.model import check_initialized

    net = _instantiate(config.model, num_classes=num_classes)
    if not isinstance(net, nn.Module):
        raise ConfigError(f"model: {config.model.target} does not return a torch.nn.Module")
    check_initialized(net, config.model.target)
    if config.trainer.compile:
        net.compile()
    return net


def _built_parts(learning: Learning) -> dict[str, Any]:
    """Build the loss, and optimizer and schedule as functions of their missing arguments."""
    built: dict[str, Any] = {}
    for key in ("optimizer", "scheduler", "loss"):
        if (part := getattr(learning, key, None)) is not None:
            built[key] = _instantiate(part, **({} if key == "loss" else {"_partial_": True}))
    return built


def _its_images(data: Part, run: RunDir, arm: Mapping[str, Any]) -> Images | None:
    """Return the images that the run finds.

    Raises ConfigError if other runs of the sweep were trained on different ones.
    """
    images = identify(data)
    before = images_before(SweepDir(run.path.parent), data, arm) if images else {}
    if images and (problem := contradiction(images, before)):
        raise ConfigError(f"{problem}: {REMEDY}")
    return images


def _its_searches(config: Config) -> dict[str, Any]:
    """Return the searches that supply values to the run, for provenance.json."""
    used = searches_used(config.searches, flatten(config.plain()))
    return {
        name: {
            "sha256": search.sha256,
            "data": search.data,
            "seeds": list(search.seeds),
            "unfinished": search.unfinished,
        }
        for name, search in used.items()
    }


def _noted(run: RunDir) -> dict[str, Any]:
    """Return the recorded provenance of a run. Raises ConfigError if it cannot be read."""
    try:
        return run.read_provenance()
    except DamagedFile as error:
        raise ConfigError(
            f"{error}. A resumed run keeps its number of threads, which is recorded there: remove "
            "the file to resume with trainer.threads, or with the default number"
        ) from error


def _its_start(
    config: Config, run: RunDir, planned: Mapping[str, Any], *, has_begun: bool
) -> dict[str, str] | None:
    """Return the weights from which the run starts, or has started, for provenance.json."""
    if not config.init_from or not planned:
        return None
    if has_begun:
        return _noted(run).get("init_from")
    known = planned.get("init_from", {}).get(config.init_from)
    return {"path": config.init_from, "fingerprint": check_start(config.init_from, known)}


def _trainer(
    config: Config,
    run: RunDir,
    ranks: Ranks,
    *,
    callbacks: "list[pl.Callback]",
    loggers: list[Any],
    shares_batches: bool,
) -> "pl.Trainer":
    import lightning.pytorch as pl
    from lightning.fabric.plugins.environments import LightningEnvironment

    from alexnet.learning import ColumnParallelStrategy

    settings = config.trainer.plain()
    del settings["threads"]
    settings.pop("compile", None)
    if isinstance(profiler := getattr(config.trainer, "profiler", None), Part):
        has_place = getattr(profiler, "dirpath", True) is not None
        settings["profiler"] = _instantiate(
            profiler, **({} if has_place else {"dirpath": run.path})
        )
    if config.trainer.devices * config.trainer.num_nodes > 1:
        model, columns = config.model, 1
        if config.trainer.strategy == "column_parallel":
            columns = model.columns
        settings["strategy"] = ColumnParallelStrategy(columns)
    if ranks.are_ours:
        # Regardless of other variables, for example within a Slurm job.
        settings["plugins"] = [LightningEnvironment()]
    return pl.Trainer(
        **settings,
        deterministic=config.deterministic,
        default_root_dir=run.path,
        logger=loggers,
        callbacks=callbacks,
        # The recorder is the callback for checkpoints; our data modules split batches.
        enable_checkpointing=True,
        use_distributed_sampler=not shares_batches,
        enable_progress_bar=False,  # the launcher shows the progress of all runs
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _peak_memory_megabytes(*, beyond: float = 0.0) -> float:
    """Return the peak memory of this process on its GPU, or in main memory less `beyond`, in MB."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (2**10 if sys.platform == "linux" else 2**20) - beyond


def _exchange(trainer: "pl.Trainer") -> dict[str, Any]:
    """Return what the columns have exchanged, for result.json; {} for a single column."""
    from alexnet.learning import ColumnParallelStrategy

    strategy = trainer.strategy
    measured = strategy.measured() if isinstance(strategy, ColumnParallelStrategy) else None
    return {"exchange": measured} if measured else {}


@contextlib.contextmanager
def _what_was_asked_for() -> Any:
    """Turn errors in building into a ConfigError, because the user can correct them."""
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    try:
        yield
    except hydra.errors.InstantiationException as error:
        if isinstance(error.__cause__, ValueError | OSError):
            raise ConfigError(str(error.__cause__)) from error
        raise
    except (ValueError, OSError, MisconfigurationException) as error:
        raise ConfigError(str(error)) from error


def _hush_lightning() -> None:
    """Silence Lightning below WARNING, and its warnings that do not apply here."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # It is resumable: our sampler continues with the next batch.
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    # Loggers are given every epoch, and the steps that the recorder chooses.
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    # The values that we log are already counted over all processes.
    warnings.filterwarnings("ignore", message=".*recommended to use .*sync_dist=True.*")
