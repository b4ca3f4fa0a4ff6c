"""The W&B workspace and report page of an experiment, built from its file."""

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from alexnet import vocabulary
from alexnet.config.experiment import Experiment
from alexnet.config.schema import ConfigError
from alexnet.paths import install_command
from alexnet.results import wording
from alexnet.run.wandb_runs import PICTURES

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

_LONGEST_TITLE = 128


def build_workspace(
    experiment: Experiment, *, entity: str, project: str, group: str | None = None
) -> "Workspace":
    """Build a workspace with curves by arm, the measure, pictures, and a comparison of runs.

    The runs are those of all sweeps of the experiment, or with `group` those of one sweep,
    <experiment>/<folder>. They are grouped by the config key `arm`, because workspaces cannot group
    by W&B's `group` (wandb-workspaces#35). Raises ConfigError if the package wandb-workspaces is
    missing.
    """
    _refuse_missing_package()
    import wandb_workspaces.workspaces as workspaces

    sections = [
        workspaces.Section(name="Curves", panels=_curves(experiment), is_open=True),
        workspaces.Section(name="Measure", panels=[_bars(experiment)], is_open=True),
        workspaces.Section(name="Pictures", panels=_pictures()),
        workspaces.Section(name="Runs", panels=[_comparer()]),
    ]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=experiment.name,
        sections=sections,
        settings=workspaces.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=workspaces.RunsetSettings(
            filters=_runs_of(experiment, group, "train"),
            groupby=[workspaces.Config("arm")],
        ),
    )


def build_report(
    experiment: Experiment, *, entity: str, project: str, group: str | None = None
) -> "Report":
    """Build a page with the claims, the panels of the workspace, and the answer of the report.

    With an entity, its JSON needs a server, because W&B refers to projects by number. Raises
    ConfigError if the package wandb-workspaces is missing.
    """
    _refuse_missing_package()
    import wandb_workspaces.reports.v2 as reports

    def grid(panels: list[Any], job_type: str = "train") -> Any:
        runs = reports.Runset(
            entity=entity,
            project=project,
            name=experiment.name,
            filters=_runs_of(experiment, group, job_type),
            groupby=["config.arm"] if job_type == "train" else [],
        )
        return reports.PanelGrid(runsets=[runs], panels=panels)

    names = ["arms_and_effects", "learning_curves", "validation_curves", "search"]
    answer = [
        *(reports.WeavePanelSummaryTable(table_name=f"tables/{n}") for n in ("arms", "effects")),
        reports.MediaBrowser(title="figures", media_keys=[f"figures/{name}" for name in names]),
    ]
    section = f" (section {experiment.section})" if experiment.section else ""
    return reports.Report(
        entity=entity,
        project=project,
        title=f"{experiment.name}{section}"[:_LONGEST_TITLE],
        description=wording.name_of_measure(experiment.measure),
        width="fluid",
        blocks=[
            *(
                reports.MarkdownBlock(
                    text=f"> {' '.join(each.text.split())} ({wording.WHOSE[each.by]})"
                )
                for each in experiment.claims
            ),
            reports.H2(text="Answer"),
            reports.P(text="Tables and figures of the sweep's own report, written by src/sync.py."),
            grid(answer, "report"),
            reports.H2(text="Measure"),
            grid([_bars(experiment)]),
            reports.H2(text="Curves"),
            grid(_curves(experiment)),
            reports.H2(text="Pictures"),
            grid(_pictures()),
            reports.H2(text="Runs"),
            grid([_comparer()]),
        ],
    )


def spec_of(built: "Workspace | Report") -> dict[str, Any]:
    """Return the content that would be sent to W&B, without random ids of panels and run sets."""

    def without_ids(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: without_ids(each) for k, each in node.items() if k not in ("__id__", "id")}
        return [without_ids(each) for each in node] if isinstance(node, list) else node

    spec = built._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    plain: dict[str, Any] = without_ids(json.loads(spec))
    return plain


def _refuse_missing_package() -> None:
    if find_spec("wandb_workspaces") is None:
        raise ConfigError(f"dashboard.py needs wandb-workspaces: {install_command('wandb')}")


def _runs_of(experiment: Experiment, group: str | None, job_type: str) -> Any:
    from wandb_workspaces.expr import And, Metric, Tags

    of_group = [Metric("Group") == group] if group else []
    return And(Tags().isin([experiment.name]), Metric("JobType") == job_type, *of_group)


def _curves(experiment: Experiment) -> list[Any]:
    """Build a plot for every metric of training and validation, the measured one first."""
    import wandb_workspaces.reports.v2 as panels

    measure = experiment.measure

    def curve(metric: vocabulary.Metric) -> Any:
        has_line = metric.key == measure.metric and measure.threshold is not None
        return panels.LinePlot(
            title=f"{metric.printed}, mean and range over seeds",
            x="epoch",
            y=[metric.key],
            groupby=panels.Config("arm"),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            custom_expressions=[str(measure.threshold)] if has_line else None,
        )

    metrics = vocabulary.METRICS.values()
    first = sorted(metrics, key=lambda metric: metric.key != measure.metric)
    return [curve(metric) for metric in first if metric.stage in ("train", "val")]


def _bars(experiment: Experiment) -> Any:
    """Build bars of the summary value `measure`, which finished runs have."""
    import wandb_workspaces.reports.v2 as panels

    return panels.BarPlot(
        title=f"{wording.name_of_measure(experiment.measure)}, mean and range over seeds",
        metrics=["measure"],
        groupby=panels.Config("arm"),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def _pictures() -> list[Any]:
    import wandb_workspaces.reports.v2 as panels

    return [
        panels.MediaBrowser(
            title="kernels of the first convolution",
            media_keys=[f"{PICTURES}/kernels"],
            gallery_axis="step",
        ),
        panels.MediaBrowser(title="test images", media_keys=[f"{PICTURES}/figure_4_left"]),
        panels.MediaBrowser(title="confusion", media_keys=[f"{PICTURES}/confusion"]),
    ]


def _comparer() -> Any:
    import wandb_workspaces.reports.v2 as panels

    return panels.RunComparer(diff_only=True)
