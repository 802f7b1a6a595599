"""The adapters of SEKD and TransKD, layer by layer as published, to reproduce their tables.

The papers' Params and FLOPs columns include the adapters that a method trains with the student.
They are counted from this list and not from `losses/`: evaluation may import models and data sets
only, and optimising a method there must not change the published counts. A test compares the list
with the parameters of the real adapters.
"""

from collections.abc import Callable, Sequence

from eval.complexity import Cost, Layer, join

FUSED = 64  # width between the two convolutions of FEF and of CSF
SQUEEZED = 32  # width within CSF's selection
REDUCTION = 16  # ratio in CBAM's channel attention
STRIDES = (4, 8, 16, 32)

Widths = Sequence[int]


def no_adapters(student: Widths, teacher: Widths, height: int, width: int) -> Cost:
    """A network trained without distillation."""
    return Cost()


def sekd(student: Widths, teacher: Widths, height: int, width: int) -> Cost:
    """SEKD, all variants: FEF on features, a linear projection of embeddings, per stage."""
    sizes = _pixels(height, width)
    stages = zip(student, teacher, sizes, strict=True)
    return join([*(_fef(*stage) for stage in stages), _projections(student, teacher, sizes)])


def transkd_base(student: Widths, teacher: Widths, height: int, width: int) -> Cost:
    """TransKD-Base: CSF over the features, a linear projection of embeddings per stage."""
    sizes = _pixels(height, width)
    stages = list(zip(student, teacher, sizes, strict=True))
    fusion = [_csf(*stage, coarsest=stage is stages[-1]) for stage in stages]
    return join([*fusion, _projections(student, teacher, sizes)])


def transkd_gl(student: Widths, teacher: Widths, height: int, width: int) -> Cost:
    """TransKD-GL: Base, and attention beside two gated 1-D convolutions on the last embedding."""
    wide, pixels = student[-1], _pixels(height, width)[-1]
    mixer = [
        _linear(wide, 3 * wide, pixels, bias=False),
        _linear(wide, wide, pixels),
        *[_conv(wide, wide, 3, pixels, bias=True)] * 2,
        Cost(parameters=2),
    ]
    return join([transkd_base(student, teacher, height, width), *mixer])


def transkd_ea(student: Widths, teacher: Widths, height: int, width: int) -> Cost:
    """TransKD-EA: Base, and patch embeddings of the teacher's widths fed by the student."""
    sources = zip((3, *student), teacher, (49, 9, 9, 9), _pixels(height, width), strict=False)
    embeddings = [
        part
        for source, target, taps, pixels in sources
        for part in (_conv(source, target, taps, pixels, bias=True), _norm(target, pixels))
    ]
    weights = Cost(parameters=2 * len(STRIDES))
    return join([transkd_base(student, teacher, height, width), *embeddings, weights])


ADAPTERS: dict[str, Callable[[Widths, Widths, int, int], Cost]] = {
    "none": no_adapters,
    "sekd": sekd,
    "transkd-base": transkd_base,
    "transkd-gl": transkd_gl,
    "transkd-ea": transkd_ea,
}


def _fef(source: int, target: int, pixels: int) -> Cost:
    squeeze = [_conv(source, FUSED, 1, pixels), _norm(FUSED, pixels), _relu(FUSED, pixels)]
    widen = [_conv(FUSED, target, 9, pixels), _norm(target, pixels)]
    return join([*squeeze, _cbam(FUSED, pixels), *widen, _cbam(target, pixels)])


def _cbam(width: int, pixels: int) -> Cost:
    hidden = width // REDUCTION
    mlp = join([_conv(width, hidden, 1, 1), _relu(hidden, 1), _conv(hidden, width, 1, 1)])
    # The MLP is shared by average and maximum pooling.
    again = Cost(0, mlp.layers)
    return join([_pool(width, pixels), mlp, again, _conv(2, 1, 49, pixels)])


def _csf(source: int, target: int, pixels: int, coarsest: bool) -> Cost:
    reduce = [_conv(source, FUSED, 1, pixels), _norm(FUSED, pixels)]
    widen = [_conv(FUSED, target, 9, pixels), _norm(target, pixels)]
    return join([*reduce, *([] if coarsest else [_selection(pixels)]), *widen])


def _selection(pixels: int) -> Cost:
    squeeze = join([_conv(FUSED, SQUEEZED, 1, 1), _norm(SQUEEZED, 1), _relu(SQUEEZED, 1)])
    # The layer has two squeezes, of which only one is run, depending on the batch size.
    unused = Cost(_conv(FUSED, SQUEEZED, 1, 1).parameters)
    select = [_conv(SQUEEZED, FUSED, 1, 1, bias=True)] * 2
    return join([_pool(FUSED, pixels), squeeze, unused, *select])


def _projections(student: Widths, teacher: Widths, sizes: Sequence[int]) -> Cost:
    return join(_linear(*stage) for stage in zip(student, teacher, sizes, strict=True))


def _pixels(height: int, width: int) -> list[int]:
    return [-(-height // stride) * -(-width // stride) for stride in STRIDES]


def _conv(source: int, target: int, taps: int, pixels: int, bias: bool = False) -> Cost:
    products = source * taps
    layer = Layer("conv", source * pixels, target * pixels, products, bias)
    return Cost(target * (products + bias), (layer,))


def _linear(source: int, target: int, pixels: int, bias: bool = True) -> Cost:
    layer = Layer("linear", source * pixels, target * pixels, source, bias)
    return Cost(target * (source + bias), (layer,))


def _norm(width: int, pixels: int) -> Cost:
    return Cost(2 * width, (Layer("norm", width * pixels, width * pixels),))


def _relu(width: int, pixels: int) -> Cost:
    return Cost(0, (Layer("relu", width * pixels, width * pixels),))


def _pool(width: int, pixels: int) -> Cost:
    return Cost(0, (Layer("pool", width * pixels, width),))
