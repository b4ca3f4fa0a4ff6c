import pytest
import torch
from torch import nn

from alexnet.model.levels import make
from alexnet.model.pooling import AVERAGES, pooled_size

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
    assert torch.equal(make("pooling", pooling, channels=3)(maps), largest)
    averages = make("pooling", pooling, own=AVERAGES, channels=3)
    torch.testing.assert_close(averages(maps), average)


def test_average_pooling_takes_the_mean_over_the_overlapping_windows():
    maps = torch.randn(2, 3, 13, 13, dtype=torch.float64)
    average = pooled_by_hand(maps, 3, lambda window: window.mean(-1))
    for own in ({}, AVERAGES):
        torch.testing.assert_close(make("pooling", "average", own=own, channels=3)(maps), average)


@pytest.mark.parametrize(("pooling", "window"), WINDOWS.items())
def test_pooled_size_counts_the_windows_that_start_inside(pooling, window):
    pool = make("pooling", pooling, channels=1)
    for size in range(2, 60):
        windows = len(range(0, max(1, size - window + 2), 2))
        assert pooled_size(size, pool, channels=1, image_size=224) == windows


def test_pooled_size_is_found_for_a_pooling_that_depends_on_the_channels():
    pool = nn.Conv2d(6, 6, 4, stride=3, groups=6, device="meta")
    assert pooled_size(13, pool, channels=6, image_size=32) == 4


@pytest.mark.parametrize("size", [0, 2])
def test_maps_too_small_for_a_pooling_are_refused_with_the_size_of_the_image(size):
    with pytest.raises(ValueError, match=r"image_size=30 are too small .*MaxPool2d.*: enlarge"):
        pooled_size(size, nn.MaxPool2d(3, 2), channels=1, image_size=30)


@pytest.mark.parametrize("pool", [nn.Flatten(), nn.MaxPool2d((2, 1)), nn.Conv2d(6, 3, 2)])
def test_a_pooling_that_does_not_return_as_many_square_maps_is_refused(pool):
    with pytest.raises(ValueError, match="must return the same number of square maps"):
        pooled_size(8, pool.to("meta"), channels=6, image_size=32)


def test_an_unknown_pooling_is_refused_with_the_names_that_exist():
    with pytest.raises(ValueError, match=r"unknown pooling 'none': .* overlapping, non_over"):
        make("pooling", "none", channels=1)
