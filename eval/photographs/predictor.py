"""Prediction on photographs of any size: resize, predict, resize back to the source's size."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from command_line.memory import memory_advice
from conventions.preprocessing import Preprocessing
from datasets.transforms import EvalTransform, scaled_size
from eval.inference import Inference, Network, predict_logits, upsample_argmax

MAX_PIXELS = 100_000_000  # of an image after upscaling for the network
MOST_UPSCALED = 128  # times; more is a strip, not a photograph


class Predictor:
    """A network with the preparation of its input and the resizing of its output."""

    def __init__(
        self,
        model: Network,
        preprocessing: Preprocessing,
        inference: Inference,
        device: torch.device,
    ) -> None:
        self.model = model
        self.preprocessing = preprocessing
        self.inference = inference
        self.device = device

    def prepare(self, image: Tensor) -> Tensor:
        """Resize an image (3, H, W) uint8 for the network; return it on its device as a batch.

        Raises:
            ValueError: a narrow strip, which would be too long after scaling its short side.
        """
        height, width = image.shape[-2:]
        rows, columns = scaled_size((height, width), self.preprocessing.image_size)
        too_large = rows * columns > max(MAX_PIXELS, height * width)
        if too_large or rows > MOST_UPSCALED * height:
            raise ValueError(
                f"{width} x {height} px would become {columns} x {rows} for the network: "
                "pass --image-size native"
            )
        prepared = EvalTransform(self.preprocessing.image_size).resize(image)
        return prepared[None].to(self.device)

    @torch.inference_mode()
    def __call__(self, image: Tensor, confidence: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Segment one image, (3, H, W) uint8.

        Returns:
            The class map (H, W) uint8 and, if wanted, the probability of that class, scaled to
            255; it is computed at the network's output resolution and upsampled.

        Raises:
            ValueError: out of memory, or see `prepare`.
        """
        size = image.shape[-2:]
        with memory_advice(
            f"{size[1]} x {size[0]} px need more memory than there is: pass --inference slide, "
            "or a smaller --window or --image-size"
        ):
            logits = predict_logits(
                self.model, self.prepare(image), self.preprocessing, inference=self.inference
            )
            label = upsample_argmax(logits, size)[0].cpu().numpy()
        if not confidence:
            return label, None
        highest = logits.softmax(1).amax(1, keepdim=True).mul_(255)
        highest = F.interpolate(highest, size, mode="bilinear", align_corners=False)
        return label, highest[0, 0].round_().to(torch.uint8).cpu().numpy()
