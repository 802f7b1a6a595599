"""Masks beside images: `images/` and `masks/`, `train/` and `trainannot/`, `x.jpg`, `x_L.png`."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from datasets.files import files_below, same_name
from datasets.importing.folder_words import PART, SPLITS, says_role
from datasets.importing.mask_classes import name_values
from datasets.importing.places import Export, is_image
from datasets.importing.records import Sample, Source

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
# Folders with masks of instances instead of classes.
_LEFT_OUT = ("segmentationobject", "instances")
_IMAGE_ENDINGS = ("_leftimg8bit", "_image", "_img", "_rgb", "")
_ROOM = tuple[tuple[str, ...], str | None]  # folders that do not name a role or split; the split

NEEDED = (
    "images/a.jpg with masks/a.png, train/a.jpg with trainannot/a.png (or train/images and "
    "train/masks), or a.jpg with a_L.png"
)


def detect_folders(export: Export) -> bool:
    """Look for an image folder with a corresponding folder of masks."""
    if export.file is not None:
        return False
    images, masks = _by_role(export)
    rooms = {_room(export, path) for path in images}
    return bool(masks) and any(_room(export, path) in rooms for path in masks)


def read_folders(export: Export) -> Source:
    """Pair the images and masks of corresponding folders.

    Raises:
        FileNotFoundError: an image or a mask has no partner.
        ValueError: a mask fits two images, or there are two folders of masks.
    """
    images, masks = _by_role(export)
    return _source(export, images, masks, lambda path: _room(export, path))


def detect_pairs(export: Export) -> bool:
    """Look for `x.jpg` and `x_L.png` in one folder."""
    return export.file is None and _pair_ending(export) is not None


def read_pairs(export: Export) -> Source:
    """Pair `x.jpg` with `x<ending>.png`, where the ending is the most frequent one.

    Raises:
        FileNotFoundError: an image or a mask has no partner.
    """
    ending = _pair_ending(export)
    if ending is None:
        raise FileNotFoundError(
            f"--input {export.root}: no a.jpg with a_L.png or the like in one folder; found "
            f"{export.summary()}"
        )
    images: list[Path] = []
    masks: list[Path] = []
    for path in export.images:
        (masks if _is_pair_mask(path, ending) else images).append(path)
    return _source(
        export, images, masks, lambda path: (_room(export, path)[0], _split(export, path))
    )


def _is_pair_mask(path: Path, ending: str) -> bool:
    return path.suffix.lower() in MASK_SUFFIXES and (
        same_name(path.stem).endswith(ending) if ending else path.suffix.lower() == ".png"
    )


def _pair_ending(export: Export) -> str | None:
    """Find the most frequent ending that masks add to an image's stem: `_l`, "", or None."""
    stems: dict[Path, set[str]] = {}
    for path in export.images:
        stems.setdefault(path.parent, set()).add(same_name(path.stem))
    endings: Counter = Counter()
    for path in export.images:
        if path.suffix.lower() not in MASK_SUFFIXES:
            continue
        stem = same_name(path.stem)
        cuts = [cut for cut in range(1, len(stem)) if stem[:cut] in stems[path.parent]]
        if cuts and not stem[cuts[-1]].isdigit():
            endings[stem[cuts[-1] :]] += 1
        elif path.suffix.lower() == ".png" and any(
            path.with_suffix(suffix).is_file() for suffix in (".jpg", ".jpeg", ".JPG")
        ):
            endings[""] += 1
    return endings.most_common(1)[0][0] if endings else None


def _by_role(export: Export) -> tuple[list[Path], list[Path]]:
    """Sort files into images and masks by the names of their folders, or by --images, --masks."""
    request, images, masks = export.request, [], []
    candidates = list(export.images)
    if request.masks is not None:
        known = set(candidates)
        candidates += [
            p for p in sorted(files_below(request.masks)) if is_image(p) and p not in known
        ]
    for path in candidates:
        if request.masks is not None and path.is_relative_to(request.masks):
            masks.append(path)
        elif request.images is not None:
            if path.is_relative_to(request.images):
                images.append(path)
            elif request.masks is None and _has_role(export, path, "mask"):
                masks.append(path)
        elif any(part.casefold() in _LEFT_OUT for part in export.relative(path).parts[:-1]):
            continue
        elif _has_role(export, path, "mask"):
            if request.masks is None:
                masks.append(path)
        else:
            images.append(path)
    named = [path for path in images if _has_role(export, path, "image")]
    if named and request.images is None:  # other files, such as a preview, are not photographs
        images = named
    kept = [path for path in masks if path.suffix.lower() in MASK_SUFFIXES]
    if masks and not kept:
        raise ValueError(
            f"{masks[0]}: masks saved as {masks[0].suffix} have values that no class has; export "
            "them as .png"
        )
    return images, kept


def _has_role(export: Export, path: Path, role: str) -> bool:
    matches = (PART.match(part) for part in export.relative(path).parts[:-1])
    return any(match and match[role] for match in matches)


def _room(export: Export, path: Path) -> _ROOM:
    """The folders of a file except those that only name a role or split, and its split."""
    masks = export.request.masks
    if masks is not None and path.is_relative_to(masks):
        inside = PurePosixPath(path.relative_to(masks).as_posix())
    else:
        inside = export.relative(path)
    others = tuple(part for part in inside.parts[:-1] if not says_role(part))
    return others, _split(export, path)


def _split(export: Export, path: Path) -> str | None:
    for part in export.relative(path).parts[:-1]:
        match = PART.match(part)
        if match and (match["split"] or match["last"]):
            return SPLITS[(match["split"] or match["last"]).casefold()]
    return export.listed_split(path)


def _source(
    export: Export, images: list[Path], masks: list[Path], room: Callable[[Path], object]
) -> Source:
    if not images or not masks:
        raise FileNotFoundError(
            f"--input {export.root}: {len(images)} images and {len(masks)} masks found; needed: "
            f"{NEEDED}, or name the folders with --images and --masks; found {export.summary()}"
        )
    partners = _stems(masks, room)
    endings = _mask_endings(images, partners, room)
    samples: list[Sample] = []
    used: dict[Path, Path] = {}
    for image in images:
        mask = _partner(image, partners, endings, room)
        if mask is None:
            raise FileNotFoundError(_lone(export, image, masks))
        if mask in used:
            raise ValueError(
                f"{mask}: fits {used[mask].name} and {image.name}; add the mask that is missing, "
                "or move its image out of the folder"
            )
        used[mask] = image
        samples.append(Sample(image, mask, _split(export, image)))
    lone = next((mask for mask in masks if mask not in used), None)
    if lone is not None:
        raise FileNotFoundError(
            f"{lone}: mask without an image; remove it, or choose the folder of masks with --masks"
        )
    values, colours = name_values(export, [sample.label for sample in samples])
    meanings = values or colours or {}
    names = tuple(dict.fromkeys(meanings.values()))
    return Source(samples, names, values, colours)


def _stems(masks: Iterable[Path], room: Callable[[Path], object]) -> dict[object, dict[str, Path]]:
    found: dict[object, dict[str, Path]] = {}
    for mask in masks:
        stems = found.setdefault(room(mask), {})
        stem = same_name(mask.stem)
        if stem in stems:
            raise ValueError(
                f"{mask}: a second mask beside {stems[stem]}; choose the folder with --masks"
            )
        stems[stem] = mask
    return found


def _mask_endings(
    images: list[Path], partners: dict[object, dict[str, Path]], room: Callable[[Path], object]
) -> list[str]:
    """Collect the endings that masks add to image stems, most frequent first: `_mask`, ""."""
    endings: Counter = Counter({"": 0})
    for image in images[:50]:
        for stem in _image_stems(image):
            for other in partners.get(room(image), ()):
                if other.startswith(stem) and not other[len(stem) :][:1].isdigit():
                    endings[other[len(stem) :]] += 1
    return [ending for ending, _ in endings.most_common(6)]


def _image_stems(image: Path) -> list[str]:
    stem = same_name(image.stem)
    return [stem.removesuffix(e) for e in _IMAGE_ENDINGS if stem.endswith(e)][::-1]


def _partner(
    image: Path,
    partners: dict[object, dict[str, Path]],
    endings: list[str],
    room: Callable[[Path], object],
) -> Path | None:
    stems = partners.get(room(image), {})
    for stem in _image_stems(image):
        for ending in endings:
            if stem + ending in stems:
                return stems[stem + ending]
    return None


def _lone(export: Export, image: Path, masks: list[Path]) -> str:
    stem = same_name(image.stem)
    names = {mask: same_name(mask.stem) for mask in masks}
    near = next((m for m, name in names.items() if name.startswith(stem)), None) or next(
        (m for m, name in names.items() if name.endswith(stem)), None
    )
    told = f" (near: {export.relative(near)})" if near is not None else ""
    return (
        f"{image}: image without a mask{told}; add it, or move the image out of the folder; "
        f"needed: {NEEDED}"
    )
