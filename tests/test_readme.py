"""Every command of README.md and docs/ is run, on stand-ins for what a reader would have.

A fenced block without a language holds commands; `text` marks what they print. The commands of a
document run one after another in a folder of its own, in this process, as each script's `main()`.
What is changed about them stands in the tables below. A command that is neither run nor listed in
`NOT_RUN` fails the test.
"""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.test_house import ROOMS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
PYTHON = ".venv/bin/python"
SIZE = (48, 64)

# What a command begins with that cannot run here, and why.
NOT_RUN = {
    "make demo": "trains for minutes; the commands it calls are run here one by one",
    "make test": "would run this test again",
    "make field": "its command is run by tests/eval/test_predict_fields.py",
    "python3 -m venv": "installs, which needs the network",
    "PIP_CONSTRAINT=build-constraints.txt": "installs, which needs the network",
    f"{PYTHON} -m visdom.server": "a server, which runs until it is stopped",
    f"{PYTHON} eval/tables.py": "takes half a minute; tests/eval/test_tables.py runs it",
    f"{PYTHON} benchmarks/benchmark.py": "measures for many minutes, on a quiet machine",
    f"{PYTHON} train/reproduce.py": "trains a network of full size; tests/train does",
    f"{PYTHON} benchmarks/gradient_share.py": "measures for many minutes",
    ".venv/bin/tensorboard": "a server, which runs until it is stopped",
}
# Launchers start processes of their own, with networks of full size: tests/train/test_commands.py
# does. Here the rest of their line runs in this process.
LAUNCHERS = (
    ".venv/bin/accelerate launch --num_processes 2",
    ".venv/bin/torchrun --nproc-per-node 2",
)
# Small commands of the shell, run by it.
SHELL = ("head", "rm")
# Flags added to a script's own: the last one counts. `--overwrite`, because documents train the
# same run in several ways.
SMALL_RUN = (
    "--max-steps 2 --val-every 1 --batch-size 2 --height 32 --width 64 --image-size native "
    "--num-workers 0 --device cpu --overwrite"
)
ADDED = {
    "train/train_teacher.py": SMALL_RUN,
    "train/train_student.py": SMALL_RUN,
    "train/train_sekd.py": SMALL_RUN,
    "train/sweep.py": "--plan",
    # tests/train/test_pipeline.py runs it
    "train/pipeline.py": "--plan --steps 2 --device cpu --preset laptop --config small.yaml",
    "eval/eval.py": "--num-workers 0 --device cpu",
    "eval/compare.py": "--num-workers 0 --device cpu",
    "eval/report.py": "--num-workers 0 --device cpu",
    "eval/predict.py": "--device cpu",
    "eval/gradcam.py": "--device cpu",
    "datasets/prepare.py synthetic": "--count 6 2 2 --size 48x64 --workers 1",
}
# Added where a command has the flag, after the above.
ADDED_TO_FLAG = {"--latency": "--latency 48x64"}
# What a script needs that not every installation has; without it the command is left out.
OPTIONAL = {"eval/gradcam.py": "pytorch_grad_cam"}
# Besides, networks are of their own shape but with few channels (`TINY` in tests/conftest.py).


def commands_of(text: str) -> list[str]:
    """The command lines of a document, continued lines joined."""
    blocks = [content for language, content in FENCE.findall(text) if not language]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip()]


def write_pair(root: Path, name: str, ids: np.ndarray, label: np.ndarray) -> None:
    """An image whose brightness tells the class, and its label."""
    noise = np.random.default_rng(0).integers(0, 40, (*ids.shape, 3))
    image = Image.fromarray((ids[..., None] * 90 + noise).astype(np.uint8))
    for path, picture in (
        (root / "JPEGImages" / f"{name}.jpg", image),
        (root / "SegmentationClass" / f"{name}.png", Image.fromarray(label.astype(np.uint8))),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


def draw_ids(seed: int) -> np.ndarray:
    """A label (H, W) of blocks of three classes."""
    blocks = np.random.default_rng(seed).integers(0, 3, (3, 4))
    return np.kron(blocks, np.ones((SIZE[0] // 3, SIZE[1] // 4), int))


def write_cwfid(root: Path) -> None:
    """A small tree in the layout of the published data set, with masks in its colours."""
    colours = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)
    for folder in ("images", "annotations"):
        (root / folder).mkdir(parents=True)
    for number in range(1, 8):
        ids = draw_ids(number)
        Image.fromarray(colours[ids] // 2).save(root / "images" / f"{number:03d}_image.png")
        mask = Image.fromarray(colours[ids])
        mask.save(root / "annotations" / f"{number:03d}_annotation.png")
    lists = {"train": [1, 2, 3, 4, 5], "test": [6, 7]}
    (root / "train_test_split.yaml").write_text(yaml.safe_dump(lists))


def write_camvid(root: Path) -> None:
    """A small tree in the folders of CamVid, with ids 0 to 10 and void, 11."""
    for number in range(6):
        split = ("train", "val", "test")[number % 3]
        ids = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) // 8 % 12
        write_pair(Path("whole"), f"{split}{number}", ids // 6, ids)
        for source, target in (("JPEGImages", split), ("SegmentationClass", f"{split}annot")):
            (root / target).mkdir(parents=True, exist_ok=True)
            for path in Path("whole", source).glob(f"{split}{number}.*"):
                path.rename(root / target / path.name)
    shutil.rmtree("whole")


def write_sugar_beets(root: Path) -> None:
    """Ten pairs in the layout in which the data set is published."""
    session = root / "CKA_160523"
    for number in range(10):
        ids = np.array([0, 2, 10002])[draw_ids(number)]
        image = session / "images" / "rgb" / f"bonirob_{number}.png"
        label = session / "annotations" / "dlp" / "iMapCleaned" / f"bonirob_{number}.png"
        for path, values in ((image, np.zeros((*SIZE, 3), np.uint8)), (label, ids)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint16 if path == label else np.uint8)).save(path)


class Workshop:
    """A folder in which a document's commands run, called as the document calls it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        monkeypatch.chdir(folder)
        shutil.copytree(ROOT / "recipes", folder / "recipes")
        small = {"height": 32, "image-size": "native", "batch-size": 2, "num-workers": 0}
        Path("small.yaml").write_text(yaml.safe_dump(small))
        for number in range(10):
            write_pair(Path("FIELD"), f"field{number}", draw_ids(number), draw_ids(number))
        shutil.copytree("FIELD/JPEGImages", "photos")
        for number in range(3):  # of which none is in FIELD
            write_pair(Path("more"), f"more{number}", draw_ids(50 + number), draw_ids(number))
        Path("more", "JPEGImages").rename("more-photos")
        colours = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)
        Path("colour-masks").mkdir()
        for number in range(2):
            mask = Image.fromarray(colours[draw_ids(number)])
            mask.save(f"colour-masks/field{number}.png")
        write_cwfid(Path("CWFID"))
        write_camvid(Path("camvid"))
        write_sugar_beets(Path("sugar-beets"))

    def add_runs(self) -> None:
        """The runs that the documents call RUN, STUDENT, DISTILLED and TEACHER."""
        data = "--dataset VOC --datadir FIELD --classes soil,crop,weed"
        assert not self.call("datasets/prepare.py", ["split", "--datadir", "FIELD"])
        for stage, name in (("teacher", "TEACHER"), ("student", "STUDENT")):
            flags = f"{data} {SMALL_RUN} --run-name {name}"
            assert not self.call(f"train/train_{stage}.py", flags.split())
        for name in ("DISTILLED", "RUN"):
            shutil.copytree("runs/STUDENT", f"runs/{name}")

    def remove_what_comes(self, commands: list[str]) -> None:
        """Take away those stand-ins that the document's own commands make."""
        if any("--output FIELD" in command for command in commands):
            shutil.rmtree("FIELD")
        elif any("prepare.py split" in command for command in commands):
            shutil.rmtree("FIELD/ImageSets")

    def run(self, command: str) -> int | str | None:
        """Run one line of a document and return how it ended: nothing or 0 where it succeeded."""
        for launcher in LAUNCHERS:
            command = command.replace(launcher, PYTHON)
        program, *words = shlex.split(command, comments=True)
        if program in SHELL:
            return subprocess.run([program, *words]).returncode
        assert program == PYTHON, f"no way to run {command!r}: add one here, or to NOT_RUN"
        script, *flags = words
        if script in OPTIONAL and importlib.util.find_spec(OPTIONAL[script]) is None:
            return None
        added = [ADDED.get(" ".join(words[:count]), "") for count in (1, 2)]
        added += [more for flag, more in ADDED_TO_FLAG.items() if flag in flags]
        return self.call(script, [*flags, *" ".join(added).split()])

    def call(self, script: str, words: list[str]) -> int | str | None:
        """Run a script's `main()` in this process and return how it ended."""
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(True)  # a singleton, which outlives a run
        module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
        self.monkeypatch.setattr(sys, "argv", [script, *words])
        try:
            return module.main()
        except SystemExit as end:
            return end.code


@pytest.fixture
def workshop(tmp_path, monkeypatch, build_tiny):
    """Stand-ins for a reader's data and runs, and a way to run commands on them."""
    import train.networks
    from models import shipped, weights

    monkeypatch.setattr(train.networks, "build_model", lambda name, classes: build_tiny(classes))
    wide = {"embed_dims": (16, 32, 48, 64), "head_width": 64}
    monkeypatch.setattr(weights, "build_model", lambda name, classes: build_tiny(classes, **wide))
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    shipped.save_shipped(tmp_path / "fields_b0.safetensors", build_tiny(3), {})
    made = Workshop(tmp_path, monkeypatch)
    made.add_runs()
    return made


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_runs(document, request):
    commands = commands_of(document.read_text(encoding="utf-8"))
    commands = [command for command in commands if not command.startswith(tuple(NOT_RUN))]
    if not commands:
        pytest.skip(f"{document.name} has no command to run")
    workshop = request.getfixturevalue("workshop")
    workshop.remove_what_comes(commands)
    for command in commands:
        print(f"$ {command}")
        status = workshop.run(command)
        assert not status, f"{command} ended with status {status}"


def test_messages_of_troubleshooting_are_those_of_the_code():
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `(.+?)` \|", text, flags=re.MULTILINE)
    assert len(messages) > 30
    code = "".join(path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # a message that goes over several lines
    for message in messages:
        for part in message.split("…"):
            assert part.strip() in code, f"no message of the code holds {part.strip()!r}: {message}"


def test_every_script_is_documented():
    commands = " ".join(c for path in DOCUMENTS for c in commands_of(path.read_text()))
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        if path.parent.name == "benchmarks" and path.stem != "benchmark":
            continue  # programs that benchmark.py starts
        if '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8"):
            assert path.relative_to(ROOT).as_posix() in commands


def test_what_is_not_run_is_still_there():
    commands = [c for path in DOCUMENTS for c in commands_of(path.read_text(encoding="utf-8"))]
    for beginning in NOT_RUN:
        assert any(command.startswith(beginning) for command in commands), beginning
    for launcher in LAUNCHERS:
        assert any(command.startswith(launcher) for command in commands), launcher
