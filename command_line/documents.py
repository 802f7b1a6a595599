"""Read YAML and JSON, possibly untrusted, into plain values."""

import json
from pathlib import Path
from typing import Any

import yaml


class _PlainLoader(yaml.SafeLoader):
    """Plain values without aliases, since a few lines of those can expand to gigabytes.

    Duplicate names are rejected: PyYAML would silently keep the last.
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
        path: the file.
        named: prefix of the path in messages, such as a flag.

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
    """Read a YAML file of `name: value`; see `read_yaml`.

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
    except Exception as error:  # PyYAML passes on Python's errors on dates, numbers and depth
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{shown} is not {kind}: {reason}") from None
