"""Naming and splitting of imported samples."""

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from datasets.files import same_name
from datasets.importing.folder_words import says_role
from datasets.importing.places import Export
from datasets.importing.records import Sample
from datasets.layout import SPLIT_NAMES, split_folders, split_names

RATIO = (0.8, 0.1, 0.1)
Splits = dict[str, list[str]]


def name_samples(export: Export, samples: Sequence[Sample]) -> list[str]:
    """Name images by their paths, without folders whose names only mean `images` or a split.

    If two names would be equal, all names keep all folders.

    Raises:
        ValueError: an image is listed twice, or two paths differ in suffix or case only.
    """
    paths = [export.relative(sample.image).with_suffix("") for sample in samples]
    short = [PurePosixPath(*(p for p in path.parts[:-1] if not says_role(p)), path.name)
             for path in paths]  # fmt: skip
    for candidates in (short, paths):
        names = [str(path) for path in candidates]
        if len({same_name(name) for name in names}) == len(names):
            return names
    seen: dict[str, Sample] = {}
    for name, sample in zip(names, samples, strict=True):
        if other := seen.get(same_name(name)):
            raise ValueError(
                f"{sample.label}: image {sample.image.name} has the name of {other.image}; is it "
                "labelled twice? Rename or remove one"
            )
        seen[same_name(name)] = sample
    raise AssertionError("one of the names was there before")


def deal(
    names: Sequence[str],
    given: Sequence[str | None],
    ratio: Sequence[float] | None,
    seed: int,
    by_folder: bool,
) -> tuple[Splits, str]:
    """Keep the splits of the source, or split the names at random.

    Args:
        names: of all samples.
        given: each sample's split in the source, or None.
        ratio: shares to split by; None keeps the source's splits if they are complete.
        seed: of the random split.
        by_folder: whether to keep folders, or series of numbered names, together.

    Returns:
        The names by split, and a line that describes where the splits come from.

    Raises:
        ValueError: see `split_names`; or `by_folder` for a source with splits, without a ratio.
    """
    found: Splits = {}
    for name, split in zip(names, given, strict=True):
        found.setdefault(split or "", []).append(name)
    shares: Callable[..., Splits] = split_folders if by_folder else split_names
    how = f"seed {seed}" + (", folders kept together" if by_folder else "")
    kept = {name: sorted(found[name]) for name in SPLIT_NAMES if name in found}
    if ratio is None and "" not in found and {"train", "val"} <= kept.keys():
        if by_folder:
            raise ValueError(
                "--by-folder: the source says which images are train and val; add --ratio 0.8 0.1 "
                "0.1 to split them anew, or leave it out"
            )
        return kept, "splits: as in the source"
    if ratio is None and "" not in found and {"train", "test"} <= kept.keys():
        parts = shares(kept["train"], RATIO[:2], seed)
        return parts | {
            "test": kept["test"]
        }, f"splits: as in the source, val drawn from train ({how})"
    return shares(list(names), ratio or RATIO, seed), f"splits: drawn at random ({how})"
