"""The W&B workspace of an experiment, built from its file."""

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from alexnet import vocabulary
from alexnet.config.experiment import Experiment
from alexnet.config.schema import ConfigError
from alexnet.paths import install_command

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace


def build_workspace(experiment: Experiment, *, entity: str, project: str) -> "Workspace":
    """Curves by arm, the measure, and a comparison of the runs that have the experiment's tag.

    Runs are grouped by the config key `arm`: workspaces cannot group by W&B's `group`
    (wandb-workspaces#35). Raises ConfigError if the package wandb-workspaces is missing.
    """
    if find_spec("wandb_workspaces") is None:
        raise ConfigError(f"dashboard.py needs wandb-workspaces: {install_command('wandb')}")
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as workspaces
    from wandb_workspaces.expr import And

    by_arm = panels.Config("arm")
    measure = experiment.measure
    metrics = vocabulary.METRICS.values()

    def curve(metric: vocabulary.Metric) -> panels.LinePlot:
        has_line = metric.key == measure.metric and measure.threshold is not None
        return panels.LinePlot(
            title=f"{metric.printed}, mean and range over seeds",
            x="epoch",
            y=[metric.key],
            groupby=by_arm,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            custom_expressions=[str(measure.threshold)] if has_line else None,
        )

    first = sorted(metrics, key=lambda metric: metric.key != measure.metric)
    curves: list[Any] = [curve(metric) for metric in first if metric.stage in ("train", "val")]
    # A test has no epochs, so its last value is its only one.
    is_test = measure.metric.startswith("test/")
    value = measure.metric if is_test else f"best/{measure.metric}"
    bars = panels.BarPlot(title=value, metrics=[value], groupby=by_arm, groupby_aggfunc="mean")
    sections = [
        workspaces.Section(name="Curves", panels=curves, is_open=True),
        workspaces.Section(name="Measure", panels=[bars], is_open=True),
        workspaces.Section(name="Runs", panels=[panels.RunComparer(diff_only=True)]),
    ]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=experiment.name,
        sections=sections,
        settings=workspaces.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=workspaces.RunsetSettings(
            filters=And(workspaces.Tags().isin([experiment.name])),
            groupby=[workspaces.Config("arm")],
        ),
    )


def spec_of(workspace: "Workspace") -> dict[str, Any]:
    """What would be sent to W&B as the workspace's content, without the random ids of panels."""

    def without_ids(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: without_ids(each) for key, each in node.items() if key != "__id__"}
        return [without_ids(each) for each in node] if isinstance(node, list) else node

    spec = workspace._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    plain: dict[str, Any] = without_ids(json.loads(spec))
    return plain
