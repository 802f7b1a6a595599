"""The splits of a run, with the transforms that its flags select."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

from torch.utils.data import Subset

from conventions.labels import VOID, VOID_NAME
from conventions.preprocessing import UNNORMALISED, Preprocessing
from datasets import DATASETS, SegmentationDataset, build_dataset
from datasets.base import LabelSpace, Sample
from datasets.cache import keep_in_memory
from datasets.suspicions import note_first_look
from datasets.tolerance import TolerantDataset
from datasets.transforms import EvalTransform, PaperTransform, TrainTransform
from datasets.unlabelled import Photographs, Unlabelled, find_photographs
from datasets.views import ViewedDataset
from models.saving import software_versions
from train.options import DataOptions
from train.options.distillation import REST
from train.run import Run

Split = SegmentationDataset | Subset[Sample]
VOID_OUTPUT_COLOUR = (0, 0, 0)


@dataclass
class Data:
    """The splits of one run, and the metadata that networks and checkpoints need.

    `unlabelled` holds images without labels to train on in addition to `train`.

    `classes` and `palette` describe the network's outputs; `labels` describes the ids in label
    maps. If `labels` ignores one of the outputs, that output is void.
    """

    train: Split | ViewedDataset | TolerantDataset
    train_plain: Split
    val: Split | None
    test: Split | None
    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    labels: LabelSpace
    preprocessing: Preprocessing
    unlabelled: Unlabelled | TolerantDataset | None = None

    @property
    def scored(self) -> tuple[str, ...]:
        """The classes that are scored: all but void."""
        return tuple(c for index, c in enumerate(self.classes) if index != self.labels.ignored)


def seen_by_teacher(run: Run, split: Split) -> Split:
    """A split of whole images, at the size of `--teacher-image-size` if that is given."""
    size = run.options.of_distillation.teacher_image_size
    if size is None:
        return split
    return _with(EvalTransform(None if isinstance(size, str) else size), split)


def build_data(run: Run) -> Data:
    """Read the file lists of all splits and choose the transforms.

    Raises:
        ValueError, OSError: errors of the data set, or too few images for one batch.
    """
    options, batch_size = run.options.data, run.options.optimisation.batch_size
    known = DATASETS[options.dataset]
    train_split = options.train_split or known.default_train_split
    val_split = options.val_split or known.default_val_split

    def split(name: str, limit: int | None) -> Split:
        dataset = build_dataset(options.dataset, options.datadir, name, classes=options.classes)
        return dataset if limit is None else Subset(dataset, range(min(limit, len(dataset))))

    train = split(train_split, options.limit_train)
    labelled = batch_size - run.options.unlabelled_per_batch
    images_a_step = labelled * run.accelerator.num_processes
    if len(train) < images_a_step:
        raise ValueError(
            f"--batch-size {batch_size} on {run.accelerator.num_processes} process(es) "
            f"needs {images_a_step} images, but '{train_split}' has {len(train)}"
        )
    declared = _declared(train)
    labels = declared.label_space(options.protocol)
    train_transform, plain_transform, preprocessing = _transforms(options, labels.outputs)
    with_void = labels.outputs > declared.num_classes
    val = split(val_split, options.limit_val) if run.options.logging.iouVal else None
    if options.cache == "ram":
        _keep_in_memory(run, [train] if val is None else [train, val])
    augmented = _views(run, train, train_transform)
    unlabelled = _unlabelled(run, train_split, val_split, train_transform)
    data = Data(
        train=TolerantDataset(augmented) if options.skips_bad else augmented,
        train_plain=_with(plain_transform, train),
        val=None if val is None else _with(plain_transform, val),
        test=_with(plain_transform, split(options.test_split, None))
        if options.test_split
        else None,
        name=options.dataset,
        classes=(*declared.classes, VOID_NAME) if with_void else tuple(declared.classes),
        palette=(*declared.palette, VOID_OUTPUT_COLOUR) if with_void else declared.palette,
        labels=labels,
        preprocessing=preprocessing,
        unlabelled=TolerantDataset(unlabelled) if unlabelled and options.skips_bad else unlabelled,
    )
    _announce(run, data, train_split, val_split)
    if options.dataset == "VOC":  # the user's own data; all others are published data sets
        looked_at = {train_split: train} if val is None else {train_split: train, val_split: val}
        note_first_look({name: _declared(part) for name, part in looked_at.items()})
    return data


def _views(run: Run, train: Split, transform: Callable) -> Split | ViewedDataset:
    """Apply the training transform; with `--kd-cache`, samples also hold image index and view."""
    if not run.options.caches_teacher:
        return _with(transform, train)
    assert isinstance(transform, TrainTransform)
    return ViewedDataset(train, transform.with_view)


def _unlabelled(
    run: Run, train_split: str, val_split: str, transform: Callable
) -> Unlabelled | None:
    """Open the images of `--unlabelled`; validation and test images among them are an error."""
    options, distillation = run.options.data, run.options.distillation
    if distillation is None or distillation.unlabelled is None:
        return None

    def split(name: str) -> SegmentationDataset:
        return build_dataset(options.dataset, options.datadir, name, classes=options.classes)

    if distillation.unlabelled == REST:
        train = split(train_split)
        assert options.limit_train is not None
        rest = range(options.limit_train, len(train))
        if not rest:
            raise ValueError(f"--unlabelled rest: --limit-train leaves none of {len(train)} images")
        return Unlabelled(Subset(train, rest), transform)
    held_out: list[Path] = []
    for name in {val_split, options.test_split or "test"}:
        with suppress(FileNotFoundError, ValueError):  # no such split
            held_out += [image for image, _ in split(name).pairs]
    paths = find_photographs(Path(distillation.unlabelled), held_out)
    return Unlabelled(Photographs(paths), transform)


def files_of(data: Data) -> list[Path]:
    """Image and label files of the training and validation splits."""
    splits = [part for part in (data.train_plain, data.val) if part is not None]
    pairs = (pair for split in splits for pair in _declared(split).pairs)
    return [path for pair in pairs for path in pair]


def names_of(split: Split) -> list[str]:
    """Names of the images of a split, in order."""
    names = _declared(split).names
    return [names[index] for index in _indices(split)]


def _declared(dataset: Split) -> SegmentationDataset:
    declared = dataset.dataset if isinstance(dataset, Subset) else dataset
    assert isinstance(declared, SegmentationDataset)
    return declared


def _with(transform: Callable, dataset: Split) -> Split:
    """Copy a split with another transform, without listing its files again."""
    declared = copy(_declared(dataset))
    declared.transform = transform
    return Subset(declared, dataset.indices) if isinstance(dataset, Subset) else declared


def _keep_in_memory(run: Run, splits: list[Split]) -> None:
    """Decode all images of the splits now, before loader workers start."""
    kept = sum(keep_in_memory(_declared(part), _indices(part)) for part in splits)
    images = sum(map(len, splits))
    run.accelerator.print(f"cache: {images} decoded images, {kept / 1e9:.2f} GB in memory")


def _indices(dataset: Split) -> Sequence[int]:
    return dataset.indices if isinstance(dataset, Subset) else range(len(dataset))


def _announce(run: Run, data: Data, train_split: str, val_split: str) -> None:
    images = f"{data.name}: {len(data.train)} images in '{train_split}'"
    if data.val is not None:
        images += f", {len(data.val)} in '{val_split}', on which best.pth is chosen"
    run.accelerator.print(f"{images}; classes: {', '.join(data.classes)}")
    if data.unlabelled is not None:
        share = f"{run.options.unlabelled_per_batch} of {run.options.optimisation.batch_size}"
        run.accelerator.print(f"unlabelled: {len(data.unlabelled)} images, {share} per batch")
    if data.val is not None and val_split == "test":
        run.accelerator.print(
            "note: 'test' is the split that results are reported on. Report last.pth, or choose "
            "best.pth on held-out training images (--train-split fit --val-split val)"
        )
    _note_shared(run, data, train_split, val_split)
    if run.options.data.protocol == "paper":
        if unread := run.options.data.unread_by_paper:
            flags = ", ".join(unread)
            run.accelerator.print(f"without effect: --protocol paper does not read {flags}")
        warnings.warn(
            "--protocol paper: void pixels count as the last class and labels are shrunk to a "
            "quarter; compare its mIoU with published numbers only",
            stacklevel=2,
        )


def _note_shared(run: Run, data: Data, train_split: str, val_split: str) -> None:
    """Note images that are both trained on and scored."""
    options, distillation = run.options.data, run.options.distillation
    known = DATASETS[options.dataset]
    takes_rest = distillation is not None and distillation.unlabelled == REST
    trained = _images(_declared(data.train_plain) if takes_rest else data.train_plain)

    def shared(split: Split, name: str) -> str | None:
        both = _images(split) & trained
        return f"{len(both)} of {len(split)} images of '{name}' are trained on" if both else None

    # In the user's own data, `note_first_look` finds images that are in two lists.
    looked_at = options.dataset == "VOC" and train_split != val_split
    if data.val is not None and not looked_at and (told := shared(data.val, val_split)):
        run.accelerator.print(
            f"note: {told}, and best.pth is chosen on them: take --train-split "
            f"{known.default_train_split} --val-split {known.default_val_split}, or --iouVal false "
            "and report last.pth"
        )
    test_split = options.test_split
    if data.test is not None and test_split and (told := shared(data.test, test_split)):
        run.accelerator.print(
            f"note: {told}: the score of --test-split {test_split} will be too good; take a split "
            f"that shares no image with '{train_split}'"
        )


def _images(dataset: Split) -> set[Path]:
    pairs = _declared(dataset).pairs
    return {pairs[index][0] for index in _indices(dataset)}


def _transforms(options: DataOptions, outputs: int) -> tuple[Callable, Callable, Preprocessing]:
    """Return training transform, evaluation transform, and preprocessing for the checkpoint."""
    crop = (options.height, options.width)
    if options.protocol == "paper":
        shrunk = replace(UNNORMALISED, image_size=crop, protocol="paper")
        return PaperTransform(*crop, True, outputs), PaperTransform(*crop, False, outputs), shrunk
    size = options.evaluation_size
    train = TrainTransform(
        size,
        crop,
        scale_range=options.scale,
        flip=options.flip,
        rotate=options.rotate,
        photometric=options.photometric,
        shift=options.shift,
    )
    return train, EvalTransform(size), Preprocessing(image_size=size)


def checkpoint_info(run: Run, data: Data) -> dict:
    """Description of the run that is stored in its checkpoints, without scores."""
    return {
        "classes": list(data.classes),
        "palette": [list(colour) for colour in data.palette],
        "ignore_index": VOID,
        "dataset": data.name,
        "preprocessing": data.preprocessing.plain(),
        "method": run.options.method,
        "args": run.options.saved(),
        "seed": run.options.run.seed,
        "versions": software_versions("accelerate"),
    }
