import contextlib
import ctypes
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.fabric.utilities.distributed import (
    _distributed_is_initialized,
    _get_default_process_group_backend_for_device,
    _init_dist_connection,
    _sync_ddp_if_available,
)
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.strategies import ParallelStrategy, StrategyRegistry
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning.pytorch.utilities.data import extract_batch_size
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torchmetrics import Metric
from typing_extensions import override

from alexnet.learning.columns.exchange import (
    Exchange,
    JoinActivities,
    JoinLogits,
    Traffic,
    padded_to,
)
from alexnet.learning.columns.layout import Layout, by
from alexnet.model import AlexNet, BatchNorm, Dropout, crossing_sizes, keep_column, rows_of

log = logging.getLogger(__name__)

_COLUMNS, _REPLICAS = "columns", "replicas"
_M_MMAP_THRESHOLD = -3  # malloc.h


class ColumnParallelStrategy(ParallelStrategy):
    """One process for each column of the network (section 3.2), and replicas of all columns.

    Every process keeps `chunk(columns, 0)[column]` of every parameter of the AlexNet in the module,
    of the running statistics of batch normalization and of the optimizer's state. At the inputs of
    the network's `crossings` the columns' activities are joined (all-gather), and in the backward
    pass each column receives the sum of all columns' gradients of its own activities
    (reduce-scatter). The logits are joined for the softmax. Every column computes the gradient of
    the softmax itself and uses its slice. Parameters and their gradients are never exchanged.

    With more processes than columns, there are replicas of the network: process r * columns + c is
    column c of replica r. Replicas divide the batch, and gradients are averaged over them, weighted
    by their numbers of rows. Metrics and the statistics of BatchNorm are synchronized over replicas
    only, so that every sample counts once. `columns=1` is data parallelism, for any network.

    Checkpoints have the layout of one process: whole tensors, gathered and written by rank 0. All
    processes must build the same module from the same seed. After `fit` the module of a process is
    still one column.

    Gradients may be accumulated over several batches. Each process then adds up its own, weighting
    every batch by its share of the rows, and they are summed over replicas once, before the step.

    With several columns, a process knows only a part of the gradient. Gradient clipping by the
    Trainer and 16-mixed (whose scaler skips steps in each process separately) therefore raise
    MisconfigurationException, as do a module without an AlexNet or with one that cannot be divided,
    and a number of processes that is not a multiple of columns. A checkpoint of another network
    raises ValueError.
    """

    strategy_name = "column_parallel"

    def __init__(self, columns: int = 2, *, timeout: timedelta = timedelta(minutes=30)) -> None:
        super().__init__()
        if columns < 1:
            raise MisconfigurationException(f"columns must be at least 1, but is {columns}")
        self.columns = columns
        self.timeout = timeout
        self.num_nodes = 1
        self.traffic = Traffic()
        self._layout_is_told = False
        self._mesh: DeviceMesh | None = None
        self._whole: dict[str, torch.Size] = {}  # whole shapes of divided tensors, by name
        self._layout: Layout | None = None
        self._share = 1.0  # this replica's share of the rows of the global batch

    # Processes and their ranks.

    @property
    @override
    def root_device(self) -> torch.device:
        assert self.parallel_devices is not None
        return self.parallel_devices[self.local_rank]

    @property
    def mesh(self) -> DeviceMesh:
        """The mesh of replicas x columns, once the processes are connected."""
        assert self._mesh is not None, "the processes are not connected yet"
        return self._mesh

    @property
    def column(self) -> int:
        """The column of this process."""
        return self.mesh.get_local_rank(_COLUMNS)

    @property
    def num_replicas(self) -> int:
        """Number of replicas, which divide the batch."""
        return self.mesh[_REPLICAS].size()

    @property
    @override
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        return {"num_replicas": self.num_replicas, "rank": self.mesh.get_local_rank(_REPLICAS)}

    def set_world_ranks(self) -> None:
        """Called by Lightning when it knows the devices."""
        assert self.cluster_environment is not None
        assert self.parallel_devices is not None
        here = len(self.parallel_devices)
        self.cluster_environment.set_global_rank(self.node_rank * here + self.local_rank)
        self.cluster_environment.set_world_size(self.num_nodes * here)
        rank_zero_only.rank = self.global_rank  # type: ignore[attr-defined]

    @override
    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        assert self.parallel_devices is not None
        here = len(self.parallel_devices)
        if self.num_nodes * here % self.columns:
            raise MisconfigurationException(
                f"{self.num_nodes * here} processes cannot be divided into groups of "
                f"{self.columns} columns: set trainer.devices to a multiple of {self.columns}"
            )
        self.cluster_environment.validate_settings(num_devices=here, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            # A plain script is run again for every process. Our runs have already started theirs.
            self._launcher = _SubprocessScriptLauncher(
                self.cluster_environment, here, self.num_nodes
            )

    @override
    def setup_environment(self) -> None:
        super().setup_environment()
        self.set_world_ranks()
        assert self.cluster_environment is not None
        device = self.root_device
        backend = _get_default_process_group_backend_for_device(device)
        is_cuda = device.type == "cuda"
        if not is_cuda:
            _return_freed_memory()
        _init_dist_connection(
            self.cluster_environment,
            backend,
            timeout=self.timeout,
            device_id=device if is_cuda else None,
        )
        # Lightning keeps an existing group, whatever its size.
        assert dist.get_world_size() == self.world_size, "an earlier job left its process group"
        if self._mesh is None:
            shape = (self.world_size // self.columns, self.columns)
            self._mesh = init_device_mesh(device.type, shape, mesh_dim_names=(_REPLICAS, _COLUMNS))

    # The module.

    @override
    def setup(self, trainer: pl.Trainer) -> None:
        if self.columns > 1:
            _refuse_what_needs_whole_gradients(trainer)
        assert self.lightning_module is not None
        if self.columns > 1 and not self._whole:
            self._divide(*_alexnet_in(self.lightning_module), precision=trainer.precision)
        replicas = self.mesh.get_group(_REPLICAS)
        unsynchronized = set[str]()
        for module in self.lightning_module.modules():
            if isinstance(module, Metric | BatchNorm):
                module.process_group = replicas
            elif self.num_replicas > 1 and isinstance(module, _BatchNorm):
                unsynchronized.add(type(module).__name__)
        if unsynchronized and self.is_global_zero:
            log.warning(
                "the statistics of %s are computed separately on each replica's part of the batch, "
                "so the number of devices changes the results: use alexnet.model.BatchNorm",
                ", ".join(sorted(unsynchronized)),
            )
        super().setup(trainer)

    def _divide(self, name: str, net: AlexNet, *, precision: str) -> None:
        exchange = Exchange(
            self.mesh.get_group(_COLUMNS), self.columns, self.column, traffic=self.traffic
        )
        sizes = crossing_sizes(net)
        try:
            whole = keep_column(net, self.column, self.columns)
        except ValueError as error:
            raise MisconfigurationException(str(error)) from error
        classes = whole["fc8.bias"].numel()
        for crossing in net.crossings:
            net.get_submodule(crossing).register_forward_pre_hook(
                lambda _, activities: JoinActivities.apply(*activities, exchange)
            )
        net.register_forward_hook(lambda _, __, logits: JoinLogits.apply(logits, exchange, classes))
        self._whole = {f"{name}.{key}" if name else key: shape for key, shape in whole.items()}
        self._layout = Layout(
            columns=self.columns,
            replicas=self.num_replicas,
            parameters={name: whole[name] for name, _ in net.named_parameters()},
            crossings=sizes,
            classes=classes,
            bytes_per_activity=int(precision.split("-")[0].strip("bf")) // 8,
        )

    @override
    def model_to_device(self) -> None:
        assert self.model is not None
        self.model.to(self.root_device)

    # A step.

    @override
    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        rows = extract_batch_size(args[0])
        self._find_share(rows)
        if self._layout and not self._layout_is_told and self.is_global_zero:
            log.info("%s", self._layout.describe(rows))
        self._layout_is_told = True
        with self.traffic.counted(rows):
            return super().training_step(*args, **kwargs)

    def _find_share(self, rows: int) -> None:
        """Find the place of this replica's rows in the batch, for gradients and dropout."""
        if self.num_replicas == 1:
            return
        counts = torch.zeros(self.num_replicas, dtype=torch.long, device=self.root_device)
        mine = self.mesh.get_local_rank(_REPLICAS)
        counts[mine] = rows
        dist.all_reduce(counts, group=self.mesh.get_group(_REPLICAS))
        self._share = rows / int(counts.sum())
        assert self.lightning_module is not None
        for module in self.lightning_module.modules():
            if isinstance(module, Dropout):
                module.first_row = int(counts[:mine].sum())

    @override
    def backward(self, closure_loss: Tensor, optimizer: Any, *args: Any, **kwargs: Any) -> Tensor:
        if self._accumulates:
            closure_loss = closure_loss * self._share
        with self.traffic.counted(0):
            return super().backward(closure_loss, optimizer, *args, **kwargs)

    @override
    def post_backward(self, closure_loss: Tensor) -> None:
        """Average the gradients over the replicas, weighted by their rows."""
        assert self.lightning_module is not None
        trainer = self.lightning_module.trainer
        if self.num_replicas == 1 or trainer.fit_loop._should_accumulate():
            return
        group = self.mesh.get_group(_REPLICAS)
        gradients = [p.grad for p in self.lightning_module.parameters() if p.grad is not None]
        if not self._accumulates:
            for gradient in gradients:
                gradient.mul_(self._share)
        works = [dist.all_reduce(gradient, group=group, async_op=True) for gradient in gradients]
        for work in works:
            work.wait()

    @property
    def _accumulates(self) -> bool:
        """Whether gradients of several batches, with different shares, are accumulated."""
        assert self.lightning_module is not None
        trainer = self.lightning_module.trainer
        return self.num_replicas > 1 and trainer.accumulate_grad_batches > 1

    # Checkpoints.

    @override
    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the whole network on rank 0, and the local parts on other ranks."""
        state = super().lightning_module_state_dict()
        return {name: self._join(part, self._whole.get(name)) for name, part in state.items()}

    @override
    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the optimizer's whole state on rank 0, and the local parts on other ranks."""
        return self._each_of_rows(optimizer, super().optimizer_state(optimizer), self._join)

    @override
    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Load this column's rows of a whole network."""
        state = checkpoint["state_dict"]
        assert self.lightning_module is not None
        for name, tensor in self.lightning_module.state_dict().items():
            shape = self._whole.get(name, tensor.shape)
            if name in state and state[name].shape != shape:
                raise ValueError(
                    f"the checkpoint is from another network: {name} is {by(state[name].shape)} "
                    f"there and {by(shape)} here"
                )
        mine = {name: self._part(tensor, self._whole.get(name)) for name, tensor in state.items()}
        super().load_model_state_dict({**checkpoint, "state_dict": mine}, strict=strict)

    @override
    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Load this column's rows of the whole state of each optimizer."""
        mine = [
            self._each_of_rows(optimizer, state, self._part)
            for optimizer, state in zip(
                self.optimizers, checkpoint["optimizer_states"], strict=True
            )
        ]
        super().load_optimizer_state_dict({**checkpoint, "optimizer_states": mine})

    def _each_of_rows(
        self,
        optimizer: Optimizer,
        state: Mapping[str, Any],
        change: Callable[[Tensor, torch.Size | None], Tensor],
    ) -> dict[str, Any]:
        """Join or divide the parts of an optimizer's state that have the shape of a parameter."""
        shapes = self._whole_shapes(optimizer)
        changed = {
            number: {
                key: change(value, shapes[number]) if _is_of_rows(value) else value
                for key, value in values.items()
            }
            for number, values in state["state"].items()
        }
        return {**state, "state": changed}

    def _whole_shapes(self, optimizer: Optimizer) -> list[torch.Size | None]:
        """Return the whole shapes of the optimizer's parameters; None if not divided."""
        assert self.lightning_module is not None
        names = {id(weight): name for name, weight in self.lightning_module.named_parameters()}
        return [
            self._whole.get(names[id(weight)])
            for group in optimizer.param_groups
            for weight in group["params"]
        ]

    def _part(self, tensor: Tensor, whole: torch.Size | None) -> Tensor:
        return tensor if whole is None else tensor[rows_of(self.column, self.columns, whole[0])]

    def _join(self, part: Tensor, whole: torch.Size | None) -> Tensor:
        """Return the whole tensor on rank 0, on the CPU, and the part on other ranks."""
        if whole is None or self.global_rank >= self.columns:  # all replicas have the same
            return part
        padded = padded_to(part.contiguous(), whole[0], self.columns)
        parts = [torch.empty_like(padded) for _ in range(self.columns if self.column == 0 else 0)]
        dist.gather(padded, parts or None, group=self.mesh.get_group(_COLUMNS), group_dst=0)
        return torch.cat(parts)[: whole[0]].cpu() if parts else part

    # Methods that Lightning requires of every parallel strategy.

    @override
    def barrier(self, name: str | None = None) -> None:
        if _distributed_is_initialized():
            is_cuda = self.root_device.type == "cuda"
            dist.barrier(device_ids=[self.root_device.index] if is_cuda else None)

    @override
    def broadcast(self, obj: Any, src: int = 0) -> Any:
        if not _distributed_is_initialized():
            return obj
        objects = [obj]
        dist.broadcast_object_list(objects, src)
        return objects[0]

    @override
    def reduce(self, tensor: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        if isinstance(tensor, Tensor):
            return _sync_ddp_if_available(tensor, group, reduce_op=reduce_op)
        return tensor

    def measured(self) -> dict[str, Any] | None:
        """Return the bytes that this column has sent in training, and those predicted."""
        if self._layout is None:
            return None
        images = self.traffic.images
        return {
            "columns": self.columns,
            "replicas": self.num_replicas,
            "images_per_column": images,
            "bytes_sent_per_column": self.traffic.bytes,
            "bytes_sent_in_theory": self._layout.bytes_sent(images),
        }


def _return_freed_memory() -> None:
    """Make glibc return freed blocks of 4 MB and more to the system.

    By default it soon keeps blocks below 32 MB, which is half the activities of AlexNet: a column
    would then take 0.8 times the memory of both columns in one process, instead of half.
    """
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 4 * 2**20)


def _is_of_rows(value: Any) -> bool:
    """Whether a value of an optimizer's state has the shape of a parameter, unlike a count."""
    return isinstance(value, Tensor) and value.dim() > 0


def _alexnet_in(module: nn.Module) -> tuple[str, AlexNet]:
    """Find the network to divide, with its name in the module."""
    for name, part in module.named_modules():
        if isinstance(part, AlexNet):
            return name, part
    raise MisconfigurationException(
        f"{type(module).__name__} has no network with columns: ColumnParallelStrategy needs an "
        "AlexNet, or columns=1 for data parallelism"
    )


def _refuse_what_needs_whole_gradients(trainer: pl.Trainer) -> None:
    reasons = {
        "gradient_clip_val": bool(trainer.gradient_clip_val),
        "precision=16-mixed": trainer.precision == "16-mixed",
    }
    if wrong := [name for name, is_asked_for in reasons.items() if is_asked_for]:
        raise MisconfigurationException(
            f"ColumnParallelStrategy does not support {', '.join(wrong)} with several columns, "
            "because each process has only a part of the gradient. Train on one device or in "
            "replicas (trainer.strategy=auto), without clipping, or in bf16-mixed"
        )


StrategyRegistry.register(
    ColumnParallelStrategy.strategy_name,
    ColumnParallelStrategy,
    description="One process for each of two columns of an AlexNet",
)
