"""Schema of checkpoint metadata, validated once on reading: later code can rely on the types."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)
from torch import Tensor

from conventions.labels import VOID

LARGEST = 4096  # maximum for channels, blocks and other sizes of a network

Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Byte = Annotated[StrictInt, Field(ge=0, le=255)]
Side = Annotated[StrictInt, Field(ge=1, le=1 << 16)]
Count = Annotated[StrictInt, Field(ge=0)]
# Numbers only: a network's builder may have arguments that take file names.
Size = Annotated[StrictInt | Finite, Field(ge=0, le=LARGEST)]
Plain = StrictBool | StrictInt | float | StrictStr | None
Nested = Plain | list[Plain] | list[list[Plain]] | dict[StrictStr, Plain | list[Plain]]


def _dense(tensor: Tensor) -> Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise ValueError("a tensor is sparse, quantised or complex")
    return tensor


def _readable(flags: dict[str, Any]) -> dict[str, Any]:
    """Check that the flags that other scripts than training read are text."""
    for name in ("stage", "datadir", "dataset", "method"):
        if not isinstance(flags.get(name), str | None):
            raise ValueError(f"'{name}' is not text")
    return flags


def _listed(overrides: dict[str, Any]) -> dict[str, Any]:
    """Check that per-stage values are lists; any other value is one number or a list."""
    for name in ("embed_dims", "depths"):
        if not isinstance(overrides.get(name, ()), tuple):
            raise ValueError(f"'{name}' is not a list")
    return overrides


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("a name has characters that cannot be printed")
    return name


Name = Annotated[StrictStr, AfterValidator(_printable)]
Weights = dict[StrictStr, Annotated[Tensor, AfterValidator(_dense)]]
Overrides = Annotated[
    dict[StrictStr, Size | Annotated[tuple[Size, ...], Field(max_length=16)]],
    AfterValidator(_listed),
]
Flags = Annotated[dict[StrictStr, Nested], AfterValidator(_readable)]


class PreprocessingEntries(BaseModel):
    """Entries of `conventions.preprocessing.Preprocessing`."""

    mean: Annotated[list[Finite | StrictInt], Field(min_length=3, max_length=3)]
    std: Annotated[
        list[Annotated[Finite | StrictInt, Field(gt=0)]], Field(min_length=3, max_length=3)
    ]
    image_size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    protocol: Literal["standard", "paper"] = "standard"


class Cost(BaseModel):
    """Entries of `eval.complexity.training_cost`."""

    params: Count
    flops: Count
    height: Side
    width: Side


class Description(BaseModel):
    """Entries of a checkpoint other than the network's weights; see `models.reading.INFO`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    format: StrictStr = "sekd"
    format_version: StrictInt = 0
    architecture: StrictStr | None = None
    overrides: Overrides | None = None
    classes: Annotated[list[Name], Field(min_length=1)] | None = None
    palette: list[Annotated[list[Byte], Field(min_length=3, max_length=3)]] | None = None
    ignore_index: Byte = VOID
    dataset: StrictStr | None = None
    preprocessing: PreprocessingEntries | None = None
    method: StrictStr | None = None
    args: Flags | None = None
    seed: StrictInt | None = None
    versions: dict[StrictStr, StrictStr] | None = None
    metrics: dict[StrictStr, Nested] | None = None
    training_cost: Cost | None = None
    adapters: Weights | None = None
    training: dict[StrictStr, Any] | None = None


WEIGHTS = TypeAdapter(Weights, config=ConfigDict(arbitrary_types_allowed=True))
FLAGS = TypeAdapter(Flags)


def check_description(content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the known entries of a checkpoint, with validated types.

    Raises:
        ValueError: an entry has another type; the message names it and the source.
    """
    found = checked(Description.model_validate, dict(content), source)
    return {name: _plain(getattr(found, name)) for name in found.model_fields_set}


def check_weights(state: Any, source: str) -> dict[str, Tensor]:
    """Return a state dict if it holds only names and dense tensors.

    Raises:
        ValueError: it holds something else; the message names that and the source.
    """
    return checked(WEIGHTS.validate_python, state, source)


def check_saved_flags(flags: Any, source: str) -> dict[str, Any]:
    """Return the saved flags of a run if they are plain values by name.

    Raises:
        ValueError: it holds something else; the message names that and the source.
    """
    return checked(FLAGS.validate_python, flags, source)


def checked(validate: Callable[[Any], Any], value: Any, source: str) -> Any:
    """Validate a value and return the result.

    Raises:
        ValueError: it is invalid; the message names the source and the first invalid entry.
    """
    try:
        return validate(value)
    except (ValidationError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise ValueError(f"{source}: its entries hold each other") from None
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"][:2])
        raise ValueError(
            f"{source}: damaged, or not written by this project: {place or 'it'}: {first['msg']}"
        ) from None


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
