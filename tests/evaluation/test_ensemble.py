import pytest
import torch
from torch import nn

from alexnet.data import Synthetic
from alexnet.evaluation import Member, predict, predictions
from alexnet.model import CifarNet

CPU = torch.device("cpu")


def linear_net(seed: int, classes: int = 6, pixels: int = 24) -> nn.Module:
    torch.manual_seed(seed)
    layer = nn.Linear(3 * pixels**2, classes)
    nn.init.normal_(layer.weight, std=1e-3)
    return nn.Sequential(nn.Flatten(), layer).eval()


def cropped_data(batch_size: int = 7) -> Synthetic:
    """25 test images of 32 x 32, seen in views of 24 x 24, the last batch not full."""
    data = Synthetic(
        num_images=100, num_classes=6, size=32, augmentation="crop24", image_size=24,
        batch_size=batch_size,
    )  # fmt: skip
    data.setup_evaluation("test", torch.full((3, 32, 32), 120.0))
    return data


def all_of(members: list[Member], data: Synthetic, views: int) -> torch.Tensor:
    loader = data.evaluation_loader("test", views=views)
    return torch.cat([found for found, _ in predictions(members, loader, device=CPU)])


def test_ten_views_are_the_average_of_ten_explicit_slices():
    net, data = linear_net(0), cropped_data()

    found = all_of([Member(net=net, to_input=data.to_input)], data, views=10)

    for image, probabilities in zip(data.load_test().images, found, strict=True):
        total = torch.zeros(6, dtype=torch.float64)
        for top, left in ((0, 0), (0, 8), (8, 0), (8, 8), (4, 4)):
            crop = torch.tensor(image[:, top : top + 24, left : left + 24]) - 120.0
            for view in (crop, crop.flip(-1)):
                total += net(view[None])[0].double().softmax(0)
        torch.testing.assert_close(probabilities, total / 10)


def test_an_ensemble_is_the_weighted_average_of_its_networks():
    data, nets = cropped_data(), [linear_net(1), linear_net(2)]
    members = [
        Member(net=net, to_input=data.to_input, weight=weight)
        for net, weight in zip(nets, (3, 1), strict=True)
    ]

    one, other = (all_of([member], data, views=10) for member in members)

    torch.testing.assert_close(all_of(members, data, views=10), 0.75 * one + 0.25 * other)
    assert not torch.allclose(one, other)


def test_networks_of_an_ensemble_subtract_their_own_means():
    images = torch.randint(256, (4, 1, 3, 24, 24), dtype=torch.uint8)
    net = linear_net(1)
    members = [
        Member(net=net, to_input=lambda views, mean=mean: views.float() - mean)
        for mean in (90, 150)
    ]

    found = predict(members, images)

    parts = [net(images[:, 0].float() - mean).double().softmax(1) for mean in (90, 150)]
    torch.testing.assert_close(found, (parts[0] + parts[1]) / 2)


def test_every_image_comes_once_whatever_the_batches():
    net = linear_net(0)
    by_size = []
    for batch_size in (7, 25, 100):
        data = cropped_data(batch_size)
        by_size.append(all_of([Member(net=net, to_input=data.to_input)], data, views=1))

    assert all(len(found) == 25 for found in by_size)
    for other in by_size[1:]:  # the networks compute in float32
        torch.testing.assert_close(by_size[0], other, rtol=1e-5, atol=1e-6)


def test_outputs_in_another_order_are_put_in_order():
    images = torch.randint(256, (4, 1, 3, 24, 24), dtype=torch.uint8)
    net, order = linear_net(0), [2, 0, 1, 5, 4, 3]

    [plain, ordered] = (
        predict([Member(net=net, to_input=torch.Tensor.float, outputs=outputs)], images)
        for outputs in (None, order)
    )

    assert all(torch.equal(ordered[:, i], plain[:, output]) for i, output in enumerate(order))


def test_a_network_that_has_diverged_is_refused():
    net = CifarNet(image_size=24).eval()
    nn.init.constant_(net.fc4.weight, torch.nan)
    images = torch.zeros(2, 1, 3, 24, 24, dtype=torch.uint8)

    with pytest.raises(ValueError, match="not finite: has the training diverged"):
        predict([Member(net=net, to_input=torch.Tensor.float)], images)
