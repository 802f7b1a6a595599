"""Scores and pictures of the network during training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast
from torch import nn
from torch.utils.data import Subset

from conventions.preprocessing import Preprocessing
from datasets.sampling import SeededDataset, derive_seed
from eval.evaluator import evaluate, evaluation_loader
from eval.inference import predict_labels
from eval.reporting.pictures import (
    add_legend,
    colorize,
    legend_entries,
    overlay,
    spread,
    titled_row,
)
from train.data import Data, Split, seen_by_teacher
from train.run import Run
from train.teacher import FrozenTeacher, TeacherEnsemble

PICTURES = 4


class Validator:
    """Evaluates one network on the splits of a run, distributed over its processes."""

    def __init__(self, run: Run, network: nn.Module, data: Data) -> None:
        self.run = run
        self.network = network
        self.data = data

    def scores(self) -> dict:
        """Scores on the validation split; with `--iouTrain` also the training split's mIoU."""
        scores = {} if self.data.val is None else self.evaluate(self.data.val)
        if self.run.options.logging.iouTrain:
            scores["train_miou"] = self.evaluate(self.data.train_plain)["miou"]
        return scores

    def evaluate(self, dataset: Split, preprocessing: Preprocessing | None = None) -> dict:
        """Scores on a split, as returned by `SegmentationMetrics.compute`."""
        accelerator = self.run.accelerator
        # BatchNorm's running statistics differ between processes; those of the first process are
        # saved, so these are evaluated.
        for buffer in self.network.buffers():
            broadcast(buffer)
        # The processes' images are disjoint, so their confusion matrices add up to that of a
        # single process.
        share = range(accelerator.process_index, len(dataset), accelerator.num_processes)
        workers = min(self.run.options.data.num_workers, len(share))
        loader = evaluation_loader(Subset(dataset, share), workers)
        metrics = evaluate(
            self.network,
            loader,
            num_classes=self.data.labels.outputs,
            ignore_index=self.data.labels.ignored,
            preprocessing=preprocessing or self.data.preprocessing,
            device=accelerator.device,
            progress=accelerator.is_main_process,
            reduce=lambda matrix: accelerator.reduce(matrix, "sum"),
        )
        return metrics.compute()

    def pictures(self) -> dict[str, np.ndarray]:
        """Rows of image, label, prediction and overlay by name, for a few validation images.

        These are evenly spread over the split. With `--visualize_outimages`, also for the first
        training images, augmented as in training.
        """
        samples = {}
        if self.data.val is not None:
            shown = (self.data.val[i] for i in spread(len(self.data.val), PICTURES))
            samples = {sample["name"]: sample for sample in shown}
        if self.run.options.logging.visualize_outimages:
            train = SeededDataset(self.data.train)
            shown = (
                train[i, derive_seed(self.run.options.run.seed, i)]
                for i in range(min(PICTURES, len(train)))
            )
            samples |= {f"augmented-{sample['name']}": sample for sample in shown}
        return {name: self._picture(sample) for name, sample in samples.items()}

    @torch.inference_mode()
    def _picture(self, sample: Mapping[str, Any]) -> np.ndarray:
        image, label = sample["image"], sample["label"]
        was_training = self.network.training
        self.network.eval()
        batch = image[None].to(self.run.accelerator.device)
        size = tuple(image.shape[-2:])
        prediction = predict_labels(self.network, batch, self.data.preprocessing, size)[0].cpu()
        self.network.train(was_training)
        photo = image.permute(1, 2, 0).numpy()
        palette = self.data.palette
        row = titled_row(
            {
                "image": photo,
                "label": colorize(label.numpy(), palette),
                "prediction": colorize(prediction.numpy(), palette),
                "overlay": overlay(photo, prediction.numpy(), palette),
            }
        )
        return add_legend(row, legend_entries(self.data.classes, palette))


def announce_teacher(run: Run, teacher: FrozenTeacher | TeacherEnsemble, data: Data) -> None:
    """Print the mIoU of each teacher on the validation split, unless `--teacher-val false`."""
    if not run.options.of_distillation.teacher_val or data.val is None:
        return
    if isinstance(teacher, TeacherEnsemble):
        for member in teacher.teachers:
            announce_teacher(run, member, data)
        return
    other_classes = teacher.classes and tuple(teacher.classes) != tuple(data.classes)
    if other_classes or teacher.network.num_classes != len(data.classes):
        return  # allowed if only features are distilled, but its classes cannot be scored here
    images = seen_by_teacher(run, data.val)
    scores = Validator(run, teacher.network, data).evaluate(images, teacher.preprocessing)
    run.accelerator.print(f"teacher's mIoU: {scores['miou']:.4f}")
