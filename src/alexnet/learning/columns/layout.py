from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from alexnet.model import rows_of


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What each column stores and sends, predicted from the whole network."""

    columns: int
    replicas: int
    parameters: Mapping[str, torch.Size]
    crossings: Mapping[str, int]
    classes: int
    bytes_per_activity: int

    def bytes_sent(self, images: int) -> int:
        """Predict the bytes that a column sends: activities and logits forward, gradients back."""
        logits = -(-self.classes // self.columns)
        activities = 2 * sum(self.crossings.values()) // self.columns + logits
        return images * activities * (self.columns - 1) * self.bytes_per_activity

    def describe(self, images: int) -> str:
        """Describe each layer in a line, and the totals for steps with this number of images."""
        replicas = "1 replica" if self.replicas == 1 else f"{self.replicas} replicas"
        lines = [f"{self.columns} columns x {replicas}. Part of each layer in a column:"]
        kept = 0
        for name, shape in self.parameters.items():
            rows = rows_of(0, self.columns, shape[0])
            kept += (rows.stop - rows.start) * shape[1:].numel()
            layer, _, kind = name.rpartition(".")
            if kind == "weight":
                part = f"{rows.stop - rows.start} of {shape[0]} features"
                line = f"  {layer:<6} {part:<22} weight {by((rows.stop, *shape[1:]))}"
                if layer in self.crossings:
                    each = self.crossings[layer] // self.columns
                    line = f"{line:<58} joins {self.columns} x {each:,} activities per image"
                lines.append(line.rstrip())
        total = sum(shape.numel() for shape in self.parameters.values())
        lines += [
            f"  logits joined for the softmax: {self.classes}",
            f"  parameters: {kept:,} of {total:,}",
            f"  bytes sent by each column per step of {images} images: {self.bytes_sent(images):,}",
        ]
        return "\n".join(lines)


def by(shape: Any) -> str:
    """Format a shape: 256 x 48 x 5 x 5."""
    return " x ".join(map(str, shape))
