import numpy as np
import pytest

from datasets.importing.label_studio import decode_brush

SIZE = (24, 32)
NAMES = list("abcdefghij")


def pack(values: np.ndarray) -> list[int]:
    """Encode as Label Studio does: bit stream of runs (thi.ng/rle-pack), words of 8 bits."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    ends = np.flatnonzero(np.diff(values)) + 1
    for run in np.split(values, ends):
        while len(run):
            part, run = run[: 1 << 16], run[1 << 16 :]
            if len(part) == 1:  # a single word, not repeated
                bits += f"0{0:02b}{0:03b}{part[0]:08b}"
            else:
                bits += f"1{3:02b}{len(part) - 1:016b}{part[0]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def brush(mask: np.ndarray, label="crop") -> dict:
    rgba = np.zeros((*mask.shape, 4), np.uint8)
    rgba[mask] = 255
    return region("brushlabels", label, format="rle", rle=pack(rgba.ravel()))


def region(kind: str, label="crop", **value) -> dict:
    return {
        "type": kind, "original_width": 32, "original_height": 24, "image_rotation": 0,
        "value": value | {kind: [label]},
    }  # fmt: skip


SQUARE = region("polygonlabels", points=[[12.5, 12.5], [37.5, 12.5], [37.5, 37.5], [12.5, 37.5]])


@pytest.fixture
def tasks(export, photographs, write_json):
    """`tasks(a=[results])`: the JSON export of a project with uploaded images."""

    def write(image="/data/upload/3/0123abcd-{}.jpg", **results):
        photographs(export / "images")
        content = [
            {
                "id": i,
                "data": {"image": image.format(name)},
                "annotations": [{"id": i, "was_cancelled": False, "result": results.get(name, [])}],
                "predictions": [],
            }
            for i, name in enumerate(NAMES, 1)
        ]
        write_json(export / "project-1.json", content)
        return content

    return write


def test_every_kind_of_region(tasks, bring, labels_of, capsys):
    blob = np.random.default_rng(0).random(SIZE) < 0.4
    box = region("rectanglelabels", "weed", x=25, y=25, width=50, height=50, rotation=0)
    ellipse = region("ellipselabels", x=50, y=50, radiusX=25, radiusY=25, rotation=0)
    point = region("keypointlabels", x=1, y=1)
    tasks(a=[SQUARE, box], b=[brush(blob)], c=[ellipse, point], d=[SQUARE])
    data = bring()
    assert data["train"].classes == ("background", "crop", "weed")
    labels = labels_of(data)
    expected = np.zeros(SIZE)
    expected[3:9, 4:12] = 1
    assert np.array_equal(labels["d"], expected)
    expected[6:18, 8:24] = 2
    assert np.array_equal(labels["a"], expected)
    assert np.array_equal(labels["b"], blob)
    rows, columns = np.indices(SIZE) + 0.5
    radius = ((rows - 12) / 6) ** 2 + ((columns - 16) / 8) ** 2
    assert labels["c"][radius < 0.8].all() and not labels["c"][radius > 1.2].any()
    assert "1 results of type keypointlabels left out" in capsys.readouterr().out


def test_brush_stream_by_hand():
    # 5 words of 8 bits; a run of 3 times 9 (length 2 in 3 bits), then the single words 7 and 1.
    bits = (
        f"{5:032b}{7:05b}"
        + f"{2:04b}" * 4
        + f"1{0:02b}{2:03b}{9:08b}"
        + f"0{0:02b}{1:03b}{7:08b}{1:08b}"
    )
    data = tuple(int(bits.ljust(96, "0")[i : i + 8], 2) for i in range(0, 96, 8))
    assert decode_brush(data, "here").tolist() == [9, 9, 9, 7, 1]


def test_local_files_and_cancelled_tasks(tasks, export, write_json, bring, capsys):
    content = tasks(image="/data/local-files/?d=fields%2F{}.jpg", a=[SQUARE])
    content[1]["annotations"][0]["was_cancelled"] = True
    write_json(export / "project-1.json", content)
    data = bring()
    assert sum(len(split) for split in data.values()) == 9
    assert "1 tasks without an annotation left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (brush(np.zeros((12, 32), bool)), "its brush mask has 384 px, its image 32 x 24"),
        (region("brushlabels", rle=[0, 0, 12, 0, 1]), "its brush mask ends early"),
        (region("brushlabels", rle=[999]), "its brush mask is not a list of bytes"),
        (SQUARE | {"value": {"points": [[1, 1]]}}, "a region of type polygonlabels has no label"),
        (SQUARE | {"image_rotation": 90}, "was labelled on a rotated image"),
        (region("rectanglelabels", x=1, y=2), "lacks its place or size"),
    ],
)
def test_damaged_results_are_one_line(tasks, refuses, result, told):
    tasks(a=[result], b=[SQUARE])
    line = refuses()
    assert told in line and "project-1.json: task 1" in line
