"""An HTML file in which trained networks run, without a server and without downloads."""

from alexnet.export.live.job import LiveRun, chosen_runs, write_live

__all__ = ["LiveRun", "chosen_runs", "write_live"]
