"""How far it is from the command to the numbers: the route that CONTRIBUTING.md describes."""

import re
import sys
from pathlib import Path

from torch.nn import functional

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("command_line", "datasets", "eval", "losses", "models", "train")
MOST_FRAMES, MOST_FILES = 7, 10


def place(frame) -> str | None:
    """`file:function` of a frame of this project, None for one of a library or a test."""
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(ROOT) or path.relative_to(ROOT).parts[0] not in ROOMS:
        return None
    return f"{path.relative_to(ROOT).as_posix()}:{frame.f_code.co_name}"


def route_to(frame) -> list[str]:
    """Frames of this project from `main` down to the given one."""
    places = []
    while frame is not None:
        if (here := place(frame)) is not None:
            places.append(here)
            if here.endswith(":main"):
                return places[::-1]
        frame = frame.f_back
    raise AssertionError("main is not among the callers")


def test_the_cross_entropy_is_near_the_command(run_stage, monkeypatch):
    routes, cross_entropy = [], functional.cross_entropy

    def seen(*args, **kwargs):
        routes.append(route_to(sys._getframe(1)))
        return cross_entropy(*args, **kwargs)

    assert run_stage("teacher", "--max-steps", "1") == 0
    monkeypatch.setattr(functional, "cross_entropy", seen)
    assert run_stage("sekd", "--max-steps", "1", "--teacher-val", "false") == 0
    assert len(routes) == 1
    (route,) = routes
    assert len(route) <= MOST_FRAMES
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.split("## One step of SEKD-CT\n", 1)[1].split("\n## ", 1)[0]
    described = re.findall(r"^\d+\. `(.+?)`: `(.+?)`", section, flags=re.MULTILINE)
    assert [(f"{file}:{name.split('.')[-1]}") for file, name in described] == route
    files = set(re.findall(r"`((?:losses|models|train)/\w+\.py)`", section))
    assert all((ROOT / file).is_file() for file in files)
    assert {place.split(":")[0] for place in route} <= files
    assert len(files) <= MOST_FILES
