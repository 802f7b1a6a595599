"""Each value of an annotation file in turn is replaced by something else: no error may be without
the file's name, and none may end the process."""

import copy
import json
import re

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from datasets.importing.classes import plan
from datasets.importing.formats import FORMATS
from datasets.importing.places import Export
from datasets.importing.records import Request
from datasets.importing.writer import draw

BLOB = np.eye(24, 32, dtype=np.uint8)
SQUARE = [[4, 3], [12, 3], [12, 9], [4, 9]]
WRONG = [None, "../x", [], {"a": 1}, float("inf"), 10**30]


def region(kind, **value):
    return {"type": kind, "original_width": 32, "original_height": 24,
            "value": value | {kind: ["crop"]}}  # fmt: skip


CONTENT = {
    "coco": {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 24, "width": 32}],
        "categories": [{"id": 7, "name": "crop"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "segmentation": [sum(SQUARE, [])]},
            {"id": 2, "image_id": 1, "category_id": 7, "segmentation": {
                "size": [24, 32],
                "counts": coco_mask.encode(np.asfortranarray(BLOB))["counts"].decode(),
            }},
        ],
    },
    "labelme": {
        "imagePath": "a.jpg", "imageHeight": 24, "imageWidth": 32,
        "shapes": [
            {"label": "crop", "shape_type": "polygon", "points": SQUARE},
            {"label": "crop", "shape_type": "circle", "points": SQUARE[:2]},
        ],
    },
    "label-studio": [{
        "id": 1, "data": {"image": "/data/upload/1/01234567-a.jpg"},
        "annotations": [{"was_cancelled": False, "result": [
            region("polygonlabels", points=SQUARE),
            region("ellipselabels", x=5, y=5, radiusX=2, radiusY=3, rotation=4),
        ]}],
    }],
}  # fmt: skip


def places(content, place=()):
    yield place
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(
        content, list
    ) else ()  # fmt: skip
    for key in keys:
        yield from places(content[key], (*place, key))


def replaced(content, place, value):
    content = copy.deepcopy(content)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


def try_to_read(folder, kind) -> bool:
    """Whether the export is read; errors must be those of a user's mistake, with the file."""
    try:
        export = Export(Request(folder))
        source = FORMATS[kind].read(export)
        classes = plan(source)
        for sample in source.samples:
            draw(sample, source, classes)
    except (ValueError, OSError) as error:
        assert type(error) in (ValueError, FileNotFoundError)
        assert str(folder) in str(error) or str(error).startswith("--input"), error
        return False
    return True


@pytest.mark.parametrize("kind", CONTENT)
def test_any_value_of_a_json_file(kind, export, photographs, write_json):
    photographs(export, ["a"])
    write_json(export / "x.json", CONTENT[kind])
    assert try_to_read(export, kind)
    read = []
    for place in places(CONTENT[kind]):
        for value in WRONG if place else []:
            write_json(export / "x.json", replaced(CONTENT[kind], place, value))
            read.append(try_to_read(export, kind))
    assert len(read) > 100 and any(read) and not all(read)


def test_any_attribute_of_an_xml_file(export, photographs):
    photographs(export, ["a"])
    text = (
        '<annotations><image id="0" name="a.jpg" width="32" height="24">'
        '<polygon label="crop" points="4,3;12,3;12,9" z_order="1"/>'
        '<box label="crop" xtl="6" ytl="5" xbr="30" ybr="20" rotation="3"/>'
        '<ellipse label="crop" cx="16" cy="12" rx="8" ry="4"/>'
        '<mask label="crop" rle="1, 3, 2" left="10" top="4" width="3" height="2"/>'
        "</image></annotations>"
    )
    (export / "x.xml").write_text(text)
    assert try_to_read(export, "cvat")
    read = []
    for match in re.finditer('="([^"]*)"', text):
        for value in ("", "x", "-1", "inf", "nan", "1e308", "9" * 30, "../x"):
            (export / "x.xml").write_text(text[: match.start(1)] + value + text[match.end(1) :])
            read.append(try_to_read(export, "cvat"))
    assert any(read) and not all(read)


def test_what_is_damaged_is_named(export, photographs, write_json, refuses):
    photographs(export, list("abcdefghij"))
    content = replaced(CONTENT["coco"], ("annotations",), None)
    write_json(export / "x.json", content)
    assert "x.json: not as COCO writes it (TypeError: " in refuses()
    content = json.loads(json.dumps(CONTENT["labelme"]))
    content["shapes"][1]["points"][0] = [float("inf"), 3]
    write_json(export / "x.json", content)
    assert "corners are not pairs of numbers" in refuses("--format", "labelme")
