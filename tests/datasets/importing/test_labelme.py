import base64
import io

import numpy as np
import pytest
from PIL import Image

SIZE = (24, 32)
NAMES = list("abcdefghij")
SQUARE = [[4, 3], [12, 3], [12, 9], [4, 9]]


@pytest.fixture
def labelme(export, photographs, write_json):
    """`labelme(a=[shapes])`: a file per image as labelme 5 writes it."""

    def write(folder="", image="{}.jpg", **shapes):
        photographs(export / folder)
        for name in NAMES:
            listed = [
                {"label": "crop", "group_id": None, "shape_type": "polygon", "flags": {}} | shape
                for shape in shapes.get(name, [])
            ]
            content = {
                "version": "5.5.0", "flags": {}, "shapes": listed, "imagePath": image.format(name),
                "imageData": None, "imageHeight": SIZE[0], "imageWidth": SIZE[1],
            }  # fmt: skip
            write_json(export / folder / f"{name}.json", content)

    return write


def png(values: np.ndarray) -> str:
    data = io.BytesIO()
    Image.fromarray(values).save(data, format="PNG")
    return base64.b64encode(data.getvalue()).decode()


def test_every_kind_of_shape(labelme, bring, labels_of, capsys):
    patch = np.array([[255, 0, 255], [0, 255, 0]], np.uint8)
    labelme(
        a=[{"points": SQUARE}, {"points": [[6, 5], [30, 20]], "shape_type": "rectangle",
                                "label": "weed"}],
        b=[{"points": [[16, 12], [16, 17]], "shape_type": "circle"}],
        c=[{"points": [[10, 4], [12, 5]], "shape_type": "mask", "mask": png(patch)}],
        d=[{"points": [[1, 1]], "shape_type": "point"}, {"points": SQUARE}],
    )  # fmt: skip
    data = bring()
    assert data["train"].classes == ("background", "crop", "weed")
    labels = labels_of(data)
    expected = np.zeros(SIZE)
    expected[3:9, 4:12] = 1
    assert np.array_equal(labels["d"], expected)
    expected[5:20, 6:30] = 2  # what is listed later is on top
    assert np.array_equal(labels["a"], expected)
    rows, columns = np.indices(SIZE)
    distance = np.hypot(rows + 0.5 - 12, columns + 0.5 - 16)
    assert labels["b"][distance < 4.5].all() and not labels["b"][distance > 5.5].any()
    expected = np.zeros(SIZE)
    expected[4:6, 10:13] = patch > 0
    assert np.array_equal(labels["c"], expected)
    assert "1 shapes of type point left out" in capsys.readouterr().out


def test_an_image_without_a_file_of_labels_is_noted(labelme, export, bring, capsys):
    labelme(a=[{"points": SQUARE}])
    (export / "d.json").unlink()
    assert sum(map(len, bring().values())) == len(NAMES) - 1
    note = f"note: 1 image(s) without labels left out, such as {export / 'd.jpg'}"
    assert note in capsys.readouterr().err


def test_paths_of_another_machine(labelme, bring, labels_of):
    labelme(image="C:\\Users\\me\\field\\{}.jpg", a=[{"points": SQUARE}])
    assert labels_of(bring())["a"].sum() == 48


@pytest.mark.parametrize("image", ["../images/{}.jpg", "..\\images\\{}.jpg"])
def test_names_that_climb_stay_in_the_new_data_set(
    image, export, photographs, write_json, bring, labels_of, tmp_path
):
    photographs(export / "images")
    shapes = [{"label": "crop", "points": SQUARE, "shape_type": "polygon"}]
    for name in NAMES:
        write_json(
            export / "json files" / f"{name}.json",
            {"shapes": shapes, "imagePath": image.format(name)},
        )
    labels = labels_of(bring())
    assert sorted(labels) == NAMES and labels["a"].sum() == 48
    assert len(list((tmp_path / "imported" / "JPEGImages").iterdir())) == len(NAMES)
    photograph = Image.open(tmp_path / "imported" / "JPEGImages" / "a.jpg")
    assert np.array_equal(photograph, Image.open(export / "images" / "a.jpg"))


@pytest.mark.parametrize("where", ["--images", "beside"])
def test_names_outside_of_the_export_are_looked_up_where_the_images_are_now(
    where, export, labelme, bring, refuses, labels_of, tmp_path
):
    labelme(image="..\\..\\photos\\{}.jpg", a=[{"points": SQUARE}])
    flags = ()
    if where == "--images":
        flags = ("--images", tmp_path / "photos" / "today")
        flags[1].mkdir(parents=True)
        for name in NAMES:
            (export / f"{name}.jpg").rename(flags[1] / f"{name}.jpg")
        assert "outside of" in refuses() and "with --images" in refuses()
    labels = labels_of(bring(*flags))
    assert sorted(labels) == NAMES and labels["a"].sum() == 48


@pytest.mark.parametrize("image", ["..", "../", "../{}"])
def test_names_outside_of_the_export_without_an_image_are_refused(labelme, refuses, export, image):
    labelme(image=image, a=[{"points": SQUARE}])
    assert "--images" in refuses() and "--images" in refuses("--images", export)


def test_the_first_class_is_not_guessed_to_be_all_that_has_no_region(labelme, bring, refuses):
    labelme(a=[{"points": SQUARE}], b=[{"points": SQUARE, "label": "weed"}])
    told = refuses("--classes", "crop,weed")
    assert "pixels outside of all regions would be crop" in told and "--background" in told
    classes = bring("--classes", "soil,crop,weed")["train"].classes
    assert classes == ("soil", "crop", "weed")


def test_names_in_another_unicode_form(export, photographs, write_json, bring):
    photographs(export, ["Mu\u0308sli", "b", "c"])  # as macOS writes it
    for name in ("M\u00fcsli", "b", "c"):
        shapes = [{"label": "crop", "points": SQUARE, "shape_type": "polygon"}]
        content = {"shapes": shapes, "imagePath": f"{name}.jpg"}
        write_json(export / f"{name}.json", content)
    data = bring("--ratio", 2, 1)
    assert sum(len(split) for split in data.values()) == 3


def test_sub_folders_stay_and_can_be_kept_together(labelme, bring):
    for folder in ("day1", "day2", "day3"):
        labelme(folder, a=[{"points": SQUARE}])
    data = bring("--by-folder", "--ratio", 1, 1, 1)
    for split in data.values():
        assert len({name.split("/")[0] for name in split.names} | {split.names[0]}) <= 11
        assert len({image.parent for image, _ in split.pairs}) == 1 and len(split) == 10


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ({"label": "", "points": SQUARE}, "a.json: shape 0 has no label"),
        ({"points": [[1, "x"]]}, "corners are not pairs of numbers"),
        ({"points": SQUARE, "shape_type": "circle"}, "a circle of 4 points cannot be painted"),
        ({"points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": "@@"}, "not a readable PNG"),
    ],
)
def test_damaged_shapes_are_one_line(labelme, refuses, shape, told):
    labelme(a=[shape], b=[{"points": SQUARE}])
    assert told in refuses()
