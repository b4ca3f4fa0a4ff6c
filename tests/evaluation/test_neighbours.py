import numpy as np
import pytest
import torch

from alexnet.evaluation import last_hidden, last_hidden_layer, nearest, spread
from alexnet.model import AlexNet, CifarNet


def test_the_features_of_alexnet_are_those_of_fc7_after_its_nonlinearity():
    net = AlexNet(
        7, channels=(12, 16, 20, 20, 16), hidden=(24, 24), image_size=64, init="he"
    ).eval()
    images = 64 * torch.randn(3, 3, 64, 64)
    seen = {}
    net.fc7.register_forward_hook(lambda _, inputs, output: seen.update(fc7=output))

    features = last_hidden(net, images)

    # Dropout as printed: in evaluation outputs are multiplied by the probability of being kept.
    assert torch.equal(features, 0.5 * torch.relu(seen["fc7"]))
    assert features.shape == (3, 24)
    assert last_hidden_layer(net) == "fc7"


def test_any_network_has_features():
    assert last_hidden(CifarNet(image_size=32).eval(), torch.randn(2, 3, 32, 32)).shape == (2, 1024)


@pytest.mark.parametrize("batch", [1, 4, 40])
def test_the_nearest_of_batches_are_the_nearest_of_all(batch: int):
    random = torch.Generator().manual_seed(0)
    queries, vectors = (torch.randn(n, 8, generator=random) for n in (3, 33))

    distances, numbers = nearest(queries, vectors.split(batch), count=5)

    for query, its_distances, its_numbers in zip(queries, distances, numbers, strict=True):
        by_hand = [float(((query - vector) ** 2).sum().sqrt()) for vector in vectors]
        assert its_numbers.tolist() == sorted(range(33), key=lambda i: by_hand[i])[:5]
        assert its_distances.tolist() == pytest.approx(sorted(by_hand)[:5])


def test_fewer_vectors_than_asked_for_are_all_there():
    distances, numbers = nearest(torch.zeros(2, 8), [torch.ones(3, 8)], count=5)

    assert distances.shape == numbers.shape == (2, 3)


def test_rows_are_spread_evenly_and_none_comes_twice():
    assert spread(4, np.arange(10)).tolist() == [0, 2, 5, 7]
    assert spread(20, np.arange(10)).tolist() == list(range(10))
