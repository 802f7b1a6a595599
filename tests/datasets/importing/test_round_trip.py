"""One scene written in every format becomes the same labels.

Masks are encoded by the tools' own libraries: pycocotools, which also reads COCO's files again,
cvat-sdk and label-studio-converter. What is around them is written here by the schemas that the
tools publish.
"""

import base64
import io
import json

import numpy as np
import pytest
import yaml
from cvat_sdk.masks import encode_mask
from label_studio_converter.brush import mask2rle
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

HEIGHT, WIDTH = SIZE = (24, 32)
NAMES = list("abcdefghij")
CLASSES = ("background", "crop", "weed")


def draw(seed: int) -> np.ndarray:
    """A label of blobs of crop and weed."""
    random = np.random.default_rng(seed)
    return np.kron(random.integers(0, 3, (6, 8)), np.ones((4, 4), int)).astype(np.uint8)


def boxes(seed: int) -> list[tuple[int, int, int, int, int]]:
    """Rectangles that do not touch each other: id, left, top, right, bottom, in whole px."""
    random = np.random.default_rng(seed)
    found = []
    for place, (column, row) in enumerate((c, r) for c in range(4) for r in range(3)):
        left, top = 8 * column + random.integers(0, 3), 8 * row + random.integers(0, 3)
        width, height = random.integers(2, 6, 2)
        found.append((1 + place % 2, *map(int, (left, top, left + width, top + height))))
    return found


def paint(rectangles) -> np.ndarray:
    label = np.zeros(SIZE, np.uint8)
    for index, left, top, right, bottom in rectangles:
        label[top:bottom, left:right] = index
    return label


def corners(rectangle) -> list[list[float]]:
    _, left, top, right, bottom = rectangle
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


# Each writer takes a folder and, by image, either rectangles or a label map.


def coco(folder, scenes):
    annotations = []
    for image, scene in enumerate(scenes.values(), 1):
        if isinstance(scene, np.ndarray):
            for index in (1, 2):
                rle = coco_mask.encode(np.asfortranarray(scene == index))
                rle["counts"] = rle["counts"].decode()
                annotations.append((image, index, rle))
        else:
            annotations += [(image, each[0], [sum(corners(each), [])]) for each in scene]
    content = {
        "images": [
            {"id": i, "file_name": f"{name}.jpg", "height": HEIGHT, "width": WIDTH}
            for i, name in enumerate(scenes, 1)
        ],
        "categories": [{"id": i, "name": CLASSES[i]} for i in (1, 2)],
        "annotations": [
            {"id": i, "image_id": image, "category_id": index, "iscrowd": 0, "segmentation": shape}
            for i, (image, index, shape) in enumerate(annotations, 1)
        ],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    read = COCO(str(path))  # the library of the format agrees
    first = [read.annToMask(each) * each["category_id"] for each in read.imgToAnns[1]]
    (scene, *_) = scenes.values()
    expected = scene if isinstance(scene, np.ndarray) else paint(scene)
    assert np.array_equal(np.max(first, axis=0), expected)


def cvat(folder, scenes):
    images = []
    for number, (name, scene) in enumerate(scenes.items()):
        shapes = ""
        if isinstance(scene, np.ndarray):
            for index in (1, 2):
                *runs, left, top, right, bottom = encode_mask(scene == index)
                shapes += (
                    f'<mask label="{CLASSES[index]}" rle="{", ".join(map(str, runs))}" '
                    f'left="{left}" top="{top}" width="{right - left + 1}" '
                    f'height="{bottom - top + 1}" z_order="0"/>'
                )
        else:
            for each in scene:
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in corners(each))
                shapes += f'<polygon label="{CLASSES[each[0]]}" points="{points}" z_order="0"/>'
        images.append(
            f'<image id="{number}" name="{name}.jpg" width="{WIDTH}" height="{HEIGHT}">{shapes}'
            "</image>"
        )
    labels = "".join(f"<label><name>{name}</name></label>" for name in CLASSES[1:])
    (folder / "annotations.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><job>'
        f"<labels>{labels}</labels></job></meta>{''.join(images)}</annotations>"
    )


def labelme(folder, scenes):
    for name, scene in scenes.items():
        shapes = []
        if isinstance(scene, np.ndarray):
            for index in (1, 2):
                data = io.BytesIO()
                Image.fromarray((scene == index).astype(np.uint8) * 255).save(data, format="PNG")
                shapes.append(
                    {
                        "label": CLASSES[index],
                        "shape_type": "mask",
                        "points": [[0, 0], [WIDTH - 1, HEIGHT - 1]],
                        "mask": base64.b64encode(data.getvalue()).decode(),
                    }
                )
        else:
            shapes = [
                {"label": CLASSES[each[0]], "shape_type": "polygon", "points": corners(each)}
                for each in scene
            ]
        content = {
            "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{name}.jpg",
            "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH,
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(content))


def label_studio(folder, scenes):
    def region(kind, index, **value):
        return {
            "type": kind, "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0,
            "value": value | {kind: [CLASSES[index]]},
        }  # fmt: skip

    tasks = []
    for number, (name, scene) in enumerate(scenes.items(), 1):
        if isinstance(scene, np.ndarray):
            results = []
            for index in (1, 2):
                packed = mask2rle((scene == index).astype(np.uint8) * 255)
                results.append(region("brushlabels", index, format="rle", rle=packed))
        else:
            results = [
                region(
                    "polygonlabels",
                    each[0],
                    points=[[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in corners(each)],
                )
                for each in scene
            ]
        annotation = {"id": number, "was_cancelled": False, "result": results}
        data = {"image": f"/data/upload/1/0123abcd-{name}.jpg"}
        tasks.append({"id": number, "data": data, "annotations": [annotation]})
    (folder / "project.json").write_text(json.dumps(tasks))


def yolo(folder, scenes):
    (folder / "labels").mkdir()
    for name, scene in scenes.items():
        lines = [
            " ".join([str(each[0] - 1), *(f"{x / WIDTH} {y / HEIGHT}" for x, y in corners(each))])
            for each in scene
        ]
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": list(CLASSES[1:])}))


def masks(folder, scenes):
    """CVAT's `Segmentation mask 1.1`: colours, and a table of them."""
    table = np.array([[0, 0, 0], [51, 221, 255], [250, 50, 83]], np.uint8)
    (folder / "SegmentationClass").mkdir()
    for name, scene in scenes.items():
        Image.fromarray(table[scene]).save(folder / "SegmentationClass" / f"{name}.png")
    lines = [
        f"{name}:{','.join(map(str, colour))}::"
        for name, colour in zip(CLASSES, table.tolist(), strict=True)
    ]
    (folder / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines))


IMAGES = {labelme: ".", masks: "JPEGImages"}


CASES = [
    *((write, draw, np.copy) for write in (coco, cvat, labelme, label_studio, masks)),
    *((write, boxes, paint) for write in (coco, cvat, labelme, label_studio, yolo)),
]


@pytest.mark.parametrize(("write", "make", "expect"), CASES, ids=lambda function: function.__name__)
def test_what_was_written_is_read(export, photographs, bring, labels_of, write, make, expect):
    scenes = {name: make(seed) for seed, name in enumerate(NAMES)}
    photographs(export / IMAGES.get(write, "images"))
    write(export, scenes)
    data = bring()
    assert data["train"].classes == CLASSES
    labels = labels_of(data)
    assert labels.keys() == scenes.keys()
    assert all(np.array_equal(labels[name], expect(scene)) for name, scene in scenes.items())
