"""Build networks from files or load files into networks, in any format of `models/formats.py`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import keys
from models.formats import CLASSIFIER, CLASSIFIER_PREFIX, Weights, compare, infer_architecture
from models.growing import grow
from models.reading import full_info, read_weights
from models.registry import build_model, resolve_name
from models.segmenter import Segmenter
from models.shipped import NAME as SHIPPED
from models.shipped import find_start

MOST_PARAMETERS = 1 << 28  # three times the largest known network; 1 GiB


def load_checkpoint(
    path: str | Path,
    model: str | None = None,
    num_classes: int | None = None,
    map_location: str | torch.device = "cpu",
    replace_classifier: bool = False,
    resume: bool = False,
) -> tuple[Segmenter, dict[str, Any]]:
    """Build the network that a file holds and load its weights, strictly.

    Args:
        path: anything that `models.files.resolve` takes.
        model: the name that the network must have, in any case; None accepts what the file holds.
        num_classes: the class count that it must have. Required for a file with only an encoder,
            for which the head keeps its fresh weights.
        map_location: device of the tensors and of the network.
        replace_classifier: if the class count differs from `num_classes`, keep a fresh classifier
            instead of raising.
        resume: also return `training`, the state needed to resume; with the optimizer's state it
            is twice as large as the network, and of no use for evaluation.

    Returns:
        The network in eval mode, and the file's metadata: the entries of
        `models.reading.INFO`, `format` (of `models.formats.FORMATS`), `architecture` and
        `overrides`. `adapters` has the keys used in the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another architecture or class count; for keys that are missing, unexpected
            or of another shape; for a file that cannot be read.
    """
    weights = read_weights(path, map_location, model)
    name, overrides = infer_architecture(weights)
    if model is not None:
        _check_name(weights.source, name, resolve_name(model))
    dropped = _dropped_prefixes(weights, num_classes, replace_classifier)
    count = num_classes or weights.num_classes
    assert count is not None  # `_dropped_prefixes` raises otherwise
    network = _build(weights.source, name, count, overrides)
    fresh = {key: v for key, v in network.state_dict().items() if key.startswith(dropped)}
    found = {key: value for key, value in weights.state.items() if not key.startswith(dropped)}
    _load_strictly(network, fresh | found, weights.source, name)
    if not resume:
        weights.info.pop("training", None)
    info = full_info(weights) | {"architecture": name, "overrides": overrides}
    return network.to(map_location).eval(), info


def _build(source: str, name: str, num_classes: int, overrides: dict[str, Any]) -> Segmenter:
    """Build the network that a file describes, after checking its size.

    Raises:
        ValueError: there is no such network, or it would be too large.
    """
    try:
        with torch.device("meta"):
            planned = build_model(name, num_classes, **overrides)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"{source}: damaged: no {name} can be built of its 'overrides': {error}"
        ) from error
    size = sum(parameter.numel() for parameter in planned.parameters())
    if size > MOST_PARAMETERS:
        raise ValueError(f"{source}: damaged: its 'overrides' describe {size} parameters")
    return build_model(name, num_classes, **overrides)


def _dropped_prefixes(weights: Weights, num_classes: int | None, replace: bool) -> tuple[str, ...]:
    """Return prefixes of the keys that keep the network's fresh weights."""
    found = weights.num_classes
    if not weights.has_head:
        if num_classes is None:
            raise ValueError(
                f"{weights.source}: holds an encoder without a head: give it to --pretrained, or "
                "say --num-classes for a fresh head"
            )
        return ("head.",)
    if found is None:
        raise ValueError(f"{weights.source}: 1 missing: {CLASSIFIER}")
    if num_classes in (None, found):
        return ()
    if not replace:
        raise ValueError(
            f"{weights.source}: its classifier knows {found} classes, not {num_classes}: take a "
            "checkpoint of the same classes, or only its encoder, with --pretrained"
        )
    return (CLASSIFIER_PREFIX,)


def _load_strictly(module: nn.Module, state: dict[str, Tensor], source: str, name: str) -> None:
    if difference := compare(state, module.state_dict()):
        raise ValueError(f"{source}: does not fit {name}: {difference}")
    module.load_state_dict(state)


def load_backbone(model: Segmenter, path: str | Path) -> dict[str, Any]:
    """Load the encoder that a file holds into `model`, strictly; the head is not changed.

    Args:
        model: changed in place.
        path: anything that `models.files.resolve` takes: an ImageNet backbone, or any whole
            network.

    Returns:
        The file's metadata, see `models.reading.full_info`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the encoder does not fit.
    """
    weights = read_weights(path, model=model.name)
    encoder = keys.without_prefix(weights.state, "encoder.")
    if difference := compare(encoder, model.encoder.state_dict()):
        _check_name(weights.source, infer_architecture(weights)[0], model.name)
        raise ValueError(
            f"{weights.source}: does not fit the encoder of {model.name}: {difference}"
        )
    model.encoder.load_state_dict(encoder)
    return full_info(weights)


def _check_name(source: str, name: str, wanted: str) -> None:
    if name != wanted:
        raise ValueError(
            f"{source}: holds {name}, not {wanted}: pass --model {name}, or another file"
        )


def load_start(model: Segmenter, path: str | Path, classes: Sequence[str]) -> dict[str, Any]:
    """Load a whole network into `model` for training; other classes keep a fresh classifier.

    Args:
        model: changed in place.
        path: anything that `models.files.resolve` takes; `fields` for a network that has
            none of its own is a smaller one's, grown.
        classes: names of the classes of `model`, by class id; case does not matter.

    Returns:
        The file's metadata, see `models.reading.full_info`; `architecture`, the network
        that it holds; and `fresh_classifier`, whether its classifier was left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds another network.
    """
    grows = str(path) == SHIPPED
    weights = read_weights(find_start(model.name) if grows else path, model=model.name)
    name, overrides = infer_architecture(weights)
    info = full_info(weights)
    state = weights.state
    if grows and name != model.name:
        state = _grown_state(weights, name, overrides, model)
    else:
        _check_name(weights.source, name, model.name)
    same = list(map(str.casefold, info["classes"] or ())) == list(map(str.casefold, classes))
    fresh = {} if same else model.state_dict()
    kept = {key: value for key, value in fresh.items() if key.startswith(CLASSIFIER_PREFIX)}
    _load_strictly(model, state | kept, weights.source, model.name)
    return info | {"architecture": name, "fresh_classifier": not same}


def _grown_state(
    weights: Weights, name: str, overrides: dict[str, Any], model: Segmenter
) -> dict[str, Tensor]:
    """The weights of a smaller network, grown to the size of `model`, with their own classes."""
    assert weights.num_classes is not None
    small = _build(weights.source, name, weights.num_classes, overrides)
    _load_strictly(small, weights.state, weights.source, name)
    large = build_model(model.name, small.num_classes, **model.overrides)
    grow(small, large)
    return large.state_dict()
