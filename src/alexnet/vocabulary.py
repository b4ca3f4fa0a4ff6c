"""The vocabulary: what can be varied, and what is measured. Standard library only."""

from typing import Literal

Nonlinearity = Literal["relu", "tanh", "sigmoid"]
"""Section 3.1. ReLU does not saturate for positive input; tanh and sigmoid saturate."""

Normalization = Literal["lrn", "none"]
"""Section 3.3."""

Pooling = Literal["overlapping", "non_overlapping"]
"""Section 3.4: windows of 3 with stride 2, or windows of 2 with stride 2."""

Initialization = Literal["paper", "source_2012", "he"]
"""Initial weights: as printed (section 5), as in the 2012 program, or scaled to the fan-in."""

MiddleLayer = Literal["conv3", "conv4", "conv5"]
"""Section 7: those that can be removed."""

# Metrics are named stage/name. An error is a fraction between 0 and 1, counted over samples.
TRAIN_LOSS = "train/loss"
TRAIN_ERROR = "train/error"
VAL_LOSS = "val/loss"
VAL_ERROR = "val/error"
VAL_ERROR_TOP5 = "val/error_top5"
TEST_LOSS = "test/loss"
TEST_ERROR = "test/error"
TEST_ERROR_TOP5 = "test/error_top5"
