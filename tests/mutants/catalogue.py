"""Bugs known from other re-implementations, each as one textual change of the source."""

from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One bug: in `file`, `old` stands exactly once and becomes `new`.

    `source` says where the bug was seen. Of `tests`, below tests/ and named as for pytest, one must
    fail.
    """

    name: str
    source: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, project: Path) -> str:
        """The file's text with the bug. Raises ValueError if `old` is not there exactly once."""
        text = (project / self.file).read_text()
        if (found := text.count(self.old)) != 1:
            raise ValueError(
                f"mutant {self.name}: its pattern stands {found} times in {self.file}, must stand "
                "there once: the code has moved, bring tests/mutants/catalogue.py up to date"
            )
        return text.replace(self.old, self.new)


_MODEL = "src/alexnet/model/"
_LEARNING = "src/alexnet/learning/"
_DATA = "src/alexnet/data/"
_EVALUATION = "src/alexnet/evaluation/"

_ALEXNET = ("model/test_alexnet.py",)
_IMAGES = ("data/test_image_module.py",)
_VIEWS = ("data/test_augmentation.py",)
_BATCHES = ("data/test_batches.py",)
_COLUMNS = (
    "learning/test_column_strategy.py"
    "::test_two_columns_have_the_logits_and_gradients_of_one_process_for_all_networks",
)

MUTANTS = (
    # 3: the network
    Mutant(
        name="LRN sees across the column boundary",
        source="Caffe bvlc_alexnet: one call over all channels leaks at 4 of them",
        file=_MODEL + "local_response_norm.py",
        old="return _normalized(activities, self.columns, self.size,",
        new="return _normalized(activities, 1, self.size,",
        tests=("model/test_local_response_norm.py",),
    ),
    Mutant(
        name="LRN's alpha is divided by its size",
        source="torch.nn.LocalResponseNorm with the printed 1e-4",
        file=_MODEL + "local_response_norm.py",
        old="alpha = self.alpha / self.size if self.alpha_is_divided_by_size else self.alpha",
        new="alpha = self.alpha / self.size",
        tests=("model/test_local_response_norm.py",),
    ),
    Mutant(
        name="LRN's k is 1",
        source="default of Caffe and PyTorch",
        file=_MODEL + "alexnet.py",
        old="            k=lrn_k,",
        new="            k=1.0,",
        tests=_ALEXNET,
    ),
    Mutant(
        name="LRN's window is 4 or 6 wide",
        source="Keras ports: depth_radius n instead of n // 2",
        file=_MODEL + "alexnet.py",
        old="            size=lrn_size,",
        new="            size=2 * lrn_size + 1,",
        tests=_ALEXNET,
    ),
    Mutant(
        name="pooling comes before LRN",
        source="CaffeNet (bvlc_reference_caffenet)",
        file=_MODEL + "alexnet.py",
        old='x = self.pool1(self.norm1(f["conv1"](x)))',
        new='x = self.norm1(self.pool1(f["conv1"](x)))',
        tests=_ALEXNET,
    ),
    Mutant(
        name="LRN before the ReLU in the printed network",
        source="the program of 2012 did so; copied into networks that claim to be as printed",
        file=_MODEL + "alexnet.py",
        old='x = self.pool1(self.norm1(f["conv1"](x)))',
        new='x = self.pool1(f["conv1"](self.norm1(x)))',
        tests=_ALEXNET,
    ),
    Mutant(
        name="conv4 sees both columns",
        source="torchvision: no groups, 62.4 million parameters",
        file=_MODEL + "alexnet.py",
        old='padding=1, groups=groups("conv4"))',
        new="padding=1)",
        tests=_ALEXNET,
    ),
    Mutant(
        name="columns meet in the fully connected layers only",
        source="summaries of the paper: GPUs communicate only in the last layers",
        file=_MODEL + "alexnet.py",
        old='return (*middle[:1], *sixth, "fc6", "fc7", "fc8")',
        new='return (*sixth, "fc6", "fc7", "fc8")',
        tests=_ALEXNET,
    ),
    Mutant(
        name="the image is padded at the left and the top",
        source="ports from convolutions with other padding; torchvision pads all sides by 2",
        file=_MODEL + "alexnet.py",
        old="(0, self.overhang, 0, self.overhang)",
        new="(self.overhang, 0, self.overhang, 0)",
        tests=_ALEXNET,
    ),
    Mutant(
        name="biases of 0.1 instead of 1",
        source="Caffe bvlc_alexnet",
        file=_MODEL + "alexnet.py",
        old='("conv2", "conv4", "conv5", "conv6", "fc6", "fc7"), 1.0)',
        new='("conv2", "conv4", "conv5", "conv6", "fc6", "fc7"), 0.1)',
        tests=_ALEXNET,
    ),
    Mutant(
        name="initial weights with variance 0.01",
        source="a deviation taken for a variance",
        file=_MODEL + "initialization.py",
        old="weight.normal_(0, std, generator=generator)",
        new="weight.normal_(0, math.sqrt(std), generator=generator)",
        tests=_ALEXNET,
    ),
    Mutant(
        name="half of conv5 in the one-GPU control",
        source="re-tellings of section 3.2 halve every layer",
        file="conf/model/alexnet_control.yaml",
        old="channels: [48, 128, 192, 192, 256]",
        new="channels: [48, 128, 192, 192, 128]",
        tests=(
            "config/test_config.py::test_a_shipped_network_has_the_parameters_that_its_file_tells",
        ),
    ),
    Mutant(
        name="the network ends in a softmax",
        source="Keras ports trained with a loss that takes logits: softmax twice",
        file=_MODEL + "alexnet.py",
        old="return self.fc8(self.fully_connected(self.convolutional(images)))",
        new="return self.fc8(self.fully_connected(self.convolutional(images))).softmax(1)",
        tests=_ALEXNET,
    ),
    Mutant(
        name="pooling drops the pixels over the edge",
        source="PyTorch's default, ceil_mode=False",
        file=_MODEL + "pooling.py",
        old="return nn.MaxPool2d(3, _STRIDE, ceil_mode=True)",
        new="return nn.MaxPool2d(3, _STRIDE)",
        tests=("model/test_pooling.py", "model/test_cifar_net.py"),
    ),
    Mutant(
        name="overlapping pooling does not overlap",
        source="MaxPool2d(2, 2) in small re-implementations",
        file=_MODEL + "pooling.py",
        old="return nn.MaxPool2d(3, _STRIDE, ceil_mode=True)",
        new="return nn.MaxPool2d(2, _STRIDE, ceil_mode=True)",
        tests=("model/test_pooling.py", "model/test_cifar_net.py"),
    ),
    Mutant(
        name="CifarNet's LRN has five times the alpha",
        source="cuda-convnet's files read without layer.py, which divides scale by size",
        file=_MODEL + "cifar_layers.py",
        old="alpha=1e-3, k=1.0, alpha_is_divided_by_size=True)",
        new="alpha=1e-3, k=1.0)",
        tests=("model/test_cifar_net.py",),
    ),
    # 4: against overfitting
    Mutant(
        name="activities are not halved in the test",
        source="non-inverted dropout without its second half",
        file=_MODEL + "dropout.py",
        old="return activities if self.is_inverted else activities * (1 - self.p)",
        new="return activities",
        tests=("model/test_dropout.py",),
    ),
    Mutant(
        name="dropout is active in the test",
        source="evaluation without net.eval()",
        file=_MODEL + "dropout.py",
        old="        if not self.training:",
        new="        if False:",
        tests=("model/test_dropout.py",),
    ),
    Mutant(
        name="dropout before fc6",
        source="torchvision",
        file=_MODEL + "alexnet.py",
        old='x = self.dropout6(f["fc6"](self.fc6(x)))',
        new='x = f["fc6"](self.fc6(self.dropout6(x)))',
        tests=_ALEXNET,
    ),
    Mutant(
        name="images are never reflected",
        source="re-implementations: training data without flips",
        file=_DATA + "augmentation.py",
        old="            if reflected:\n",
        new="            if False:\n",
        tests=_VIEWS,
    ),
    Mutant(
        name="images are turned upside down",
        source="a flip of the wrong axis after a change from NHWC to NCHW",
        file=_DATA + "augmentation.py",
        old="zip(view, image[..., ::-1], strict=True)",
        new="zip(view, image[..., ::-1, :], strict=True)",
        tests=_VIEWS,
    ),
    Mutant(
        name="the last position of a crop is never drawn",
        source="randint(0, 256 - 224): 2048 places, as the paper counts, of 2178",
        file=_DATA + "augmentation.py",
        old="self.known.shape[-2] - height + 1, self.known.shape[-1] - width + 1)",
        new="self.known.shape[-2] - height, self.known.shape[-1] - width)",
        tests=_VIEWS,
    ),
    Mutant(
        name="colours by the eigenvalue of pixels in 0..255",
        source="section 4.1 word by word: colours differ by 1,500 levels",
        file=_DATA + "augmentation.py",
        old='"variance": components.eigenvalues / 255,',
        new='"variance": components.eigenvalues,',
        tests=_VIEWS,
    ),
    Mutant(
        name="colours along the rows of the eigenvectors",
        source="components of eigh taken as rows",
        file=_DATA + "augmentation.py",
        old="self._colors = (coefficient * scales[scale] * components.eigenvectors).T",
        new="self._colors = coefficient * scales[scale] * components.eigenvectors",
        tests=_VIEWS,
    ),
    Mutant(
        name="the same views in every epoch",
        source="NumPy's generator in workers of torch, seeded alike in every epoch",
        file=_DATA + "batches.py",
        old="np.random.default_rng((_VIEWS, self.seed, epoch, step))",
        new="np.random.default_rng((_VIEWS, self.seed, 0, step))",
        tests=_BATCHES,
    ),
    Mutant(
        name="five of the ten views twice",
        source="ten-crop code without the reflections",
        file=_DATA + "augmentation.py",
        old="return np.stack([*views, *(view[..., ::-1] for view in views)], axis=1)",
        new="return np.stack([*views, *views], axis=1)",
        tests=_VIEWS,
    ),
    Mutant(
        name="logits are averaged over views",
        source="ten-crop code of other frameworks; the program of 2012 averaged probabilities",
        file=_EVALUATION + "ensemble.py",
        old="""found = member.net(member.to_input(view)).double().softmax(1)
            if member.outputs is not None:
                found = found[:, list(member.outputs)]
            average = average + found * (member.weight / total / len(views))
""",
        new="""found = member.net(member.to_input(view)).double()
            if member.outputs is not None:
                found = found[:, list(member.outputs)]
            average = average + found * (member.weight / total / len(views))
    average = average.softmax(1)
""",
        tests=("evaluation/test_ensemble.py",),
    ),
    # 2: the data
    Mutant(
        name="images are BGR",
        source="OpenCV and Caffe's channel order",
        file=_DATA + "cifar10.py",
        old="images.reshape(-1, 3, _PIXELS, _PIXELS),",
        new="images.reshape(-1, 3, _PIXELS, _PIXELS)[:, ::-1],",
        tests=("data/test_data_sets.py", "data/test_image_module.py"),
    ),
    Mutant(
        name="the mean of the test set",
        source="statistics measured over all images that there are",
        file=_DATA + "image_module.py",
        old="return sum(parts, start=next(parts)) / self.num_train_images",
        new="return self.load_test()[np.arange(10)].images.mean(axis=0)",
        tests=_IMAGES,
    ),
    Mutant(
        name="one mean per channel",
        source="torchvision's transforms",
        file=_DATA + "image_module.py",
        old="rgb_mean = np.broadcast_to(mean, (3, *mean.shape[1:]))",
        new="rgb_mean = np.broadcast_to(mean.mean((1, 2), keepdims=True), (3, *mean.shape[1:]))",
        tests=_IMAGES,
    ),
    Mutant(
        name="pixels are 0 to 1",
        source="ToTensor, with LRN's constants for 0 to 255",
        file=_DATA + "image_module.py",
        old="images = images.float() - self._subtracted.to(images.device)",
        new="images = (images.float() - self._subtracted.to(images.device)) / 255",
        tests=_IMAGES,
    ),
    Mutant(
        name="evaluation sees random views",
        source="the training transform used for all parts",
        file=_DATA + "image_module.py",
        old="return make_loader(self._batches(data, seed=None), workers=self.workers)",
        new="return make_loader(self._batches(data, seed=self.seed), workers=self.workers)",
        tests=_IMAGES,
    ),
    Mutant(
        name="every epoch in the same order",
        source="DistributedSampler without set_epoch",
        file=_DATA + "batches.py",
        old="np.random.default_rng((_ORDER, self.seed, epoch))",
        new="np.random.default_rng((_ORDER, self.seed))",
        tests=_BATCHES,
    ),
    Mutant(
        name="the last, smaller batch is left out",
        source="drop_last in evaluation",
        file=_DATA + "batches.py",
        old="return -(-len(self.data) // self.batch_size)",
        new="return len(self.data) // self.batch_size",
        tests=_BATCHES,
    ),
    Mutant(
        name="the test set is the validation set",
        source="re-implementations: the test set chooses the checkpoint",
        file=_DATA + "cifar10.py",
        old="return data[train], data[val]",
        new="return data[train], self.load_test()",
        tests=_IMAGES,
    ),
    # 5: learning
    Mutant(
        name="softmax before cross-entropy",
        source="re-implementations in several frameworks",
        file=_LEARNING + "task.py",
        old="loss = self.loss(logits, labels)",
        new="loss = self.loss(logits.softmax(1), labels)",
        tests=("learning/test_task.py", "learning/test_metrics.py", "learning/test_recording.py"),
    ),
    Mutant(
        name="the rate is outside the velocity",
        source="torch.optim.SGD",
        file=_LEARNING + "optimizer.py",
        old="""v.mul_(momentum).add_(w, alpha=-decay * lr).add_(g, alpha=-lr)
                    w.add_(v)""",
        new="""v.mul_(momentum).add_(w, alpha=-decay).add_(g, alpha=-1)
                    w.add_(v, alpha=lr)""",
        tests=("learning/test_optimizer.py",),
    ),
    Mutant(
        name="weight decay without the rate",
        source="decoupled decay (AdamW) with the paper's 0.0005",
        file=_LEARNING + "optimizer.py",
        old=".add_(w, alpha=-decay * lr)",
        new=".add_(w, alpha=-decay)",
        tests=("learning/test_optimizer.py",),
    ),
    Mutant(
        name="biases decay",
        source="PyTorch's default: one group for all parameters",
        file=_LEARNING + "optimizer.py",
        old="rate, decay = lr * bias_lr_factor, bias_weight_decay",
        new="rate, decay = lr * bias_lr_factor, weight_decay",
        tests=("learning/test_optimizer.py",),
    ),
    Mutant(
        name="biases have the rate of the weights",
        source="PyTorch's default: one group for all parameters",
        file=_LEARNING + "optimizer.py",
        old="rate, decay = lr * bias_lr_factor, bias_weight_decay",
        new="rate, decay = lr, bias_weight_decay",
        tests=("learning/test_optimizer.py",),
    ),
    Mutant(
        name="a frozen layer decays and coasts on",
        source="a rate of 0 in an optimizer that does not skip it",
        file=_LEARNING + "optimizer.py",
        old="""                if lr == 0:
                    self.state.pop(weight, None)
                    continue
""",
        new="",
        tests=("learning/test_optimizer.py",),
    ),
    Mutant(
        name="rates are divided by 3",
        source="reduced three times read as by a factor of 3",
        file=_LEARNING + "schedule.py",
        old='mode="min", factor=0.1,',
        new='mode="min", factor=1 / 3,',
        tests=("learning/test_task.py",),
    ),
    Mutant(
        name="the rate falls while the validation error falls",
        source="ReduceLROnPlateau with mode=max, made for an accuracy",
        file=_LEARNING + "schedule.py",
        old='optimizer, mode="min",',
        new='optimizer, mode="max",',
        tests=("learning/test_task.py",),
    ),
    Mutant(
        name="losses are averaged over batches",
        source="averages of averages, the last batch counting as a whole one",
        file=_LEARNING + "metrics.py",
        old="""self.sum += loss * count
        self.total += count""",
        new="""self.sum += loss
        self.total += 1""",
        tests=("learning/test_task.py", "learning/test_metrics.py"),
    ),
    Mutant(
        name="best.ckpt is the last one",
        source="checkpoint callbacks that monitor nothing",
        file=_LEARNING + "recording.py",
        old="is_best = error < at.best_error",
        new="is_best = True",
        tests=("learning/test_recording.py",),
    ),
    # 3.2: the columns
    Mutant(
        name="the second column is zero",
        source="re-implementations: an all-zero second column",
        file=_MODEL + "columns.py",
        old="tensor.data = tensor.data[rows_of(column, columns, len(tensor))].clone()",
        new="tensor.data = tensor.data[rows_of(column, columns, len(tensor))] * (column == 0)",
        tests=("model/test_columns.py", *_COLUMNS),
    ),
    Mutant(
        name="gradients do not reach the other column",
        source="re-implementations: activities exchanged without autograd",
        file=_LEARNING + "columns/exchange.py",
        old="return ctx.exchange.reduce_scatter(*gradients), None",
        new="return gradients[0].chunk(ctx.exchange.columns, 1)[ctx.exchange.column], None",
        tests=_COLUMNS,
    ),
    Mutant(
        name="both columns drop the same units",
        source="processes with the same seed",
        file=_MODEL + "dropout.py",
        old="(column * width, width))",
        new="(0, width))",
        tests=("model/test_dropout.py",),
    ),
)
