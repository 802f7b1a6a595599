import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

SIZE = (24, 32)
NAMES = list("abcdefghij")
SQUARE = [4, 3, 12, 3, 12, 9, 4, 9]  # columns 4 to 11, rows 3 to 8


@pytest.fixture
def coco(export, photographs, write_json):
    """`coco(*annotations)`: ten images and annotations of image 1, unless they say another."""

    def write(*annotations, path="instances.json", **changes):
        photographs(export / "images")
        listed = [
            {"id": i, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]}
            for i, name in enumerate(NAMES, 1)
        ]
        content = {
            "images": listed,
            "categories": [{"id": 7, "name": "carrot"}, {"id": 9, "name": "thistle"}],
            "annotations": [
                {"id": i, "image_id": 1, "category_id": 7, "iscrowd": 0} | annotation
                for i, annotation in enumerate(annotations)
            ],
        }
        return write_json(export / path, content | changes)

    return write


def test_polygons_and_run_lengths_are_what_pycocotools_reads(coco, bring, labels_of):
    random = np.random.default_rng(1)
    blob = (random.random(SIZE) < 0.3).astype(np.uint8)
    packed = coco_mask.encode(np.asfortranarray(blob))
    changes = np.flatnonzero(np.diff(blob.ravel("F"), prepend=0))
    plain = np.diff([0, *changes, blob.size]).tolist()
    rle = {"size": list(SIZE), "counts": packed["counts"].decode()}
    path = coco(
        {"segmentation": [[1.5, 2.5, 20, 3, 17.2, 20.4, 3, 15], SQUARE], "image_id": 2},
        {"segmentation": rle, "image_id": 3, "category_id": 9},
        {"segmentation": {"size": list(SIZE), "counts": plain}, "image_id": 4, "iscrowd": 1},
    )
    labels = labels_of(bring())
    reference = COCO(str(path))
    for index, name, value in ((0, "b", 1), (1, "c", 2), (2, "d", 1)):
        expected = reference.annToMask(reference.anns[index]) * value
        assert expected.any() and np.array_equal(labels[name], expected)
    assert np.array_equal(labels["d"], blob) and not labels["e"].any()


def test_small_objects_stay_visible_on_large_ones(coco, bring, labels_of):
    coco({"segmentation": [SQUARE], "category_id": 9},
         {"segmentation": [[0, 0, 32, 0, 32, 24, 0, 24]]})  # fmt: skip
    label = labels_of(bring())["a"]
    expected = np.ones(SIZE)
    expected[3:9, 4:12] = 2
    assert np.array_equal(label, expected)


def test_polygons_outside_are_clipped_and_counted(coco, bring, labels_of, capsys):
    coco({"segmentation": [[-50, -50, 16, -50, 16, 1e9, -50, 1e9]]},
         {"segmentation": [[100, 100, 110, 100, 110, 110]], "image_id": 2})  # fmt: skip
    labels = labels_of(bring())
    assert labels["a"][:, :16].all() and not labels["a"][:, 16:].any() and not labels["b"].any()
    told = capsys.readouterr().out
    assert "2 polygons reach out of their image" in told and "1 regions cover no pixel" in told


def test_splits_of_the_files_are_kept(coco, export, bring):
    content = coco({"segmentation": [SQUARE]})
    whole = json.loads(content.read_text())
    content.unlink()
    for split, part in (("train2017", slice(0, 7)), ("val2017", slice(7, 10))):
        images = whole["images"][part]
        kept = {image["id"] for image in images}
        notes = [a for a in whole["annotations"] if a["image_id"] in kept]
        (export / f"instances_{split}.json").write_text(
            json.dumps(whole | {"images": images, "annotations": notes})
        )
    data = bring()
    assert {name: len(split) for name, split in data.items()} == {"train": 7, "val": 3}
    assert data["val"].names == ["h", "i", "j"]


def test_classes_are_merged_renamed_and_ignored(coco, bring, labels_of, refuses):
    coco({"segmentation": [SQUARE], "category_id": 9},
         {"segmentation": [SQUARE], "image_id": 2})  # fmt: skip
    assert "--map turnip=crop: no such class; in the source: carrot, thistle" in refuses(
        "--map", "turnip=crop"
    )
    assert "--ignore turnip: no such class" in refuses("--ignore", "turnip")
    assert "the source has thistle too" in refuses("--classes", "background,carrot")
    assert "not NAME=CLASS" in refuses("--map", "carrot")
    data = bring("--map", "carrot=crop,*=weed", "--background", "soil")
    assert data["train"].classes == ("soil", "crop", "weed")
    labels = labels_of(data)
    assert labels["a"][5, 5] == 2 and labels["b"][5, 5] == 1 and labels["a"][0, 0] == 0


def test_the_order_of_classes_is_that_of_the_flag(coco, bring, labels_of):
    coco({"segmentation": [SQUARE], "category_id": 9})
    data = bring("--classes", "thistle,background", "--ignore", "carrot")
    assert data["train"].classes == ("thistle", "background")
    assert labels_of(data)["a"][5, 4:6].tolist() == [0, 0]
    assert labels_of(data)["a"][0, 0] == 1


def test_unlabelled_pixels_can_be_void(coco, bring, labels_of):
    coco({"segmentation": [SQUARE], "category_id": 9})
    data = bring("--background", "void")
    assert data["train"].classes == ("carrot", "thistle")
    assert labels_of(data)["a"][[0, 5], [0, 5]].tolist() == [255, 1]


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        ({"category_id": 5}, "annotation 0 is of category 5, which the file does not list; known"),
        ({"image_id": 99}, "annotation 0 is of an image that is not listed"),
        ({"segmentation": {"size": [32, 24], "counts": [768]}}, "its RLE is of size [32, 24]"),
        ({"segmentation": {"size": [24, 32], "counts": [767]}}, "do not fill 32 x 24 px"),
        ({"segmentation": {"size": [24, 32], "counts": [-1, 769]}}, "do not fill 32 x 24 px"),
        ({"segmentation": {"size": [24, 32], "counts": "zz~~"}}, "do not fill 32 x 24 px"),
        ({"segmentation": [[1, 2, 3]]}, "neither lists of x, y nor an RLE"),
        ({"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}, "not pairs of numbers"),
    ],
)
def test_damaged_annotations_are_one_line(coco, refuses, annotation, told):
    coco({"segmentation": [SQUARE]} | annotation)
    line = refuses()
    assert told in line and "instances.json" in line


def test_names_that_lead_out_of_the_folder_are_refused(coco, export, photographs, refuses):
    photographs(export.parent / "secret", ["a"])
    listed = {"id": 1, "file_name": "../secret/a.jpg", "height": 24, "width": 32}
    coco({"segmentation": [SQUARE]}, images=[listed])
    line = refuses()
    assert "'../secret/a.jpg', outside of" in line and "--images" in line


def test_missing_images_are_named_with_what_is_near(coco, export, refuses):
    coco({"segmentation": [SQUARE]})
    (export / "images" / "a.jpg").rename(export / "images" / "aa.jpg")
    assert "instances.json: image 'a.jpg' is not in" in refuses()


def test_images_may_be_elsewhere(coco, export, tmp_path, refuses, bring):
    coco({"segmentation": [SQUARE]})
    (export / "images").rename(tmp_path / "elsewhere")
    assert "name the images' folder with --images" in refuses()
    assert len(bring("--images", tmp_path / "elsewhere")["train"]) == 8


def test_an_image_of_another_size_is_refused(coco, export, photographs, refuses):
    coco({"segmentation": [SQUARE]})
    photographs(export / "images", ["c"], size=(32, 24))
    line = refuses()
    assert "an image of 32 x 24, but" in line and "turned by 90 degrees" in line


def test_a_photograph_of_another_day_is_not_taken(coco, export, refuses, bring):
    listed = [
        {"id": i, "file_name": f"day2/{name}.jpg", "height": SIZE[0], "width": SIZE[1]}
        for i, name in enumerate(NAMES, 1)
    ]
    coco({"segmentation": [SQUARE]}, images=listed)
    (export / "images").rename(export / "day1")
    assert "image 'day2/a.jpg' is not in" in refuses()
    (export / "day1").rename(export / "images")
    bring()  # without days, these may be the photographs


def test_an_empty_or_broken_file(coco, export, refuses):
    coco(images=[], annotations=[])
    assert "no labelled image in it" in refuses()
    (export / "instances.json").write_text('{"images": [')
    assert "instances.json: not a whole JSON file; export it again" in refuses()


def test_what_names_no_class(coco, refuses):
    coco({"segmentation": [SQUARE]}, categories=[])
    assert "instances.json: no categories in it, which name the classes" in refuses()
    coco({"segments_info": []})
    assert "instances.json: COCO's panoptic format; export instances" in refuses()


def test_two_images_of_one_id(coco, refuses):
    entry = {"id": 1, "file_name": "a.jpg", "height": 24, "width": 32}
    coco({"segmentation": [SQUARE]}, images=[entry, entry | {"file_name": "b.jpg"}])
    assert "instances.json: two images have the id 1; export it again" in refuses()


def test_boxes_alone_are_refused(coco, refuses):
    coco({"segmentation": [], "bbox": [1, 2, 3, 4]})
    line = refuses()
    assert "no pixel of carrot, thistle in any image" in line
    assert "1 objects without a segmentation have no area: export polygons or masks" in line
    coco()
    assert "no pixel of carrot, thistle in any image; are these the labels?" in refuses()


def test_photographs_that_are_not_read(coco, export, refuses):
    entry = {"id": 1, "file_name": "a.HEIC", "height": 24, "width": 32}
    coco({"segmentation": [SQUARE]}, images=[entry])
    (export / "a.HEIC").touch()
    assert "a.HEIC: images of this kind are not read; convert photographs to .jpg" in refuses()


def test_objects_without_a_segmentation_are_told(coco, bring, capsys):
    coco({"segmentation": [], "bbox": [1, 2, 3, 4]}, {"segmentation": [SQUARE]})
    bring()
    told = capsys.readouterr().out
    assert "1 objects without a segmentation left out" in told
    assert "9 of 10 images have no region" in told
