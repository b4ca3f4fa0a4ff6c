"""Train: one run, or every arm and seed of an experiment, and then the report.

    python src/train.py                             the default: CifarNet on MNIST5k
    python src/train.py +experiment=relu_vs_tanh    a claim of the paper
    python src/train.py --help                      what there is

Hydra composes the configuration and our sweeper (src/hydra_plugins) plans the runs. Each run is a
process of its own, which does what `train` says. Torch is imported there and nowhere else, so that
the command line answers at once.
"""

import contextlib
import logging
import os
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from alexnet import config as configuration
from alexnet import factors
from alexnet.config import Config, ConfigError
from alexnet.rundir import Exit, FolderInUse, RunDir, SweepDir, hold
from alexnet.suggest import explain_hydra
from hydra_plugins.alexnet_lab.launcher import run_process

if TYPE_CHECKING:
    import lightning.pytorch as pl

log = logging.getLogger("alexnet.train")

RUN_FLAG = "--run"


def train(config: Config, run: RunDir) -> None:
    """One run: build, fit, test, result.json.

    Raises ConfigError before anything is trained if what was asked for cannot be had.
    """
    import torch

    from alexnet import tracking
    from alexnet.learning import ClassificationTask, RunRecorder

    _hush_lightning()
    planned = SweepDir(run.path.parent).read_plan()
    arm = planned["runs"][run.name]["arm"]
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    run.write_provenance(
        tracking.provenance(threads=torch.get_num_threads(), command=planned["command"])
    )

    torch.manual_seed(
        config.seed
    )  # initial weights and dropout; the data modules draw by themselves
    with _what_was_asked_for():
        data = hydra.utils.instantiate(config.data.plain(), seed=config.seed, _convert_="all")
        data.prepare_data()
        data.setup("fit")
        net = hydra.utils.instantiate(
            config.model.plain(), num_classes=data.num_classes, _convert_="all"
        )
    about = {
        "model": {**config.model.plain(), "num_classes": data.num_classes},
        "mean_image": data.mean_image,
        "class_names": list(data.class_names),
    }
    learning = config.learning.plain()
    recorder = RunRecorder(run, stop_at_train_error=learning.pop("stop_at_train_error"))
    task = ClassificationTask(net, about=about, **learning)

    flat = configuration.flatten(config.plain()) | {
        f"ablation/{key}": level for key, level in arm.items()
    }
    began = time.time()
    with tracking.wandb_run(
        config.logger.wandb, run, experiment=config.experiment.name, config=flat
    ) as loggers:
        with _what_was_asked_for():
            trainer = _trainer(config, run, callbacks=[recorder, *_progress_bar()], loggers=loggers)
        trainer.fit(task, datamodule=data)
        trainer.test(task, datamodule=data, verbose=False)
        tested = {name: round(float(m), 7) for name, m in trainer.callback_metrics.items()}
        for logger in loggers:
            logger.log_metrics(tested, step=trainer.global_step)

    last = run.read_metrics()[-1]
    metrics = {name: last[name] for name in last if "/" in name} | tested
    run.write_result(
        {
            "metrics": metrics,
            "epochs": last["epoch"],
            "seconds": round(time.time() - began, 3),
            "images_per_second": last["images_per_second"],
            "seed": config.seed,
            "arm": arm,
        }
    )
    log.info("test error %.2f %%: %s", 100 * metrics[factors.TEST_ERROR], run.path)


def _trainer(
    config: Config, run: RunDir, *, callbacks: "list[pl.Callback]", loggers: list[Any]
) -> "pl.Trainer":
    import lightning.pytorch as pl

    settings = config.trainer.plain()
    del settings["threads"]
    return pl.Trainer(
        **settings,
        deterministic=config.deterministic,
        default_root_dir=run.path,
        logger=loggers,
        callbacks=callbacks,
        # The recorder writes checkpoints; the data module's sampler splits batches.
        enable_checkpointing=False,
        use_distributed_sampler=False,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _progress_bar() -> "list[pl.Callback]":
    from lightning.pytorch.callbacks import RichProgressBar

    return [RichProgressBar(leave=False)] if sys.stderr.isatty() else []


@contextlib.contextmanager
def _what_was_asked_for() -> Any:
    """Turn errors of building into a ConfigError: the person at the keyboard can mend them."""
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    try:
        yield
    except hydra.errors.InstantiationException as error:
        if isinstance(error.__cause__, ValueError | OSError):
            raise ConfigError(str(error.__cause__)) from error
        raise
    except (ValueError, OSError, MisconfigurationException) as error:
        raise ConfigError(str(error)) from error


def run_alone(run: RunDir) -> Exit:
    """Train the run of a folder from the configuration that lies in it.

    status.json always tells how it ended, unless the process is killed outright.
    """
    _log_into(run)
    status: dict[str, Any] = {
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "started": time.time(),
    }
    run.write_status({**status, "state": "running", "epoch": 0})
    try:
        train(configuration.load(run.config), run)
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning turns Ctrl-C into exit status 1 and SIGTERM into 0.
        code = Exit.STOPPED if "SIGTERM" in type(error).__name__ else Exit.INTERRUPTED
        end = {"state": "stopped", "cause": code.name.lower()}
    except ConfigError as error:
        log.error("error: %s", error)
        code = Exit.WRONG
        end = {"state": "failed", "cause": "cannot be built", "error": str(error)}
    except Exception as error:
        log.error("%s", error, exc_info=True)
        code = Exit.FAILED
        end = {
            "state": "failed",
            "cause": _cause(error),
            "error": f"{type(error).__name__}: {error}".splitlines()[0],
            "traceback": traceback.format_exc(),
        }
    else:
        code, end = Exit.FINISHED, {"state": "finished"}
    run.write_status({**run.read_status(), **end, "updated": time.time()})
    return code


def _cause(error: Exception) -> str:
    """A word or two for the commonest ways to fail."""
    if type(error).__name__ == "Diverged":
        return "diverged"
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        return "out of memory"
    return "exception"


def _log_into(run: RunDir) -> None:
    """Log into the folder's train.log and onto the screen, where a bar leaves only warnings."""
    run.path.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(run.log)
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    screen = logging.StreamHandler()
    screen.setLevel(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    screen.setFormatter(logging.Formatter(f"[{run.name}] %(message)s"))
    logger = logging.getLogger("alexnet")
    logger.setLevel(logging.INFO)
    logger.handlers = [file, screen]


def _hush_lightning() -> None:
    """Of Lightning, what is wrong; not which devices it sees, nor what it would like to sell."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def _job(composed: DictConfig) -> Exit:
    """One run under a launcher that is not ours (joblib, submitit, Ray), in its worker.

    In a process of its own as under ours, so that nothing leaks into the worker's next run; from
    the configuration that the sweeper wrote, not from what the worker has composed since.
    Raises RuntimeError if the run failed, so that the launcher notes it.
    """
    run = RunDir(Path(HydraConfig.get().runtime.output_dir))
    if run.is_finished:  # by a job that an earlier command had left in the queue
        return Exit.FINISHED
    with hold(run.path):
        code = run_process(run)
    if code in (Exit.FAILED, Exit.WRONG):
        raise RuntimeError(f"the run ended {code.name.lower()}: see {run.log}")
    return code


def main() -> None:
    """The command line; see the module's text."""
    if sys.argv[1:2] == [RUN_FLAG]:
        sys.exit(run_alone(RunDir(Path(sys.argv[2]))))
    # argparse wants -m first or last; here every command is a sweep anyway.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    if len(sys.argv) == 1:
        log.info("the default: one run, offline, under a minute; --help shows the experiments")
    wants_traceback = "HYDRA_FULL_ERROR" in os.environ
    # Hydra would print its errors and exit 1; so it raises them, and we say what to type instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _job()
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        if wants_traceback:
            raise
        known = configuration.sections()
        text = str(error) if isinstance(error, ConfigError) else explain_hydra(error, known)
        sys.exit(_complain(text))
    except FolderInUse as error:
        sys.exit(f"error: {error}")


def _complain(text: str) -> Exit:
    for line in text.splitlines():
        print(f"error: {line}", file=sys.stderr)
    print("See python src/train.py --help", file=sys.stderr)
    return Exit.WRONG


if __name__ == "__main__":
    main()
