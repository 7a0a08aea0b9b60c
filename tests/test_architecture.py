"""The rooms stand in the order of the arrow: imports point down only, and no room is too large to be read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "gon"

LAYERS = (
    {"errors", "catalogue"},
    {"files", "spec"},
    {"data", "science", "processes"},
    {"runs"},
    {"claims"},
    {"reporting"},
    {"plan", "verify", "diff", "status", "options"},
    {"cluster"},
    {"workflow", "engine"},
    {"cli"},
)
"""From the ground up; rooms of one layer know nothing of each other."""
LARGEST_MODULE, LARGEST_CLASS = 430, 200
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    return module.partition("/")[0].removesuffix(".py")


def imports(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            if node.module == "gon":
                yield from (f"gon.{alias.name}" for alias in node.names)
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def level(room: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if room in layer)


def test_every_room_has_its_place() -> None:
    assert {room_of(module) for module in MODULES} - {"__init__"} == set().union(*LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    room = room_of(module)
    for name in imports(module):
        if not name.startswith("gon."):
            continue
        other = name.split(".")[1]
        assert other == room or level(other) < level(room), f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_the_page_renders_without_torch(module: str) -> None:
    """Nothing above `runs/` imports torch, but for the command that trains again."""
    if room_of(module) in ("claims", "reporting", "workflow", "engine", "plan", "diff", "cli"):
        tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
        at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = [ast.unparse(node) for node in at_once]
        assert not [name for name in names if "torch" in name or "gon.science" in name]


@pytest.mark.parametrize("module", MODULES)
def test_no_room_is_too_large_to_be_read(module: str) -> None:
    text = (PACKAGE / module).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LARGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and node.end_lineno is not None:
            assert node.end_lineno - node.lineno < LARGEST_CLASS, node.name
