"""Score a network on a split; the training loop and eval.py share it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from eval.inference import predict_labels, predict_logits, upsample_argmax
from eval.metrics import SegmentationMetrics

Observer = Callable[[str, Tensor], None]


def evaluate(
    model: nn.Module,
    loader: Iterable[dict[str, Any]],
    *,
    num_classes: int,
    ignore_index: int,
    preprocessing: dict[str, Any],
    device: torch.device | str,
    progress: bool | None = True,
    reduce: Callable[[Tensor], Tensor] | None = None,
    observer: Observer | None = None,
) -> SegmentationMetrics:
    """Run the network over a loader and count every labelled pixel at its label's own size.

    Under ``--protocol paper`` the labels come at a quarter of the image's size, which is the
    network's output size: the same rule then compares both without any upsampling.

    Args:
        model: network on ``device``; put in ``eval()`` and handed back in the mode it came in.
        loader: batches of `datasets.transforms.collate`: ``image`` (B, 3, H, W) uint8, ``label``
            (B, H', W') and ``name``; lists where the sizes in a batch differ.
        num_classes: K.
        ignore_index: label value kept out of the score.
        preprocessing: of the checkpoint, see `eval.inference.predict_logits`.
        device: where the network is.
        progress: show a bar; None shows it on a terminal only.
        reduce: sums the (K, K) int64 matrix, on ``device``, across processes.
        observer: called with each sample's name and (H', W') uint8 prediction.

    Returns:
        The metrics; ``.compute()`` gives the scores.
    """
    metrics = SegmentationMetrics(num_classes, ignore_index)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            hidden = None if progress is None else not progress
            for batch in tqdm(loader, desc="evaluate", leave=False, disable=hidden):
                for names, prediction, label in _predict(model, batch, preprocessing, device):
                    metrics.update(prediction, label.to(device, non_blocking=True))
                    if observer is not None:
                        for name, sample in zip(names, prediction, strict=True):
                            observer(name, sample)
    finally:
        model.train(was_training)
    if reduce is not None:
        metrics.matrix = reduce(metrics.matrix.to(device)).cpu()
    return metrics


def _predict(
    model: nn.Module,
    batch: dict[str, Any],
    preprocessing: dict[str, Any],
    device: torch.device | str,
) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """Yield (names, predictions, labels), (b, H', W') each, of parts that share one size."""
    names, images, labels = batch["name"], batch["image"], batch["label"]
    if isinstance(images, list):
        for name, image, label in zip(names, images, labels, strict=True):
            image = image[None].to(device, non_blocking=True)
            yield [name], predict_labels(model, image, preprocessing, label.shape), label[None]
        return
    images = images.to(device, non_blocking=True)
    if isinstance(labels, Tensor):
        yield names, predict_labels(model, images, preprocessing, labels.shape[-2:]), labels
        return
    logits = predict_logits(model, images, preprocessing)
    for index, label in enumerate(labels):
        prediction = upsample_argmax(logits[index : index + 1], label.shape)
        yield [names[index]], prediction, label[None]
