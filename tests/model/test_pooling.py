import pytest
import torch

from alexnet.model.pooling import make_average_pool, make_max_pool, pooled_size

WINDOWS = {"overlapping": 3, "non_overlapping": 2}  # section 3.4; both 2 pixels apart


def pooled_by_hand(maps, window, reduce):
    starts = range(0, maps.shape[-1] - window + 2, 2)  # until the last pixel is covered
    rows = [
        [reduce(maps[..., y : y + window, x : x + window].flatten(-2)) for x in starts]
        for y in starts
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


@pytest.mark.parametrize("pooling", WINDOWS)
@pytest.mark.parametrize("size", [4, 5, 6, 7, 13])
def test_a_window_over_the_edge_takes_the_pixels_inside(pooling, size):
    maps = torch.randn(2, 3, size, size, dtype=torch.float64)
    largest = pooled_by_hand(maps, WINDOWS[pooling], lambda window: window.amax(-1))
    average = pooled_by_hand(maps, WINDOWS[pooling], lambda window: window.mean(-1))
    assert torch.equal(make_max_pool(pooling)(maps), largest)
    torch.testing.assert_close(make_average_pool(pooling)(maps), average)


@pytest.mark.parametrize("pooling", WINDOWS)
def test_pooled_size_is_the_size_after_pooling(pooling):
    for size in range(2, 60):
        pooled = make_max_pool(pooling)(torch.empty(1, 1, size, size, device="meta"))
        assert pooled.shape[-1] == pooled_size(size, pooling)


def test_an_unknown_pooling_is_refused_with_the_names_there_are():
    for make in (make_max_pool, make_average_pool):
        with pytest.raises(ValueError, match=r"unknown pooling 'none': .* overlapping, non_over"):
            make("none")
