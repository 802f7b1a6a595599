"""Int8 graphs for ONNX Runtime, calibrated on images."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

from datasets import build_dataset
from datasets.synthetic import Synthetic
from datasets.transforms import normalize
from eval.subject import Subject

CALIBRATION_IMAGES = 32
QUANTIZED = ["Conv", "MatMul"]


def calibration_images(subject: Subject, count: int, raw: bool = False) -> Iterator[Tensor]:
    """Yield inputs of the graph, spread over the data set's training split.

    Args:
        subject: network, preprocessing and data set.
        count: largest number of images; fewer if the split has fewer.
        raw: yield uint8 RGB instead of normalised floats.

    Yields:
        (1, 3, H, W), at the size that the subject's images are resized to.
    """
    dataset = subject.dataset
    drawn = isinstance(dataset, Synthetic) and dataset.drawn
    root, split = None if drawn else dataset.root, dataset.default_train_split
    train = build_dataset(
        dataset.name, root, split, transform=dataset.transform, classes=list(dataset.classes)
    )
    count = min(count, len(train))
    for index in range(count):
        image = train[index * len(train) // count]["image"][None]
        if not raw:
            image = normalize(image, subject.preprocessing)
        yield image.contiguous()


class _Reader(CalibrationDataReader):
    """Passes images to ONNX Runtime one by one."""

    def __init__(self, images: Iterable[Tensor]) -> None:
        self.images = iter(images)

    def get_next(self) -> dict | None:
        """Return the next input of the graph, or None at the end."""
        image = next(self.images, None)
        return None if image is None else {"image": image.numpy()}


def quantize(graph: onnx.ModelProto, images: Iterable[Tensor]) -> onnx.ModelProto:
    """Quantise convolutions and linear layers to int8, statically.

    Weights get a scale per output channel, activations one per tensor from their extremes over the
    calibration images. Products of two activations (attention, upsampling), norms and GELU stay in
    float. Weights use 7 bits: processors without VNNI add pairs of products in 16 bits, which would
    saturate with 8.

    Args:
        graph: from `eval.deployment.deploy.to_onnx`.
        images: inputs of the graph, (1, 3, H, W) each.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, folded, target = (Path(folder, f"{name}.onnx") for name in ("in", "folded", "out"))
        onnx.save(graph, source)
        # Folds products of weights into single weights, as only weights are quantised.
        quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
        root, level = logging.getLogger(), logging.getLogger().level
        root.setLevel(logging.ERROR)
        try:
            quantize_static(
                str(folded),
                str(target),
                _Reader(images),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=QUANTIZED,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
        finally:
            root.setLevel(level)
        return onnx.load(target)
