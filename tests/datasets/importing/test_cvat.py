import numpy as np
import pytest

SIZE = (24, 32)
NAMES = list("abcdefghij")


@pytest.fixture
def cvat(export, photographs):
    """`cvat(a=shapes)`: `CVAT for images 1.1`, with the images."""

    def write(subset="default", **shapes):
        photographs(export / "images")
        images = "".join(
            f'<image id="{i}" name="{name}.jpg" subset="{subset}" width="32" height="24">'
            f"{shapes.get(name, '')}</image>"
            for i, name in enumerate(NAMES)
        )
        labels = "".join(f"<label><name>{name}</name></label>" for name in ("crop", "weed"))
        (export / "annotations.xml").write_text(
            '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
            f"<meta><job><labels>{labels}</labels></job></meta>{images}</annotations>"
        )

    return write


POLYGON = '<polygon label="crop" points="4.00,3.00;12.00,3.00;12.00,9.00;4.00,9.00" z_order="{}"/>'


def test_every_kind_of_shape(cvat, bring, labels_of, capsys):
    box = '<box label="weed" xtl="6" ytl="5" xbr="30" ybr="20" z_order="0"/>'
    turned = '<box label="weed" xtl="10" ytl="8" xbr="20" ybr="12" rotation="90.0"/>'
    ellipse = '<ellipse label="crop" cx="16" cy="12" rx="8" ry="4"/>'
    # Rows of the mask's box: 0 1 1, 1 0 0; two runs of one and of two background pixels.
    mask = '<mask label="crop" rle="1, 3, 2" left="10" top="4" width="3" height="2"/>'
    line = '<polyline label="crop" points="1,1;2,2"/>'
    cvat(a=POLYGON.format(1) + box, b=ellipse, c=mask + line, d=turned)
    labels = labels_of(bring())
    expected = np.zeros(SIZE)
    expected[5:20, 6:30] = 2
    expected[3:9, 4:12] = 1  # of higher z_order, though listed first
    assert np.array_equal(labels["a"], expected)
    rows, columns = np.indices(SIZE) + 0.5
    radius = ((rows - 12) / 4) ** 2 + ((columns - 16) / 8) ** 2
    assert labels["b"][radius < 0.8].all() and not labels["b"][radius > 1.25].any()
    expected = np.zeros(SIZE)
    expected[4:6, 10:13] = [[0, 1, 1], [1, 0, 0]]
    assert np.array_equal(labels["c"], expected)
    expected = np.zeros(SIZE)
    expected[5:15, 13:17] = 2
    assert np.array_equal(labels["d"], expected)
    assert "1 shapes of type polyline left out" in capsys.readouterr().out


def test_subsets_are_splits(cvat, export, bring):
    cvat("Train", a=POLYGON.format(0))
    path = export / "annotations.xml"
    text = path.read_text()
    for name in "hij":
        text = text.replace(
            f'name="{name}.jpg" subset="Train"', f'name="{name}.jpg" subset="Validation"'
        )
    path.write_text(text)
    assert bring()["val"].names == ["h", "i", "j"]


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ('<mask label="crop" rle="1, 3" left="1" top="1" width="3" height="2"/>', "are of 4 px"),
        ('<mask label="crop" rle="" left="1" top="1" width="3" height="2"/>', "lacks its place"),
        ('<box label="crop" xtl="1"/>', "a box lacks its place or size"),
        ('<polygon label="" points="1,1;2,2;3,1"/>', "a polygon without a label"),
        ('<polygon label="crop" points="1,1;2"/>', "not pairs of numbers"),
    ],
)
def test_damaged_shapes_are_one_line(cvat, refuses, shape, told):
    cvat(a=shape)
    line = refuses()
    assert told in line and "annotations.xml: image 'a.jpg'" in line


def test_videos_and_broken_files(cvat, export, refuses):
    cvat()
    path = export / "annotations.xml"
    whole = path.read_text()
    path.write_text(whole.replace("<image ", '<track id="0" label="crop"/><image ', 1))
    assert "export as `CVAT for images 1.1`" in refuses()
    path.write_text(whole[:200])
    assert "not a whole XML file" in refuses()


def test_masks_with_a_labelmap(export, photographs, masks, bring, labels_of):
    """CVAT's `Segmentation mask 1.1`."""
    photographs(export / "JPEGImages")
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[3:9, 4:12] = (51, 221, 255)
    masks(export / "SegmentationClass", dict.fromkeys(NAMES, colours))
    masks(export / "SegmentationObject", dict.fromkeys(NAMES, colours))
    (export / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncrop:51,221,255::\n"
    )
    lists = export / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(NAMES[:6]))
    (lists / "val.txt").write_text("\n".join(NAMES[6:]))
    data = bring()
    assert data["train"].classes == ("background", "crop") and len(data["val"]) == 4
    expected = np.zeros(SIZE)
    expected[3:9, 4:12] = 1
    assert all(np.array_equal(label, expected) for label in labels_of(data).values())


def test_masks_exported_without_their_images(export, masks, refuses):
    masks(export / "SegmentationClass", {"a": np.zeros(SIZE)})
    (export / "labelmap.txt").write_text("background:0,0,0::\ncrop:51,221,255::\n")
    line = refuses()
    assert "0 images and 1 masks" in line or "no known format" in line
    assert "--images" in line
