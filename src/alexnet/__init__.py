"""ImageNet Classification with Deep Convolutional Neural Networks (2012), as experiments.

The packages follow the paper: data is section 2, model section 3, learning section 5, results
section 6. `alexnet.load(RUN_FOLDER)` returns a trained network.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from alexnet.evaluation.loading import load as load

_LAZY = {"load": "alexnet.evaluation.loading"}


def __getattr__(name: str) -> Any:
    """Import names that need torch and Lightning, which takes seconds, on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
