"""Build what a stage trains with: student, teacher, distiller and loss on labels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from conventions.preprocessing import Preprocessing
from datasets.class_statistics import class_frequencies, class_weights
from datasets.strong_views import StrongViews
from losses import build_method
from losses.distiller import Distiller
from models import MODELS, Segmenter, build_model, load_checkpoint
from models.files import resolve
from models.loading import load_backbone, load_start
from models.shipped import NAME as SHIPPED
from models.shipped import find_start as find_shipped_start
from train.cached_teacher import CachedTeacher
from train.data import Data, seen_by_teacher
from train.options import NetworkOptions
from train.precision import resolve_teacher_precision
from train.region_losses import HardPixelLoss, JaccardLoss, LovaszLoss, SummedLoss
from train.run import Run
from train.run_folder import find_teacher
from train.segmentation_loss import SegmentationLoss
from train.tasks import DistillationTask
from train.teacher import FrozenTeacher, TeacherEnsemble

CHECKPOINTS = Path(__file__).resolve().parents[1] / "ckpt_pretrained"


def build_student(run: Run, data: Data) -> Segmenter:
    """Build the network that this stage trains, and load its initial weights if any.

    Raises:
        ValueError, OSError: a file that cannot be read, or that holds another network.
    """
    options = run.options.network
    network = build_model(options.model, len(data.classes))
    if run.options.run.resume:
        return network
    whole = SHIPPED if options.pretrained == SHIPPED else options.initial_checkpoint
    if whole:
        info = load_start(network, whole, data.classes)
        grown = info["architecture"] != network.name
        told = f"weights: {whole}" + (f" ({info['architecture']}, grown)" if grown else "")
        if info["fresh_classifier"]:
            reason = "other classes" if info["classes"] else "the names of its classes are unknown"
            told += f", fresh classifier: {reason}"
        run.accelerator.print(told)
    elif options.pretrained:
        _load_encoder(run, network, options.pretrained)
    return network


def find_start(options: NetworkOptions) -> Path | None:
    """Find the file or folder of the initial weights of a network; None for random ones.

    Raises:
        FileNotFoundError: there is none of that name.
        ValueError: there are no `fields` weights for the network.
    """
    source = options.initial_checkpoint or options.pretrained
    if not source:
        return None
    if source == SHIPPED:
        return find_shipped_start(options.model)
    return imagenet_encoder(options.model) if source == "auto" else resolve(source, options.model)


def _load_encoder(run: Run, network: Segmenter, named: str) -> None:
    source = imagenet_encoder(network.name) if named == "auto" else named
    load_backbone(network, source)
    run.accelerator.print(f"encoder weights: {source}")


def imagenet_encoder(
    model: str, otherwise: str = "pass a file, a folder or a Hugging Face id"
) -> Path:
    """Find the file of a network's encoder with ImageNet weights.

    Raises:
        FileNotFoundError: it is missing; the message ends with what to do otherwise.
    """
    path = CHECKPOINTS / MODELS[model].sizes[model].pretrained
    if not path.is_file():
        raise FileNotFoundError(
            f"--pretrained: {path} is not there; {CHECKPOINTS.name}/README.md says where "
            f"it comes from, or {otherwise}"
        )
    return path


def find_teachers(run: Run, data: Data) -> Run:
    """Resolve `--teacher` to files; without it, take the newest teacher of the same data.

    Raises:
        FileNotFoundError: there is none.
    """
    options, distillation = run.options, run.options.of_distillation
    if distillation.teacher:
        paths = [resolve(teacher) for teacher in distillation.teacher]
    else:
        place = (options.run.savedir, options.data.dataset, options.data.datadir)
        paths = [find_teacher(*place, data.classes)]
    distillation = replace(distillation, teacher=tuple(map(str, paths)))
    return replace(run, options=replace(options, distillation=distillation))


def build_teacher(run: Run) -> FrozenTeacher | TeacherEnsemble:
    """Load the teacher that `find_teachers` found, or several as an ensemble, and print its name.

    Raises:
        ValueError: there are several, and their classes differ.
    """
    paths = run.options.of_distillation.teacher or ()
    teachers = [_load_teacher(run, path) for path in paths]
    return teachers[0] if len(teachers) == 1 else _ensemble(paths, teachers)


def _ensemble(paths: Sequence[str], teachers: Sequence[FrozenTeacher]) -> TeacherEnsemble:
    first = teachers[0]
    for path, other in zip(paths, teachers, strict=True):
        one, two = (list(t.classes or range(t.network.num_classes)) for t in (first, other))
        if one != two:
            raise ValueError(
                f"--teacher {path} has the classes {', '.join(map(str, two))}, {paths[0]} "
                f"{', '.join(map(str, one))}: teachers that are averaged need the same ones"
            )
    return TeacherEnsemble(teachers)


def _load_teacher(run: Run, path: str) -> FrozenTeacher:
    network, info = load_checkpoint(path)
    run.accelerator.print(f"teacher: {path} ({network.name}, {network.num_classes} classes)")
    preprocessing = Preprocessing.read(info["preprocessing"])
    device = run.accelerator.device
    precision = resolve_teacher_precision(run.options.of_distillation.teacher_amp, device)
    return FrozenTeacher(network.to(device), preprocessing, info["classes"], precision)


def build_distillation(
    run: Run, data: Data, student: Segmenter, teacher: FrozenTeacher | TeacherEnsemble
) -> DistillationTask:
    """Build the distillation task, with loss, adapters and views.

    Raises:
        ValueError: see `build_criterion` and `build_distiller`.
    """
    distiller = build_distiller(run, data, student, teacher)
    cached = None
    if run.options.caches_teacher:
        images = seen_by_teacher(run, data.train_plain)
        cached = CachedTeacher(teacher, images, run.accelerator.num_processes)
    return DistillationTask(
        student,
        build_criterion(run, data),
        data.preprocessing,
        distiller,
        cached or teacher,
        warmup=run.options.of_distillation.kd_warmup,
        taught_steps=run.options.of_distillation.kd_steps,
        views=None if data.unlabelled is None else StrongViews(),
        recall=None if cached is None else cached.recall,
    )


def build_distiller(
    run: Run, data: Data, student: Segmenter, teacher: FrozenTeacher | TeacherEnsemble
) -> Distiller:
    """Build the adapters and losses of `--method`.

    Raises:
        ValueError: the method compares logits, but teacher and student have different classes.
    """
    options = run.options.of_distillation
    distiller = build_method(options.method, student, teacher.network, **options.of_method())
    if options.kd_alpha != 1:
        run.accelerator.print(
            f"without effect: --kd-alpha {options.kd_alpha}, which no published script reads; "
            "--kd-weight scales the method's terms"
        )
    if distiller.ignored:
        flags = ", ".join(distiller.ignored)
        run.accelerator.print(f"without effect: --method {options.method} does not read {flags}")
    same_classes = not teacher.classes or tuple(teacher.classes) == tuple(data.classes)
    if "logits" in distiller.reads and not same_classes:
        raise ValueError(
            f"--method {options.method} compares logits, but the teacher's classes are "
            f"{', '.join(teacher.classes or ())} and the student's {', '.join(data.classes)}: "
            "take a teacher of the same classes, or a method without logits, such as sekd"
        )
    return distiller


def build_criterion(run: Run, data: Data) -> nn.Module:
    """Build the loss on labels of `--loss`, with the weights of `--class-weights`.

    Raises:
        ValueError: not one number per class.
    """
    weights = _choose_weights(run, data)
    wanted = run.options.optimisation.loss
    if wanted == "ohem":
        return HardPixelLoss(weights)
    cross_entropy = SegmentationLoss(weights)
    if wanted == "ce":
        return cross_entropy
    region = {"ce+jaccard": JaccardLoss, "ce+lovasz": LovaszLoss}[wanted]
    return SummedLoss(cross_entropy, region(data.labels.ignored))


def _choose_weights(run: Run, data: Data) -> list[float] | None:
    """Determine and print the weight of each output; None for an unweighted loss."""
    wanted = run.options.optimisation.class_weights
    weights: list[float] | None = None
    if wanted == "auto":
        skip = run.options.data.skips_bad
        weights = class_weights(class_frequencies(data.train_plain, skip_bad=skip)).tolist()
    elif wanted != "none":
        weights = _read_weights(wanted)
    elif data.scored != data.classes:
        weights = [1.0] * len(data.scored)
    if weights is None:
        return None
    if len(weights) == len(data.scored) < len(data.classes):
        weights.append(0.0)  # void, weighted as in the published scripts
    if len(weights) != len(data.classes):
        raise ValueError(
            f"--class-weights gives {len(weights)} numbers for {len(data.scored)} classes"
        )
    spelt = ", ".join(f"{n} {w:.3g}" for n, w in zip(data.classes, weights, strict=True))
    run.accelerator.print(f"class weights: {spelt}")
    return weights


def _read_weights(text: str) -> list[float]:
    path = Path(text)
    words = (path.read_text() if path.is_file() else text).replace(",", " ").split()
    try:
        weights = [float(word) for word in words]
    except ValueError:
        raise ValueError(
            f"--class-weights {text}: expected auto, none, numbers like 1,3,3, or a file of them"
        ) from None
    if not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
        raise ValueError(f"--class-weights {text}: weights must be 0 or above, and not all 0")
    return weights
