"""The subject of an evaluation: the network of a checkpoint, and a split of a data set."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from conventions.preprocessing import Preprocessing
from datasets import SegmentationDataset, build_dataset, find_dataset
from datasets.base import LabelSpace
from datasets.palettes import recolour
from datasets.transforms import EvalTransform, PaperTransform
from eval.exported.opening import LoadedNetwork, load_network
from eval.flags.inference import choose_inference
from eval.inference import WHOLE, Inference

DEFAULT_DATASET = "VOC"  # of the published code, whose files do not name their data set
PAPER_SIZE = (512, 512)


@dataclass
class Subject:
    """A network, its checkpoint's metadata, the split, and how its images are processed."""

    model: LoadedNetwork
    info: dict[str, Any]
    dataset: SegmentationDataset
    preprocessing: Preprocessing
    inference: Inference = WHOLE

    @property
    def labels(self) -> LabelSpace:
        """The ids in the split's label maps under the protocol."""
        return self.dataset.label_space(self.preprocessing.protocol)


def load_subject(args: argparse.Namespace, device: torch.device) -> Subject:
    """Load the checkpoint and open the split; flags override the checkpoint's metadata.

    Raises:
        ValueError, OSError: a file cannot be read, the data set is missing, or the network and the
            data set do not match.
    """
    inference = choose_inference(args)
    model, info = load_network(args, device)
    check_kind(args.state, info, args.distillation_type)
    if args.num_classes not in (None, model.num_classes):
        raise ValueError(
            f"--num-classes {args.num_classes}: {args.state} holds a network of "
            f"{model.num_classes} classes"
        )
    preprocessing = choose_preprocessing(args, info)
    dataset = open_dataset(args, info)
    check_classes(args.state, model, info, dataset, preprocessing.protocol)
    dataset.palette = recolour(
        dataset.classes, dataset.palette, getattr(args, "colors", None) or ()
    )
    size, protocol = preprocessing.image_size, preprocessing.protocol
    if protocol == "paper":
        assert isinstance(size, tuple)
        outputs = dataset.label_space(protocol).outputs
        dataset.transform = PaperTransform(*size, train=False, outputs=outputs)
    else:
        dataset.transform = EvalTransform(size)
    return Subject(model, info, dataset, preprocessing, inference)


def check_kind(state: str, info: dict[str, Any], wanted: str | None) -> None:
    """Raise if a file is known to contain something other than `--distillation-type`.

    Bare published files do not say whether they contain a teacher or a student, and are accepted.
    """
    if wanted is None or (kinds := _kinds(info)) is None or wanted in kinds:
        return
    raise ValueError(f"--distillation-type {wanted}: {state} holds a {' / '.join(kinds)} network")


def _kinds(info: dict[str, Any]) -> list[str] | None:
    """Return the kinds that describe a file, such as its method; None if it does not say."""
    if info["format"].startswith("published-"):
        return ["distilled", info["format"].removeprefix("published-")]
    if info["format"] != "sekd":
        return None
    if info["method"] in (None, "none"):
        stage = info["args"].get("stage")
        return None if stage is None else ["teacher" if stage == "teacher" else "student"]
    families = {part.split("-")[0] for part in info["method"].split("+")}
    return ["distilled", *sorted(families)]


def choose_preprocessing(args: argparse.Namespace, info: dict[str, Any]) -> Preprocessing:
    """Return the checkpoint's preprocessing, with image size and protocol overridden by flags.

    Mean and standard deviation belong to the weights and are never changed.
    """
    preprocessing = Preprocessing.read(info["preprocessing"])
    if args.protocol is not None:
        preprocessing = replace(preprocessing, protocol=args.protocol)
    if args.image_size is not None:
        size = None if args.image_size == "native" else args.image_size
        preprocessing = replace(preprocessing, image_size=size)
    size = preprocessing.image_size
    if preprocessing.protocol == "paper" and not isinstance(size, tuple):
        # The published code stretches every image to one size.
        size = PAPER_SIZE if size is None else (size, size)
        preprocessing = replace(preprocessing, image_size=size)
    return preprocessing


def open_dataset(args: argparse.Namespace, info: dict[str, Any]) -> SegmentationDataset:
    """Open the split named by flags, by default of the data set the checkpoint was trained on."""
    name = args.dataset or info["dataset"] or DEFAULT_DATASET
    declared = find_dataset(name)
    classes, known = args.classes, known_classes(info, declared)
    same = info["dataset"] is not None and declared is find_dataset(info["dataset"])
    if classes is None and (same or declared is find_dataset(DEFAULT_DATASET)):
        classes = known
    root = args.datadir or (_recorded_root(info) if same else None)
    if root is None and declared.name != "Synthetic":  # which is drawn, and needs no folder
        recorded = info["args"].get("datadir")
        gone = f" ({recorded}, where it was trained, is not here)" if recorded and same else ""
        raise ValueError(f"--datadir is needed: where is the data set {declared.name}?{gone}")
    return build_dataset(name, root, args.subset or declared.default_val_split, classes=classes)


def known_classes(info: dict[str, Any], declared: type[SegmentationDataset]) -> list[str] | None:
    """Class names of a checkpoint, without that of a void output."""
    names = info["classes"]
    if names and declared.adds_void(len(names)):
        return names[:-1]
    return names


def _recorded_root(info: dict[str, Any]) -> Path | None:
    recorded = info["args"].get("datadir")
    return Path(recorded) if recorded and Path(recorded).exists() else None


def check_classes(
    state: str,
    model: LoadedNetwork,
    info: dict[str, Any],
    dataset: SegmentationDataset,
    protocol: str,
) -> None:
    """Raise if a network's classes are not those of the data set, in the same order.

    An additional void output is dropped under the standard protocol, where void is not a class.
    """
    void = dataset.adds_void(model.num_classes)
    if void and protocol == "standard":
        model.keep_classes(dataset.num_classes)
    if model.num_classes != dataset.num_classes and not void:
        raise ValueError(
            f"{state} holds a network of {model.num_classes} classes, but {dataset.name} has "
            f"{dataset.num_classes} ({', '.join(dataset.classes)}): name the right --dataset, or, "
            "in VOC layout, the right --classes"
        )
    known = known_classes(info, type(dataset)) or dataset.classes
    names = [name.casefold() for name in known]
    if names != [name.casefold() for name in dataset.classes]:
        raise ValueError(
            f"{state} was trained on the classes {', '.join(known)}, but {dataset.name} "
            f"has {', '.join(dataset.classes)}"
        )
