"""YAML and JSON that somebody else may have written: read once, into plain values."""

import json
from pathlib import Path
from typing import Any

import yaml


class _PlainLoader(yaml.SafeLoader):
    """Plain values, without aliases, a few lines of which can expand to gigabytes.

    A name that is given twice is refused: PyYAML would take the last and say nothing.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.constructor.ConstructorError(
                problem="aliases (*) are not read", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in names:
                    raise yaml.constructor.ConstructorError(
                        problem=f"{key.value!r} is given twice", problem_mark=key.start_mark
                    )
                names.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, named: str = "") -> Any:
    """Read a YAML file.

    Args:
        path: of the file.
        named: what comes before it in messages, such as a flag.

    Raises:
        ValueError: it is not a text file, or not YAML.
        OSError: it cannot be opened.
    """
    return _read(path, named, "YAML", lambda text: yaml.load(text, _PlainLoader))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: it is not a text file, or not JSON.
        OSError: it cannot be opened.
    """
    return _read(path, "", "JSON", json.loads)


def read_mapping(path: Path, named: str = "") -> dict[str, Any]:
    """Read a YAML file of ``name: value``; see `read_yaml`.

    Raises:
        ValueError: it holds something else.
    """
    content = read_yaml(path, named)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{f'{named} {path}'.strip()} must hold lines of 'name: value'")
    return content


def _read(path: Path, named: str, kind: str, parse: Any) -> Any:
    shown = f"{named} {path}".strip()
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{shown} is not a text file, so not {kind}") from None
    try:
        return parse(text)
    except Exception as error:  # PyYAML hands on what dates, numbers and depth make Python raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{shown} is not {kind}: {reason}") from None
