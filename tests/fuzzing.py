"""Damaged, foreign and hostile files for every reader: one that works, and what is made of it."""

import contextlib
import io
import json
import os
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from hypothesis import strategies as st

from gon.errors import GonError
from gon.files import sealed

SECONDS = 20
"""Longer than any input may take, on a busy machine; a reader that takes so long hangs."""


class Hang(BaseException):
    """A reader did not come to an end."""


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Stop what does not end, whatever it catches."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang(f"not at its end after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Reader:
    """Something that reads a file.

    Attributes
    ----------
    path
        The file, as it is read without an error.
    read
        Reads it.
    inner
        What its structure is: "json", "sealed" (JSON with a digest of itself), "yaml", "zip", or "" for none.
    named
        Whether a message must name the file.
    """

    path: Path
    read: Callable[[], object]
    inner: str = ""
    named: bool = True
    sample: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample", self.path.read_bytes())
        with ending():
            self.read()

    def check(self, content: bytes) -> bool:
        """Read other content: whether it was refused. Anything raised but a `GonError` is a defect."""
        self.path.write_bytes(content)
        try:
            return self.refuses()
        finally:
            self.path.write_bytes(self.sample)

    def refuses(self) -> bool:
        """Read what is there: whether it was refused, by a message that names it."""
        try:
            with ending(), contextlib.redirect_stdout(io.StringIO()):
                self.read()
        except GonError as error:
            assert not self.named or self.path.name in str(error), f"does not name {self.path.name}: {error}"
            assert len(str(error)) < 20_000
            return True
        return False


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


HOSTILE: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, 5e-324),
    *(
        "",
        "x",
        "é",
        "\x1b[2J",
        "\n",
        "../../x",
        "/etc/passwd",
        "x; touch hacked",
        "$(id)",
        "`id`",
        "{}",
        "{x}",
    ),
    *("{dataset.__class__}", "%s", "nan", "1e400", "-", "--help", "a b", "x" * 5000, "2026-13-45", "\ud800"),
    *([], {}, [None], [[]], {"": None}, {"x": {}}, [1, 1], [True, 1], deep(30), deep(300)),
    *([0] * 5000, {str(i): i for i in range(2000)}),
]
"""Values that stand where others are expected."""


@st.composite
def bytes_of(draw: st.DrawFn, sample: bytes) -> bytes:
    """The sample with some bytes changed, cut off, repeated or put in."""
    content = bytearray(sample)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        how = draw(st.sampled_from(["flip", "cut", "drop", "insert", "repeat", "overwrite"]))
        some = draw(st.binary(min_size=1, max_size=12))
        if how == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del content[at:]
        elif how == "drop":
            del content[at : at + draw(st.integers(1, 200))]
        elif how == "insert":
            content[at:at] = some * draw(st.sampled_from([1, 1, 1, 1000]))
        elif how == "repeat":
            content[at:at] = content[at : at + draw(st.integers(1, 2000))]
        else:
            content[at : at + len(some)] = some
    return bytes(content)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a structure, by the keys that lead there."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        if not isinstance(key, int) or key < 4:  # of a long list the first are like the others
            yield from places(part, (*at, key))


@st.composite
def changed(draw: st.DrawFn, structure: Any) -> Any:
    """A structure in which one or two values are others, are missing, or are there twice."""
    root = [json.loads(json.dumps(structure, default=str))]
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from([*places(root)][1:]))
        holder: Any = root
        for key in place[:-1]:
            holder = holder[key]
        how = draw(st.sampled_from(["replace"] * 4 + ["remove", "add", "rename"]))
        value = json.loads(json.dumps(draw(hostile())))  # a copy, since it may be changed in its turn
        if how == "replace":
            holder[place[-1]] = value
        elif how == "remove" and len(place) > 1:
            del holder[place[-1]]
        elif isinstance(holder, dict) and how == "rename":
            holder[str(draw(hostile()))[:50]] = holder.pop(place[-1])
        elif isinstance(holder, dict):
            holder["x"] = value
        elif len(place) > 1:
            holder.append(value)
    return root[0]


def hostile() -> st.SearchStrategy[Any]:
    return st.sampled_from(HOSTILE) | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20)


YAML_TEXTS = [
    *(
        "&a [*a]",
        "&a {x: *a}",
        "!!python/object/apply:os.system [id]",
        "!!binary x",
        "!!int x",
        "!!timestamp x",
    ),
    *(
        "!!float ''",
        "!!bool x",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "2026-02-30",
        "1:30",
        "010",
        ".inf",
        "1e999",
    ),
    *(
        "9" * 5000,
        "[" * 3000,
        "{a: " * 500,
        "? [a]\n: b",
        "<<: x",
        "%YAML 9.9\n---\nx",
        '"\\U00110000"',
        "*x",
    ),
    *(
        "&a [x,x,x,x,x,x,x,x,x]",
        "\x00",
        "\ufffe",
        "--- x\n--- y",
        "- a\n- b",
        "\t- x",
        "'",
        "|",
        "@x",
        "!",
        "!!",
    ),
]


@st.composite
def yaml_of(draw: st.DrawFn, sample: bytes) -> bytes:
    """The sample with a value of one of its lines replaced by a hostile text of YAML."""
    lines = sample.decode().splitlines()
    at = draw(st.sampled_from([i for i, line in enumerate(lines) if ":" in line]))
    lines[at] = f"{lines[at].partition(':')[0]}: {draw(st.sampled_from(YAML_TEXTS))}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@st.composite
def zip_of(draw: st.DrawFn, sample: bytes) -> bytes:
    """The sample with other, larger, or more entries than it had."""
    names = ["../outside", "/outside", "a" * 300, "x/" * 200, "", ".", "con\x01", "link", "report"]
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sample)) as given, zipfile.ZipFile(out, "w") as made:
        entries = [(info.filename, given.read(info)) for info in given.infolist()]
        for _ in range(draw(st.integers(1, 2))):
            at, how = (
                draw(st.integers(0, len(entries) - 1)),
                draw(st.sampled_from("content name zeros drop".split())),
            )
            name, content = entries[at]
            if how == "content":
                entries[at] = name, draw(bytes_of(content) if content else st.binary(max_size=50))
            elif how == "name":
                entries[at] = draw(st.sampled_from(names)), content
            elif how == "zeros":  # Hypothesis keeps what it drew: no more
                entries[at] = name, bytes(draw(st.sampled_from([0, 1000, 2**22])))
            elif len(entries) > 1:
                del entries[at]
        method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = draw(st.sampled_from([0o644, 0o120777, 0o010644])) << 16  # file, link, FIFO
            with contextlib.suppress(ValueError, zipfile.BadZipFile):
                made.writestr(info, content, method)
    return out.getvalue()


def inputs(reader: Reader) -> st.SearchStrategy[bytes]:
    """Content for a reader, most of it near to what it reads without an error."""
    strategies: list[st.SearchStrategy[bytes]] = [bytes_of(reader.sample), bytes_of(reader.sample)]
    strategies.append(st.binary(max_size=200))
    if reader.inner in ("json", "sealed"):
        structure = json.loads(reader.sample)
        strategies += [changed(structure).map(as_json)] * 4
        if reader.inner == "sealed":
            structure.pop("seal")
            strategies += [changed(structure).map(as_sealed)] * 6
    elif reader.inner == "yaml":
        structure = yaml.safe_load(reader.sample)
        strategies += [changed(structure).map(as_yaml), yaml_of(reader.sample)] * 3
    elif reader.inner == "zip":
        strategies += [zip_of(reader.sample)] * 3
    return st.one_of(strategies)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def as_sealed(value: Any) -> bytes:
    return sealed(value, indent=1).encode() if isinstance(value, dict) else as_json(value)


def as_yaml(value: Any) -> bytes:
    return yaml.safe_dump(value, allow_unicode=False).encode("utf-8", "surrogatepass")


def odd_things(path: Path) -> Iterator[str]:
    """Put what is no file in the place of one, one thing after the other."""
    away = path.with_name("away")
    path.rename(away)
    makers: dict[str, Callable[[], object]] = {
        "a folder": path.mkdir,
        "a FIFO": lambda: os.mkfifo(path),
        "a device": lambda: path.symlink_to("/dev/zero"),
        "a link to itself": lambda: path.symlink_to(path.name),
        "a link to nowhere": lambda: path.symlink_to("nowhere"),
        "a terabyte": lambda: _sparse(path),
        "missing": lambda: None,
    }
    try:
        for what, make in makers.items():
            make()
            yield what
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    finally:
        away.replace(path)


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(2**40)
