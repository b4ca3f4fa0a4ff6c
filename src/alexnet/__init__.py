"""ImageNet Classification with Deep Convolutional Neural Networks (2012), as experiments.

The packages follow the paper: data is section 2, model section 3, learning section 5, results
section 6.
"""

__version__ = "0.2.0"
