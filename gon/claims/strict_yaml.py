"""YAML without what only its version 1.1 reads: `010`, `1:30`, `yes`, keys that stand twice."""

import math
import re
from pathlib import Path
from typing import Any

import yaml

from gon.errors import GonError, UsageError
from gon.files import read_text


class _PlainLoader(yaml.SafeLoader):
    """YAML without the surprises of its version 1.1: what another reader would take for another value."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Refuse `010` (8), `1:30` (90), `yes` (true) and their like, and read `1e-4` as the number."""
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            if _SURPRISE.fullmatch(node.value):
                raise _problem(
                    f"{node.value!r} means different things to different readers of YAML; allowed are true, "
                    "false, plain decimal numbers, and texts in quotes",
                    node,
                )
            if re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", node.value):
                if not math.isfinite(number := float(node.value)):
                    raise _problem(f"{node.value} is too large for a number", node)
                return number
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            # Of a date that there is not, say, or of a tag that does not fit: PyYAML leaves it to Python.
            raise _problem(f"{str(node.value)[:80]!r} is no {node.tag.rpartition(':')[2]}", node) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice; the last would win."""
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                raise _problem("a key is a text or a number", key)
            if key.value in seen:
                raise _problem(f"the key {key.value!r} occurs more than once", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _problem(what: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


LARGEST_PARAMETERS = 256 * 1024
"""Bytes of a parameter file; YAML is read slowly."""
_MOST_VALUES = 20_000
"""Values that a file may hold, those counted again that an alias repeats."""


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Number of values in a node, written out; `yaml.YAMLError` if there is no end to it or too many."""
    if known.setdefault(id(node), 0) == 0:
        known[id(node)] = -1
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        inner = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in inner)
    if known[id(node)] < 0:
        raise _problem("an alias stands inside what it repeats", node)
    if known[id(node)] > _MOST_VALUES:
        raise _problem(f"holds more than {_MOST_VALUES} values", node)
    return known[id(node)]


_SURPRISE = re.compile(
    r"[-+]?0\d[\d_]*|[-+]?\d[\d_]*_[\d_]*|[-+]?0[xXbBoO].*|[-+]?\d+(:[0-5]?\d)+(\.\d*)?|[-+]?\.(inf|nan)"
    r"|y|n|yes|no|on|off",
    re.IGNORECASE,
)


def read_yaml(text: str) -> Any:
    """Read YAML; what only version 1.1 takes for a number or a truth value raises `yaml.YAMLError`."""
    loader = _PlainLoader(text)  # a SafeLoader
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, {})
        return loader.construct_document(node)
    except RecursionError as error:
        raise yaml.YAMLError("nested too deep") from error
    except (ValueError, ArithmeticError, LookupError) as error:  # of a sign that there is not, say
        raise yaml.YAMLError(str(error)) from error
    finally:
        loader.dispose()


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a file that holds names with values; `UsageError` names file and place."""
    return require_mapping(read_file(path), str(path))


def read_file(path: Path) -> Any:
    """Read a parameter file; `UsageError` names file and place."""
    try:
        return read_yaml(read_text(path, LARGEST_PARAMETERS))
    except GonError as error:
        raise UsageError(str(error)) from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML ({one_line(error)})") from error


def require_mapping(content: Any, what: str) -> dict[str, Any]:
    """Check that something read are names with values."""
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{what}: expected a mapping of names to values, found {type(content).__name__}")
    return content


def one_line(error: Exception) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split())
