"""Build the W&B workspace of an experiment: `python src/dashboard.py +experiment=NAME`.

The workspace shows the experiment's runs, grouped by arm: curves with bands, the measure, its
threshold, and what differs between runs. It needs `wandb login` and runs logged with logger=wandb.

Exit status: 0 done; 1 W&B refused the workspace; 2 the command was wrong.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from omegaconf import OmegaConf

from alexnet.cli._composing import check_files, compose, parse, what_to_type
from alexnet.config.experiment import Experiment
from alexnet.config.explain import sections
from alexnet.config.schema import ConfigError


def main(arguments: Sequence[str]) -> int:
    """Build the workspace and print its address, or its JSON."""
    parser = argparse.ArgumentParser(
        prog="dashboard.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s +experiment=NAME [key=value ...] [--entity NAME] [--project NAME] "
        "[--dry-run]",
        allow_abbrev=False,
    )
    parser.add_argument("--entity", default="", help="W&B user or team; needed unless --dry-run")
    parser.add_argument("--project", default="alexnet-lab", help="W&B project (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print the JSON; needs no account")
    parsed, words = parser.parse_known_args(arguments)
    if not any(word.startswith("+experiment=") for word in words):
        parser.error("no experiment was given: add +experiment=NAME, such as relu_vs_tanh")
    if not (parsed.entity or parsed.dry_run):
        parser.error("no entity was given: add --entity NAME, your W&B user or team, or --dry-run")
    try:
        check_files()
        composed = compose(parse(words))
        plain = OmegaConf.to_container(composed.experiment, resolve=True)
        experiment = Experiment.model_validate(plain)
    except Exception as error:
        if (text := what_to_type(error, sections)) is None:
            raise
        print(text, file=sys.stderr)
        return 2
    from alexnet.run.dashboard import build_workspace, spec_of

    try:
        workspace = build_workspace(experiment, entity=parsed.entity, project=parsed.project)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if parsed.dry_run:
        print(json.dumps(spec_of(workspace), indent=1))
        return 0
    try:
        print(workspace.save().url)
    except Exception as error:  # W&B's client raises many kinds
        print(f"W&B did not accept the workspace: {error}", file=sys.stderr)
        return 1
    return 0
