"""Small photographs, and folders of them in the layouts in which ImageNet is distributed."""

import io
import tarfile
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from alexnet.preparation import Request, prepare

CLASSES = ("n01440764", "n01443537", "n02119789")


def photograph(seed: int, size: tuple[int, int] = (48, 36)) -> Image.Image:
    """A photograph of smooth random colours; size is (width, height)."""
    cells = np.random.default_rng(seed).integers(256, size=(4, 4, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    """The photograph as the content of a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def images(per_class: int, classes: tuple[str, ...] = CLASSES) -> dict[str, dict[str, bytes]]:
    """Photographs by class and file name, all different."""
    return {
        name: {f"{name}_{i}.JPEG": encode(photograph(1000 * label + i)) for i in range(per_class)}
        for label, name in enumerate(classes)
    }


def validation_images() -> dict[str, tuple[str, bytes]]:
    """Class and content by file name."""
    return {
        f"ILSVRC2012_val_{i:08}.JPEG": (CLASSES[i * 7 // 2 % 3], encode(photograph(5000 + i)))
        for i in range(1, 7)
    }


def write(path: Path, content: bytes | str) -> None:
    """Write a file and create the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def tar(members: dict[str, bytes]) -> bytes:
    """Files as the content of a tar file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def devkit() -> tuple[bytes, str]:
    """meta.mat as ILSVRC made it, numbers not in the order of WNIDs, and the ground truth."""
    kinds = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O"), ("num_children", "f8")]
    rows = [
        (1, CLASSES[2], "kit fox, Vulpes macrotis", 0),
        (2, CLASSES[0], "tench, Tinca tinca", 0),
        (3, CLASSES[1], "goldfish, Carassius auratus", 0),
        (4, "n00001740", "entity", 3),
    ]
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": np.array(rows, kinds).reshape(-1, 1)})
    number = {row[1]: row[0] for row in rows}
    truth = "".join(f"{number[label]}\n" for label, _ in validation_images().values())
    return file.getvalue(), truth


def class_folders(root: Path, per_class: int = 12) -> Path:
    """train/WNID/*.JPEG and val/WNID/*.JPEG."""
    for name, files in images(per_class).items():
        for file, content in files.items():
            write(root / "train" / name / file, content)
    for file, (label, content) in validation_images().items():
        write(root / "val" / label / file, content)
    return root


def flat_val_and_devkit(root: Path) -> Path:
    """val/*.JPEG, and the devkit as an unpacked folder."""
    class_folders(root)
    for folder in (root / "val").iterdir():
        for file in folder.iterdir():
            file.rename(root / "val" / file.name)
        folder.rmdir()
    meta, truth = devkit()
    data = root / "ILSVRC2012_devkit_t12" / "data"
    write(data / "meta.mat", meta)
    write(data / "ILSVRC2012_validation_ground_truth.txt", truth)
    return root


def tar_files(root: Path) -> Path:
    """The three files of ILSVRC-2012 as they are downloaded."""
    inner = {f"{name}.tar": tar(files) for name, files in images(12).items()}
    write(root / "ILSVRC2012_img_train.tar", tar(inner))
    flat = {file: content for file, (_, content) in validation_images().items()}
    write(root / "ILSVRC2012_img_val.tar", tar(flat))
    meta, truth = devkit()
    folder = "ILSVRC2012_devkit_t12/data"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in (
            ("meta.mat", meta),
            ("ILSVRC2012_validation_ground_truth.txt", truth.encode()),
        ):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    write(root / "ILSVRC2012_devkit_t12.tar.gz", packed.getvalue())
    return root


def kaggle(root: Path) -> Path:
    """Kaggle's layout: the class is the first word of the second field."""
    class_folders(root / "ILSVRC" / "Data" / "CLS-LOC")
    val = root / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    rows = ["ImageId,PredictionString"]
    for file, (label, _) in validation_images().items():
        (val / label / file).rename(val / file)
        rows.append(f"{Path(file).stem},{label} 85 1 499 272 {label} 1 2 3 4 ")
    for name in CLASSES:
        (val / name).rmdir()
    write(root / "LOC_val_solution.csv", "\n".join(rows))
    write(
        root / "LOC_synset_mapping.txt",
        "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n"
        "n02119789 kit fox, Vulpes macrotis\n",
    )
    return root


def tiny_imagenet(root: Path) -> Path:
    """train/WNID/images, val/images with val_annotations.txt, words.txt."""
    for name, files in images(12).items():
        for file, content in files.items():
            write(root / "train" / name / "images" / file, content)
        write(root / "train" / name / f"{name}_boxes.txt", "boxes")
    rows = []
    for file, (label, content) in validation_images().items():
        write(root / "val" / "images" / file, content)
        rows.append(f"{file}\t{label}\t0\t32\t44\t62")
    write(root / "val" / "val_annotations.txt", "\n".join(rows) + "\n")
    write(
        root / "words.txt",
        "n00001740\tentity\nn01440764\ttench, Tinca tinca\nn01443537\tgoldfish, Carassius auratus\n"
        "n02119789\tkit fox, Vulpes macrotis\n",
    )
    return root


def tar_of_each_class(root: Path) -> Path:
    """train/WNID.tar, as ImageNet distributes single classes; class folders for the test."""
    class_folders(root)
    for name, files in images(12).items():
        for file in files:
            (root / "train" / name / file).unlink()
        (root / "train" / name).rmdir()
        write(root / "train" / f"{name}.tar", tar({f"./{file}": files[file] for file in files}))
    return root


def prepare_shards(source: Path, dest: Path) -> Path:
    """Images that prepare.py prepared from class folders, with 16 images in a shard."""
    prepare(Request(source=source, dest=dest, workers=1, shard_images=16), lambda *_: None)
    return dest


LAYOUTS = (class_folders, flat_val_and_devkit, tar_files, kaggle, tiny_imagenet, tar_of_each_class)
