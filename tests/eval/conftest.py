"""Small data sets and checkpoints for the commands of eval/."""

import numpy as np
import pytest
from PIL import Image

from datasets.cityscapes import TRAIN_TO_LABEL_ID
from models import save_checkpoint

SOIL_CROP_WEED = ["soil", "crop", "weed"]
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def draw(seed, size, classes):
    """Return an image (H, W, 3) and a blocky label (H, W) with a void border."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    blocks = random.integers(0, classes, (-(-size[0] // 8), -(-size[1] // 8)), dtype=np.uint8)
    label = blocks.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]
    label[:2] = 255
    return image, label


def write_png(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def voc_root(tmp_path):
    """Three classes in VOC layout: four images of two sizes in `val`."""
    root = tmp_path / "fields"
    names = [f"field{index}" for index in range(4)]
    for index, name in enumerate(names):
        image, label = draw(index, (48, 64) if index % 2 else (40, 40), 3)
        write_png(root / "JPEGImages" / f"{name}.png", image)
        write_png(root / "SegmentationClass" / f"{name}.png", label)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.fixture
def acdc_root(tmp_path):
    """One image a condition; labels of rain and snow are train ids, the others label ids."""
    root = tmp_path / "acdc"
    lookup = np.zeros(256, np.uint8)
    lookup[: len(TRAIN_TO_LABEL_ID)] = TRAIN_TO_LABEL_ID
    for index, condition in enumerate(("fog", "night", "rain", "snow")):
        image, label = draw(index, (32, 48), 19)
        stem = f"{condition}_000"
        write_png(root / "rgb_anon" / condition / "val" / "GP" / f"{stem}_rgb_anon.png", image)
        kind = "labelTrainIds" if condition in ("rain", "snow") else "labelIds"
        ids = label if kind == "labelTrainIds" else lookup[label]
        write_png(root / "gt" / condition / "val" / "GP" / f"{stem}_gt_{kind}.png", ids)
    return root


@pytest.fixture
def write_checkpoint(build_tiny, tmp_path):
    """`write_checkpoint(**info)`: a checkpoint of a tiny network; returns (path, network)."""

    def write(name="best.pth", num_classes=3, extra=None, **info):
        described = {
            "classes": SOIL_CROP_WEED if num_classes == 3 else None,
            "dataset": "VOC",
            "preprocessing": IMAGENET | {"image_size": 64, "protocol": "standard"},
            "method": None,
            "args": {"stage": "student"},
        } | info
        model = build_tiny(num_classes=num_classes).eval()
        save_checkpoint(tmp_path / name, model, described, **(extra or {}))
        return tmp_path / name, model

    return write
