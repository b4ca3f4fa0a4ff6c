from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from alexnet.data import batches
from alexnet.data.augmentation import Augmenter
from alexnet.data.batches import Batches, EpochSampler, LabelledImages, Share, make_loader

COUNT = 50  # four batches of 16, the last one has 2


def make_batches(kind="crop24", seed=0, batch_size=16, share=Share()):  # noqa: B008
    images = np.random.default_rng(0).integers(256, size=(COUNT, 3, 32, 32), dtype=np.uint8)
    data = LabelledImages(images, np.arange(COUNT))  # labels that tell images apart
    augmenter = Augmenter(kind, images.mean(0))
    return Batches(data, augmenter, batch_size=batch_size, seed=seed, share=share)


def assert_equal(batch, other):
    assert all(torch.equal(a, b) for a, b in zip(batch, other, strict=True))


def test_an_epoch_has_every_image_once_and_keeps_the_small_last_batch():
    labels = [labels for _, labels in make_loader(make_batches(), workers=0)]
    assert [len(batch) for batch in labels] == [16, 16, 16, 2]
    assert sorted(torch.cat(labels).tolist()) == list(range(COUNT))


def test_a_batch_is_a_function_of_seed_epoch_and_step():
    epoch, step = 3, 2
    first, second = make_batches(), make_batches()
    for number in (0, 17, 5):  # whatever was asked for before
        second[number]
    number = epoch * len(first) + step
    assert_equal(first[number], second[number])


def test_epochs_steps_and_seeds_differ():
    batches = make_batches()
    assert not torch.equal(batches[0][1], batches[len(batches)][1])
    assert not torch.equal(batches[0][1], make_batches(seed=1)[0][1])


def test_an_image_is_seen_differently_in_every_epoch_and_step_and_with_every_seed():
    image = np.random.default_rng(0).integers(256, size=(1, 3, 32, 32), dtype=np.uint8)
    data = LabelledImages(np.repeat(image, COUNT, axis=0), np.zeros(COUNT, np.int64))

    def seen(number: int, seed: int) -> bytes:
        augmenter = Augmenter("crop24", image[0].astype(float))
        batches = Batches(data, augmenter, batch_size=25, seed=seed, share=Share())
        return batches[number][0].numpy().tobytes()

    # Batches 0 and 1 are of the first epoch, 2 is the first of the second.
    views = [seen(0, 0), seen(1, 0), seen(2, 0), seen(0, 1)]
    assert len(set(views)) == 4


def test_batches_do_not_depend_on_the_global_generators():
    first = make_batches()[5]
    torch.manual_seed(1)
    np.random.seed(1)
    assert_equal(make_batches()[5], first)


def test_loading_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    list(make_loader(make_batches(), workers=0))
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_do_not_depend_on_the_number_of_workers():
    alone, two = (make_loader(make_batches(), workers=workers) for workers in (0, 2))
    for epoch in range(2):
        alone.sampler.set_epoch(epoch)
        two.sampler.set_epoch(epoch)
        for batch, other in zip(alone, two, strict=True):
            assert_equal(batch, other)


def test_evaluation_goes_through_the_images_in_order_in_the_central_view():
    batches = make_batches(seed=None)
    images, labels = map(torch.cat, zip(*make_loader(batches, workers=0), strict=True))
    assert labels.tolist() == list(range(COUNT))
    assert torch.equal(images, torch.from_numpy(batches.data.images[:, :, 4:28, 4:28]))


@pytest.mark.parametrize("num_replicas", [2, 3])
def test_replicas_share_the_global_batch(num_replicas):
    whole = make_batches(batch_size=10)
    shares = [
        make_batches(batch_size=10, share=Share(i, num_replicas)) for i in range(num_replicas)
    ]
    for number in range(2 * len(whole)):
        parts = [share[number] for share in shares]
        assert_equal([torch.cat(part) for part in zip(*parts, strict=True)], whole[number])


def test_a_batch_with_no_image_for_some_replica_is_refused():
    with pytest.raises(ValueError, match="leave a batch of 2, too small for 3 replicas"):
        make_batches(share=Share(0, 3))


def test_a_loader_can_start_in_the_middle_of_an_epoch_and_goes_on_with_whole_ones():
    batches = make_batches()
    sampler = EpochSampler(batches, first_batch=1 * len(batches) + 2)
    assert list(sampler) == [6, 7]  # also before Lightning has named the epoch
    sampler.set_epoch(1)
    assert list(sampler) == [6, 7]
    sampler.set_epoch(2)
    assert list(sampler) == [8, 9, 10, 11]
    assert len(sampler) == 4


def test_shared_memory_that_is_too_small_is_refused_with_the_size_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    room = SimpleNamespace(free=64_000_000)  # the default of Docker
    monkeypatch.setattr(batches, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(batches, "disk_usage", lambda folder: room)
    batch = 128 * 3 * 256 * 256

    with pytest.raises(ValueError, match=r"needs 126 MB of shared memory .* 64 MB free.*size=1g"):
        batches.check_shared_memory(batch, workers=2)

    batches.check_shared_memory(batch, workers=0)
    batches.check_shared_memory(batch // 4, workers=2)


def test_a_worker_that_gives_nothing_is_not_waited_for_without_end():
    loader = make_loader(make_batches(), workers=1)

    assert 60 <= loader.timeout <= 600
