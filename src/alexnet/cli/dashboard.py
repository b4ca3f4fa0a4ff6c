"""Build the W&B pages of an experiment: `python src/dashboard.py +experiment=NAME --entity NAME`.

The workspace shows the experiment's runs, grouped by arm: curves with bands, the measure, its
threshold, pictures, and what differs between runs. The report page adds the claims, and the tables
and figures that src/sync.py has sent. Both need `wandb login`, and runs of the experiment in the
project.

--sweep-file writes the W&B sweep of a search instead, whose trials are started by W&B agents.

Exit status: 0 done; 1 W&B refused the workspace or the page; 2 the command was wrong.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from omegaconf import OmegaConf

from alexnet.cli._composing import check_files, compose, parse, plan, what_to_type, words_of
from alexnet.config.experiment import Experiment
from alexnet.config.explain import sections
from alexnet.config.schema import ConfigError
from alexnet.files import replacing
from alexnet.paths import outputs_folder

SWEEP_FILE = "wandb_sweep.yaml"


def main(arguments: Sequence[str]) -> int:
    """Build workspace and page and print their addresses, or their JSON; or write a sweep file."""
    parser = argparse.ArgumentParser(
        prog="dashboard.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s +experiment=NAME [key=value ...] [--entity NAME] [--project NAME] "
        "[--group SWEEP] [--dry-run | --sweep-file]",
        allow_abbrev=False,
    )
    parser.add_argument("--entity", default="", help="W&B user or team; needed to build anything")
    parser.add_argument("--project", default="alexnet-lab", help="W&B project (%(default)s)")
    parser.add_argument(
        "--group",
        metavar="EXPERIMENT/FOLDER",
        help="show one sweep only; otherwise arms are averaged over all sweeps of the experiment",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--dry-run", action="store_true", help="print JSON instead; needs no account"
    )
    instead.add_argument(
        "--sweep-file",
        action="store_true",
        help=f"write outputs/NAME/{SWEEP_FILE} for a search; needs no account",
    )
    parsed, words = parser.parse_known_args(arguments)
    if not any(word.startswith("+experiment=") for word in words):
        parser.error("no experiment was given: add +experiment=NAME, such as relu_vs_tanh")
    if not (parsed.entity or parsed.dry_run or parsed.sweep_file):
        parser.error("no entity was given: add --entity NAME, your W&B user or team, or --dry-run")
    try:
        check_files()
        given = parse(words)
        composed = compose(given)
        plain = OmegaConf.to_container(composed.experiment, resolve=True)
        experiment = Experiment.model_validate(plain)
        if parsed.sweep_file:
            from alexnet.sweep.wandb_sweep import sweep_file

            file = outputs_folder(composed.outputs) / experiment.name / SWEEP_FILE
            text = sweep_file(
                experiment,
                partial(plan, given),
                words=words_of(given),
                project=parsed.project,
                file=file,
            )
    except Exception as error:
        if (told := what_to_type(error, sections)) is None:
            raise
        print(told, file=sys.stderr)
        return 2
    if parsed.sweep_file:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as opened:
            opened.write(text)
        print(f"{file}\n\nstart it with\n  wandb sweep {file}")
        return 0
    # With an entity, the JSON needs the number of the project, from W&B's server.
    where = {
        "entity": "" if parsed.dry_run else parsed.entity,
        "project": parsed.project,
        "group": parsed.group,
    }
    return _build(experiment, where, is_dry=parsed.dry_run)


def _build(experiment: Experiment, where: Mapping[str, Any], *, is_dry: bool) -> int:
    from alexnet.run.dashboard import build_report, build_workspace, spec_of

    try:
        workspace = build_workspace(experiment, **where)
        report = build_report(experiment, **where)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if is_dry:
        built = {"workspace": spec_of(workspace), "report": spec_of(report)}
        print(json.dumps(built, indent=1))
        return 0
    for what, saving in (("workspace", workspace), ("report page", report)):
        try:
            print(saving.save().url)
        except Exception as error:  # W&B's client raises many kinds
            print(f"W&B did not accept the {what}: {error}", file=sys.stderr)
            return 1
    return 0
