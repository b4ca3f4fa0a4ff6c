from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from alexnet.data import CIFAR10, MNIST5k, Synthetic
from alexnet.data.batches import LabelledImages
from alexnet.data.image_module import hold_out


class Recorder(pl.LightningModule):
    """A model that hardly learns and records its inputs."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen = {}  # epoch -> images of each step

    def training_step(self, batch, batch_idx):
        self.seen.setdefault(self.current_epoch, []).append(batch[0])
        return self.layer(torch.ones(1, 1, dtype=batch[0].dtype)).sum()

    def validation_step(self, batch, batch_idx):
        pass

    def test_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def make_trainer(**settings):
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    return pl.Trainer(accelerator="cpu", devices=1, **(quiet | settings))


def small(**settings):
    return Synthetic(**({"num_images": 40, "batch_size": 16, "size": 28} | settings))


def network_input(data, loader):
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def test_held_out_parts_are_disjoint_stratified_and_always_the_same():
    labels = np.random.default_rng(0).permutation(np.arange(1000) % 10)
    train, val, test = hold_out(labels, 100, 50)
    assert sorted([*train, *val, *test]) == list(range(1000))
    assert np.bincount(labels[val]).tolist() == [10] * 10
    assert np.bincount(labels[test]).tolist() == [5] * 10
    assert np.array_equal(hold_out(labels, 100, 50)[1], val)


def test_a_class_too_small_to_hold_out_from_is_named():
    with pytest.raises(ValueError, match="class 1 has 2 images"):
        hold_out(np.array([0] * 10 + [1] * 2), 8)


def test_the_mean_is_that_of_the_training_part_only(cifar_root):
    data = CIFAR10(root=str(cifar_root), verify=False)
    data.setup("fit")
    total, count = np.zeros((3, 32, 32)), 0
    for images, _ in data.train_dataloader():
        for image in images.numpy():
            total += image
            count += 1
    assert count == data.num_train_images == 180
    assert data.mean_image.dtype == torch.float32
    np.testing.assert_allclose(data.mean_image.numpy(), total / count, rtol=1e-6)


def test_the_network_sees_the_difference_from_the_mean():
    data = small(image_size=28)
    data.setup("fit")
    raw = [images for images, _ in data.val_dataloader()]
    for before, (after, _) in zip(raw, network_input(data, data.val_dataloader()), strict=True):
        assert torch.equal(after, before.float() - data.mean_image)


def test_crop24_subtracts_the_central_mean_wherever_the_crop_is():
    data = small(size=32, image_size=24, augmentation="crop24")
    data.setup("fit")
    raw, _ = next(iter(data.train_dataloader()))
    seen, _ = data.on_after_batch_transfer((raw, None), 0)
    assert data.mean_image.shape == (3, 32, 32)
    assert torch.equal(seen, raw.float() - data.mean_image[:, 4:28, 4:28])


@pytest.mark.parametrize("augmentation", ["none", "crop24", "pad4"])
def test_images_are_brought_to_the_input_size_of_the_network(augmentation):
    data = small(image_size=224, augmentation=augmentation)
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        images, labels = network_input(data, loader)[0]
        assert images.shape[1:] == (3, 224, 224)
        assert len(images) == len(labels)
        assert images.dtype == torch.float32


def test_enlarging_keeps_flat_colours():
    data = small(image_size=224)
    data.setup("fit")
    grey = data.mean_image.round().to(torch.uint8)
    data._subtracted = grey.float() - 7
    images, _ = data.on_after_batch_transfer((grey[None], None), 0)
    torch.testing.assert_close(images, torch.full((1, 3, 224, 224), 7.0))


def test_grey_is_repeated_over_three_channels():
    data = MNIST5k(batch_size=8)
    data.setup("fit")
    raw, _ = next(iter(data.train_dataloader()))
    images, _ = data.on_after_batch_transfer((raw, None), 0)
    assert images.shape == (8, 3, 28, 28)
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])
    assert data.mean_image.shape == (3, 28, 28)


def test_epochs_of_a_trainer_differ_and_resume_with_the_batches_they_would_have_had(tmp_path):
    def data():
        return small(augmentation="pad4")

    whole = Recorder()
    make_trainer(max_epochs=3).fit(whole, datamodule=data())
    assert {epoch: len(steps) for epoch, steps in whole.seen.items()} == {0: 3, 1: 3, 2: 3}
    assert not torch.equal(whole.seen[0][0], whole.seen[1][0])

    trainer = make_trainer(max_epochs=1)
    trainer.fit(Recorder(), datamodule=data())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    resumed = Recorder()
    make_trainer(max_epochs=3).fit(resumed, datamodule=data(), ckpt_path=tmp_path / "last.ckpt")
    assert set(resumed.seen) == {1, 2}
    for epoch in (1, 2):
        for batch, other in zip(resumed.seen[epoch], whole.seen[epoch], strict=True):
            assert torch.equal(batch, other)


def test_fit_never_opens_the_test_batch(cifar_root):
    data = CIFAR10(root=str(cifar_root), verify=False)
    test_batch = cifar_root / "cifar-10-batches-py" / "test_batch"
    test_batch.write_bytes(b"would fail to load")
    trainer = make_trainer(max_epochs=1)
    trainer.fit(Recorder(), datamodule=data)
    with pytest.raises(ValueError, match="test_batch is damaged"):
        trainer.test(Recorder(), datamodule=data, verbose=False)


def test_a_start_in_mid_epoch_gives_the_rest_of_it():
    data = small(augmentation="pad4")
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(2)
    rest = list(loader)[1:]
    data.start_at(epoch=2, step=1)
    for (images, labels), (others, other_labels) in zip(data.train_dataloader(), rest, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)


def test_replicas_of_a_strategy_share_the_batches():
    data = small()
    data.setup("fit")
    whole = [labels for _, labels in data.train_dataloader()]
    shares = []
    for rank in range(2):
        data.trainer = SimpleNamespace(
            current_epoch=0, distributed_sampler_kwargs={"num_replicas": 2, "rank": rank}
        )
        shares.append([labels for _, labels in data.train_dataloader()])
    for labels, first, second in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat([first, second]), labels)


def test_images_have_the_precision_of_the_trainer():
    recorder = Recorder()
    make_trainer(max_epochs=1, precision="64-true").fit(recorder, datamodule=small())
    assert recorder.seen[0][0].dtype == torch.float64


def test_overfitting_repeats_the_same_batches():
    recorder = Recorder()
    trainer = make_trainer(max_epochs=2, overfit_batches=1)
    trainer.fit(recorder, datamodule=small(augmentation="pad4"))
    assert torch.equal(recorder.seen[0][0], recorder.seen[1][0])


def test_equal_seeds_give_equal_batches_and_other_seeds_others():
    def first_labels(seed):
        data = small(seed=seed)
        data.setup("fit")
        return next(iter(data.train_dataloader()))[1]

    assert torch.equal(first_labels(3), first_labels(3))
    assert not torch.equal(first_labels(3), first_labels(4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "data.batch_size is 0, must be at least 1"),
        ({"workers": -1}, "data.workers is -1"),
        ({"image_size": 0, "size": 8}, "data.image_size is 0"),
        ({"seed": -1}, "data.seed is -1"),
        ({"num_images": 0}, "data.num_images is 0"),
        ({"augmentation": "crop42"}, "'crop42', must be one of none, crop24, crop224, pad4"),
        ({"augmentation": "crop224", "size": 32}, "needs images of 224 pixels or more.*have 32"),
        ({"crop_block": 0}, "data.crop_block is 0, must be at least 1"),
        ({"color_noise": -0.1}, "data.color_noise is -0.1, must be at least 0"),
        ({"color_noise_scale": "lambda"}, "'lambda', must be one of variance, deviation"),
        ({"color_noise_epochs": -1}, "data.color_noise_epochs is -1"),
        ({"augmentation": "crop24", "size": 16}, "needs images of 24 pixels or more.*have 16"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)


def colored(**settings):
    data = small(**({"color_noise": 0.1} | settings))
    data.setup("fit")
    return data


def test_color_noise_adds_one_color_to_all_pixels_of_an_image():
    data, plain = colored(), colored(color_noise=0.0)
    for batch, (images, _) in zip(data.train_dataloader(), plain.train_dataloader(), strict=True):
        seen, _ = data.on_after_batch_transfer(batch, 0)
        difference = seen - plain.to_input(images)  # (N, 3, h, w)
        torch.testing.assert_close(difference, batch[2][:, :, None, None].expand_as(difference))
        assert len(batch[2].unique(dim=0)) == len(images)


def test_training_images_are_divided_as_in_2012_where_asked_for():
    data, rescaled = colored(), colored(color_noise_rescale=True)
    batch = next(iter(data.train_dataloader()))
    seen, smaller = (each.on_after_batch_transfer(batch, 0)[0] for each in (data, rescaled))
    torch.testing.assert_close(smaller, seen / 1.1)


def test_color_noise_ends_with_the_epoch_that_was_named():
    data = colored(color_noise_epochs=2, color_noise_rescale=True)
    loader = data.train_dataloader()
    for epoch, is_colored in enumerate([True, True, False, False]):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert all((len(batch) == 3) == is_colored for batch in batches)
    images, labels = batches[0]
    seen, _ = data.on_after_batch_transfer((images, labels), 0)
    assert torch.equal(seen, images.float() - data.mean_image)


def test_images_are_evaluated_without_color_noise():
    data = colored()
    data.setup("test")
    for loader in (data.val_dataloader(), data.test_dataloader()):
        assert all(len(batch) == 2 for batch in loader)


def test_colors_do_not_depend_on_the_replica_an_image_falls_to():
    data = colored()
    whole = [colors for _, _, colors in data.train_dataloader()]
    shares = []
    for rank in range(2):
        data.trainer = SimpleNamespace(
            current_epoch=0, distributed_sampler_kwargs={"num_replicas": 2, "rank": rank}
        )
        shares.append([colors for _, _, colors in data.train_dataloader()])
    for colors, first, second in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat([first, second]), colors)


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_trial_on_few_batches_is_evaluated_on_all_classes_whatever_the_order_of_the_images(part):
    data = MNIST5k(batch_size=10)
    data.setup("test")
    store = data._part(part)
    by_class = np.argsort(store.labels, kind="stable")
    data._val = data._test = LabelledImages(store[by_class].images, store.labels[by_class])
    data.trainer = SimpleNamespace(
        limit_val_batches=2, limit_test_batches=2, distributed_sampler_kwargs=None
    )

    loader = data.val_dataloader() if part == "val" else data.test_dataloader()

    labels = torch.cat([labels for _, labels in loader])
    assert sorted(labels.tolist()) == [digit for digit in range(10) for _ in range(2)]


@pytest.mark.parametrize("part", ["val", "test"])
def test_evaluation_sees_every_image_once_less_the_mean_it_is_given(part):
    data = small(size=32, image_size=24, augmentation="crop24")
    data.setup_evaluation(part, torch.full((3, 32, 32), 7.0))
    whole = small(size=32, image_size=24, augmentation="crop24")
    whole.setup("test")
    usual = whole.val_dataloader() if part == "val" else whole.test_dataloader()
    for views, place in ((1, 0), (10, 4)):  # the centre is the fifth of the ten
        loader = data.evaluation_loader(part, views=views)
        for (images, labels), (central, same_labels) in zip(loader, usual, strict=True):
            assert images.shape[1:] == (views, 3, 24, 24)
            assert torch.equal(images[:, place], central)
            assert torch.equal(labels, same_labels)
            assert torch.equal(data.to_input(central), central.float() - 7)


def test_ten_views_of_images_that_are_not_cropped_are_refused():
    data = small()
    data.setup_evaluation("test", torch.zeros(3, 28, 28))
    with pytest.raises(ValueError, match=r"data\.augmentation=none does not crop"):
        data.evaluation_loader("test", views=10)


def test_images_of_another_size_than_the_mean_are_refused():
    with pytest.raises(ValueError, match=r"have 28 x 28 pixels, but .* on 32 x 32"):
        small().setup_evaluation("test", torch.zeros(3, 32, 32))
