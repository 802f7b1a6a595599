"""Evaluation of a network on a split, shared by the training loop and eval.py."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from command_line.memory import memory_advice
from command_line.progress import progress as show_progress
from conventions.preprocessing import Preprocessing
from datasets.transforms import collate
from datasets.workers import leave_signals_to_parent
from eval.inference import (
    WHOLE,
    Inference,
    Network,
    predict_labels,
    predict_logits,
    upsample_argmax,
)
from eval.metrics import SegmentationMetrics

Observer = Callable[[str, Tensor], None]


def all_of(*observers: Observer | None) -> Observer:
    """Return an observer that passes each prediction to all observers that are not None."""

    def observe(name: str, prediction: Tensor) -> None:
        for observer in observers:
            if observer is not None:
                observer(name, prediction)

    return observe


def evaluation_loader(
    dataset: Dataset, num_workers: int, batch_size: int = 1, pin_memory: bool = False
) -> DataLoader:
    """Return a loader over a split, in order; a batch size of 1 suits images of varying size."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=collate,
        worker_init_fn=leave_signals_to_parent,
        pin_memory=pin_memory,
    )


class Metric(Protocol):
    """A metric in addition to the confusion matrix, such as `eval.boundary.BoundaryMetrics`."""

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Add class maps (B, H, W) of the same size, on the network's device."""


def evaluate(
    model: nn.Module,
    loader: Iterable[dict[str, Any]],
    *,
    num_classes: int,
    ignore_index: int,
    preprocessing: Preprocessing,
    device: torch.device | str,
    progress: bool = True,
    reduce: Callable[[Tensor], Tensor] | None = None,
    observer: Observer | None = None,
    inference: Inference = WHOLE,
    also: Sequence[Metric] = (),
) -> SegmentationMetrics:
    """Run the network over a loader and score every labelled pixel at the label's own size.

    Under `--protocol paper` the labels have a quarter of the image's size, which is the
    network's output size, so that nothing is upsampled.

    Args:
        model: network on `device`; switched to `eval()`, and its mode is restored afterwards.
        loader: batches of `datasets.transforms.collate`: `image` (B, 3, H, W) uint8, `label`
            (B, H', W') and `name`; lists if the sizes in a batch differ.
        num_classes: K.
        ignore_index: label value that is not scored.
        preprocessing: of the checkpoint, see `eval.inference.predict_logits`.
        device: of the network.
        progress: show a bar on a terminal, otherwise a line every few seconds.
        reduce: sums the (K, K) int64 matrix, on `device`, across processes.
        observer: called with each sample's name and (H', W') uint8 prediction.
        inference: whole images or sliding windows, see `eval.inference.Inference`.
        also: further metrics, updated with every prediction and label; not reduced.

    Returns:
        The metrics; `.compute()` returns the scores.

    Raises:
        ValueError: out of memory on a batch.
    """
    metrics = SegmentationMetrics(num_classes, ignore_index)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for batch in counted(loader, hidden=not progress):
                for names, prediction, label in _predict(
                    model, batch, preprocessing, device, inference
                ):
                    label = label.to(device, non_blocking=True)
                    for metric in (metrics, *also):
                        metric.update(prediction, label)
                    if observer is not None:
                        for name, sample in zip(names, prediction, strict=True):
                            observer(name, sample)
    finally:
        model.train(was_training)
    if reduce is not None:
        metrics.matrix = reduce(metrics.matrix.to(device)).cpu()
    return metrics


def counted(loader: Iterable[dict[str, Any]], hidden: bool) -> Iterator[dict[str, Any]]:
    """Yield the batches of a loader and show the progress in images."""
    dataset = getattr(loader, "dataset", None)
    total = None if dataset is None else len(dataset)
    with show_progress("evaluate", "image", total, hidden) as bar:
        for batch in loader:
            yield batch
            bar.update(len(batch["name"]))


def _predict(
    model: Network,
    batch: dict[str, Any],
    preprocessing: Preprocessing,
    device: torch.device | str,
    inference: Inference,
) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """Yield (names, predictions, labels), maps (b, H', W'), for parts of the batch of one size."""
    names, images, labels = batch["name"], batch["image"], batch["label"]
    with memory_advice(
        f"evaluating {names[0]} needs more memory than there is: pass a smaller --batch-size or "
        "--image-size"
    ):
        if isinstance(images, list):
            for name, image, label in zip(names, images, labels, strict=True):
                image = image[None].to(device, non_blocking=True)
                prediction = predict_labels(model, image, preprocessing, label.shape, inference)
                yield [name], prediction, label[None]
            return
        images = images.to(device, non_blocking=True)
        if isinstance(labels, Tensor):
            size = labels.shape[-2:]
            yield names, predict_labels(model, images, preprocessing, size, inference), labels
            return
        logits = predict_logits(model, images, preprocessing, inference=inference)
        for index, label in enumerate(labels):
            prediction = upsample_argmax(logits[index : index + 1], label.shape)
            yield [names[index]], prediction, label[None]
