"""Conversion to VOC layout: of colour masks, and of Sugar Beets 2016 as published."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from conventions.labels import VOID, VOID_NAME
from datasets.base import IMAGE_SUFFIXES, Pairs, check_classes, index_by_stem
from datasets.layout import new_folder, split_names, write_classes, write_label, write_lists
from datasets.palettes import parse_colour
from datasets.reading import Colour, map_colours, map_ids, read_image, read_indices, tell_values
from datasets.sugar_beets import SugarBeets

SOIL, CROP, WEED = (SugarBeets.classes.index(name) for name in ("soil", "crop", "weed"))
# Raw ids of annotations/dlp/iMapCleaned: soil, other weeds, beets, dicots, grasses.
SUGAR_BEETS_IDS = {
    **dict.fromkeys((0, 1, 97), SOIL),
    **dict.fromkeys(range(10000, 10003), CROP),
    **dict.fromkeys((2, *range(20000, 20012), *range(20100, 20106)), WEED),
}


def parse_colours(texts: Sequence[str]) -> dict[str, Colour]:
    """Read `soil=0,0,0 crop=0,255,0`, or a text file with one such entry per line.

    The name `void` denotes pixels of no class.

    Raises:
        FileNotFoundError: the only text is neither an entry nor a file.
        ValueError: not name=red,green,blue, a duplicate name or colour, or fewer than two classes.
    """
    if len(texts) == 1 and "=" not in texts[0]:
        path = Path(texts[0])
        if not path.is_file():
            raise FileNotFoundError(f"--colors: no such file: {path}, nor name=red,green,blue")
        texts = path.read_text(encoding="utf-8-sig").split("\n")
    colours: dict[str, Colour] = {}
    for text in filter(None, (text.strip() for text in texts)):
        name, colour = parse_colour(text)
        if name in colours or colour in colours.values():
            raise ValueError(f"--colors {text}: this name or colour is given twice")
        colours[name] = colour
    check_classes([name for name in colours if name != VOID_NAME])
    return colours


def masks_to_ids(folder: Path, output: Path, colours: Mapping[str, Colour]) -> int:
    """Write every colour mask (PNG) under `folder` as a PNG of class ids under `output`.

    Ids follow the order of the colours; `void` becomes 255. Returns the number of masks.

    Raises:
        FileNotFoundError: the folder does not exist or has no PNG in it.
        ValueError: a mask is damaged or has a colour that is not in the list, or `output` exists.
    """
    masks = index_by_stem(folder)
    if not masks:
        raise FileNotFoundError(f"--input {folder}: no .png in it")
    classes = [name for name in colours if name != VOID_NAME]
    ids = {colour: VOID for name, colour in colours.items() if name == VOID_NAME}
    ids |= {colours[name]: index for index, name in enumerate(classes)}
    with new_folder(output) as new:
        for key, path in tqdm(masks.items(), "palette", unit="mask", disable=None):
            colour_mask = read_image(path)
            label, unknown = map_colours(colour_mask, ids)
            if unknown.any():
                raise ValueError(_unknown_colours(path, colour_mask.numpy(), unknown))
            (new / key).parent.mkdir(parents=True, exist_ok=True)
            write_label(new / f"{key}.png", label, [colours[name] for name in classes])
    return len(masks)


def _unknown_colours(path: Path, mask: np.ndarray, unknown: np.ndarray) -> str:
    found, counts = np.unique(mask[:, unknown].T, axis=0, return_counts=True)
    order = np.argsort(-counts)[:5]
    told = ", ".join(f"{','.join(map(str, found[i]))} ({counts[i]} px)" for i in order)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return (
        f"{path}: colours outside the list: {told}{more}; add them to --colors (void=R,G,B for "
        "pixels of no class); masks saved as JPEG or smoothed have colours that no class has"
    )


def find_sugar_beets(folder: Path) -> tuple[Pairs, int, int]:
    """Pair the images and labels of the published sessions under `folder`.

    Returns:
        The pairs, the number of images without a label, and of labels without an image.

    Raises:
        FileNotFoundError: the folder does not exist or has no labelled image in it.
        ValueError: two sessions have images of the same name.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"--input {folder}: no such directory")
    pairs, lone_images, lone_labels = [], 0, 0
    sessions = sorted(path.parents[2] for path in folder.glob("**/annotations/dlp/iMapCleaned"))
    for session in sessions:
        images = index_by_stem(session / "images" / "rgb", suffixes=IMAGE_SUFFIXES)
        labels = index_by_stem(session / "annotations" / "dlp" / "iMapCleaned")
        both = [key for key in images if key in labels]
        pairs += [(images[key], labels[key]) for key in both]
        lone_images += len(images) - len(both)
        lone_labels += len(labels) - len(both)
    if not pairs:
        wanted = "<session>/images/rgb with <session>/annotations/dlp/iMapCleaned"
        raise FileNotFoundError(f"--input {folder}: no image with a label in {wanted}")
    names = [image.stem for image, _ in pairs]
    if len(set(names)) < len(names):
        doubled = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"--input {folder}: two images are named {doubled}")
    return pairs, lone_images, lone_labels


def convert_sugar_beets(
    pairs: Pairs, output: Path, ratio: Sequence[float], seed: int
) -> dict[str, list[str]]:
    """Write the pairs in VOC layout: images copied, labels as soil, crop and weed.

    Returns the names in each split.

    Raises:
        ValueError: a label is damaged, has an unknown id or differs from its image in size,
            `output` exists, or see `split_names`.
    """
    splits = split_names([image.stem for image, _ in pairs], ratio, seed)
    with new_folder(output) as new:
        (new / "JPEGImages").mkdir()
        (new / "SegmentationClass").mkdir()
        for image, label in tqdm(pairs, "sugar-beets", unit="img", disable=None):
            ids = sugar_beets_ids(label)
            if ids.shape != read_image(image).shape[1:]:
                raise ValueError(f"{label}: label and image {image} differ in size")
            shutil.copyfile(image, new / "JPEGImages" / image.name)
            path = new / "SegmentationClass" / f"{image.stem}.png"
            write_label(path, ids, SugarBeets.palette)
        write_lists(new, splits)
        write_classes(new, SugarBeets.classes)
    return splits


def sugar_beets_ids(path: Path) -> np.ndarray:
    """Read a published label as class ids, uint8 (H, W).

    Raises:
        ValueError: it is damaged, or has an id that is not in the published list.
    """
    values = read_indices(path)
    ids, unknown = map_ids(values, SUGAR_BEETS_IDS)
    if unknown.any():
        told = tell_values(values[unknown])
        raise ValueError(f"{path}: label values outside the published list: {told}")
    return ids
