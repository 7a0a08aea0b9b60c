"""YAML without what only its version 1.1 reads: `010`, `1:30`, `yes`, keys that stand twice."""

import re
from pathlib import Path
from typing import Any

import yaml

from gon.errors import UsageError


class _PlainLoader(yaml.SafeLoader):
    """YAML without the surprises of its version 1.1: what another reader would take for another value."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Refuse `010` (8), `1:30` (90), `yes` (true) and their like, and read `1e-4` as the number."""
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            if _SURPRISE.fullmatch(node.value):
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"{node.value!r} means different things to different readers of YAML; allowed are true, "
                    "false, plain decimal numbers, and texts in quotes",
                    node.start_mark,
                )
            if re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", node.value):
                return float(node.value)
        return super().construct_object(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice; the last would win."""
        keys = [key.value for key, _ in node.value]
        for i, (key, _) in enumerate(node.value):
            if key.value in keys[:i]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} occurs more than once", key.start_mark
                )
        return super().construct_mapping(node, deep)


_SURPRISE = re.compile(
    r"[-+]?0\d[\d_]*|[-+]?\d[\d_]*_[\d_]*|[-+]?0[xXbBoO].*|[-+]?\d+(:[0-5]?\d)+(\.\d*)?|[-+]?\.(inf|nan)"
    r"|y|n|yes|no|on|off",
    re.IGNORECASE,
)


def read_yaml(text: str) -> Any:
    """Read YAML; what only version 1.1 takes for a number or a truth value raises `yaml.YAMLError`."""
    return yaml.load(text, Loader=_PlainLoader)  # a SafeLoader


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a file that holds names with values; `UsageError` names file and place."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    try:
        content = read_yaml(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML ({one_line(error)})") from error
    return require_mapping(content, str(path))


def require_mapping(content: Any, what: str) -> dict[str, Any]:
    """Check that something read are names with values."""
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{what}: expected a mapping of names to values, found {type(content).__name__}")
    return content


def one_line(error: Exception) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split())
