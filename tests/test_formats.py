"""CIFAR-10 and small NORB, on small files in the formats in which they are published."""

import dataclasses
import gzip
import hashlib
import http.server
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import test_data
from test_data import contents

from gon.catalogue import DATASETS, Archive
from gon.data import prepared as data
from gon.data.acquire import acquire, ensure
from gon.data.download import SOURCE_SECONDS
from gon.data.prepare import prepare
from gon.data.published import raw_dir
from gon.errors import GonError

folder, mirror, mirrors, silent_server = (
    test_data.folder,
    test_data.mirror,
    test_data.mirrors,
    test_data.silent_server,
)

ARCHIVE = "cifar-10-python.tar.gz"
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
TRAINING = "smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat"
TESTING = "smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def files_in(folder: Path) -> dict[str, int]:
    return {path: size for path, size in contents(folder).items() if not path.endswith(".lock")}


# CIFAR-10: tar archive, gzipped, of pickles


def python_2_pickle(value: Any) -> bytes:
    """Pickle as the makers did, in Python 2: texts and pixels are byte strings, numbers plain integers."""

    def put(value: Any) -> bytes:
        if isinstance(value, bytes):
            size = b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<i", len(value))
            return size + value
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        if isinstance(value, list):
            return b"](" + b"".join(map(put, value)) + b"e"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(put, value)) + b"t"
        if isinstance(value, dict):
            return b"}(" + b"".join(put(key) + put(value[key]) for key in value) + b"u"
        assert isinstance(value, np.ndarray) and value.dtype == np.uint8
        dtype = b"cnumpy\ndtype\n" + put((b"u1", 0, 1)) + b"R"
        dtype += b"(" + put(3) + put(b"|") + b"NNN" + put(-1) + put(-1) + put(0) + b"tb"
        array = b"cnumpy.core.multiarray\n_reconstruct\n"
        array += b"(cnumpy\nndarray\n" + put((0,)) + put(b"b") + b"tR"
        return array + b"(" + put(1) + put(value.shape) + dtype + b"\x89" + put(value.tobytes()) + b"tb"

    return b"\x80\x02" + put(value) + b"."


def tarball(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@dataclasses.dataclass
class Cifar:
    """A small CIFAR-10: pixels, the files that hold them, and a way to have other files accepted."""

    train: np.ndarray
    validation: np.ndarray
    files: dict[str, bytes]
    declare: Callable[..., None]

    def archive(self, **changed: bytes) -> bytes:
        files = {**self.files, **changed}
        return tarball({f"cifar-10-batches-py/{file}": content for file, content in files.items()})


@pytest.fixture
def cifar(folder: Path, monkeypatch: pytest.MonkeyPatch, mirrors: Callable[..., None]) -> Cifar:
    generator = np.random.default_rng(0)
    batches = [generator.integers(0, 256, (4, 3072), dtype=np.uint8) for _ in BATCHES]
    files = {
        name: python_2_pickle(
            {
                b"batch_label": b"batch " + name.encode(),
                b"labels": [6, 9, 9, 4],
                b"data": pixels,
                b"filenames": [b"leptodactylus_pentadactylus_s_000004.png"] * 4,
            }
        )
        for name, pixels in zip(BATCHES, batches, strict=True)
    }
    files["batches.meta"] = python_2_pickle(
        {b"num_cases_per_batch": 4, b"label_names": [b"airplane", b"automobile"] * 5, b"num_vis": 3072}
    )

    def declare(files: dict[str, bytes], archive: bytes = b"") -> None:
        """Have these files accepted."""
        known = {file: md5(content) for file, content in files.items()}
        monkeypatch.setitem(
            DATASETS,
            "cifar-10",
            dataclasses.replace(
                DATASETS["cifar-10"],
                md5=known,
                archive=Archive(ARCHIVE, md5(archive)),
                train_images=20,
                validation_images=4,
                mirrors=(),
                largest_file=2**20,
            ),
        )

    declare(files)
    # The format: a row per image; all red pixels row by row, then all green ones, then all blue ones.
    train = np.stack([red_green_blue(row) for pixels in batches[:5] for row in pixels])
    validation = np.stack([red_green_blue(row) for row in batches[5]])
    return Cifar(train, validation, files, declare)


def red_green_blue(row: np.ndarray) -> np.ndarray:
    return np.stack([row[:1024].reshape(32, 32), row[1024:2048].reshape(32, 32), row[2048:].reshape(32, 32)])


def assert_prepared(name: str, train: np.ndarray, validation: np.ndarray) -> None:
    prepared = data.load(name)
    assert prepared.train.dtype == prepared.validation.dtype == np.uint8
    assert np.array_equal(prepared.train, train)
    assert np.array_equal(prepared.validation, validation)
    assert prepared.digests.items() >= DATASETS[name].md5.items()


def test_cifar_from_files_that_are_there(folder: Path, cifar: Cifar) -> None:
    for file, content in cifar.files.items():
        write(folder / "cifar-10-batches-py" / file, content)
    ensure("cifar-10")
    assert_prepared("cifar-10", cifar.train, cifar.validation)


def test_cifar_from_the_archive_in_the_data_folder(folder: Path, cifar: Cifar) -> None:
    archive = cifar.archive()
    cifar.declare(cifar.files, archive)
    write(folder / ARCHIVE, archive)
    ensure("cifar-10")
    assert_prepared("cifar-10", cifar.train, cifar.validation)
    assert (folder / ARCHIVE).read_bytes() == archive


def test_cifar_from_a_mirror(
    folder: Path, cifar: Cifar, mirror: Callable[..., str], mirrors: Callable[..., None]
) -> None:
    archive = cifar.archive()
    cifar.declare(cifar.files, archive)
    mirrors(mirror({}), mirror({ARCHIVE: archive[:-100]}), mirror({ARCHIVE: archive}))
    lines: list[str] = []
    ensure("cifar-10", report=lines.append)
    assert_prepared("cifar-10", cifar.train, cifar.validation)
    assert any("404" in line for line in lines)
    differs = f"MD5 of {ARCHIVE} is {md5(archive[:-100])}, expected {md5(archive)}"
    assert any(differs in line for line in lines)
    assert not list(folder.glob(".fetching-*"))
    assert not (folder / ARCHIVE).exists()


def test_nothing_else_in_an_archive_is_touched(folder: Path, cifar: Cifar) -> None:
    outside = folder.parent / "outside"
    archive = tarball(
        {
            "../outside": b"x",
            str(outside): b"x",
            "../cifar-10-batches-py/data_batch_1": b"x",
            "cifar-10-batches-py/../../outside": b"x",
            "cifar-10-batches-py/readme.html": b"x",
            **{f"cifar-10-batches-py/{file}": content for file, content in cifar.files.items()},
        }
    )
    cifar.declare(cifar.files, archive)
    write(folder / ARCHIVE, archive)
    ensure("cifar-10")
    assert_prepared("cifar-10", cifar.train, cifar.validation)
    assert not outside.exists()
    assert sorted(os.listdir(folder / "cifar-10-batches-py")) == sorted(cifar.files)
    assert sorted(os.listdir(folder.parent)) == ["data"]


def links(name: str) -> bytes:
    """An archive in which the first batch is a link to a file outside of it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, name
        archive.addfile(link)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(tarball({"cifar-10-batches-py/readme.html": b"x"}), id="without"),
        pytest.param(tarball({"../cifar-10-batches-py/data_batch_1": b"x"}), id="outside"),
        pytest.param(links("/etc/passwd"), id="link"),
        pytest.param(links("../../../../../../etc/passwd"), id="relative-link"),
    ],
)
def test_archive_without_a_file_is_named_and_kept(folder: Path, cifar: Cifar, archive: bytes) -> None:
    cifar.declare(cifar.files, archive)
    path = write(folder / ARCHIVE, archive)
    with pytest.raises(GonError) as caught:
        acquire("cifar-10")
    assert f"{path}: {ARCHIVE} holds no file cifar-10-batches-py/data_batch_1; it is not used" in str(
        caught.value
    )
    assert files_in(folder) == {ARCHIVE: len(archive)}


def test_archive_cut_short_is_named_and_kept(folder: Path, cifar: Cifar) -> None:
    whole = cifar.archive()
    cifar.declare(cifar.files, whole)
    path = write(folder / ARCHIVE, whole[:-100])
    with pytest.raises(GonError) as caught:
        acquire("cifar-10")
    for part in (str(path), md5(whole), md5(whole[:-100]), "not used", "Move it away"):
        assert part in str(caught.value)
    # Damaged in itself, too.
    cifar.declare(cifar.files, whole[:-100])
    with pytest.raises(GonError, match=f"{path}: .*cannot be read"):
        acquire("cifar-10")
    assert path.read_bytes() == whole[:-100]
    assert not data.sidecar_path("cifar-10").exists()


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
def test_pickle_cut_short_is_named_and_kept(folder: Path, cifar: Cifar, file: str) -> None:
    for name, content in cifar.files.items():
        write(folder / "cifar-10-batches-py" / name, content[: -10 if name == file else None])
    before = files_in(folder)
    with pytest.raises(GonError) as caught:
        acquire("cifar-10")
    cut = cifar.files[file][:-10]
    for part in (str(folder / "cifar-10-batches-py" / file), md5(cut), md5(cifar.files[file]), "not used"):
        assert part in str(caught.value)
    assert files_in(folder) == before


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[bytes]:
    """A pickle that makes a file when it is read; no test may find that it did."""
    executed = tmp_path / "executed"

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(executed),)

    content = pickle.dumps(Hostile(), protocol=2)
    pickle.loads(content)
    assert executed.exists()  # it does what it is for
    executed.rmdir()
    yield content
    assert not executed.exists()


@pytest.mark.parametrize("file", ["data_batch_1", "batches.meta"])
def test_hostile_pickle_that_is_there_is_not_executed(
    folder: Path, cifar: Cifar, hostile: bytes, file: str
) -> None:
    for name, content in {**cifar.files, file: hostile}.items():
        write(folder / "cifar-10-batches-py" / name, content)
    path = folder / "cifar-10-batches-py" / file
    for use in (ensure, prepare):
        with pytest.raises(GonError) as caught:
            use("cifar-10")
        for part in (str(path), md5(hostile), md5(cifar.files[file]), "not used"):
            assert part in str(caught.value)
    assert path.read_bytes() == hostile


@pytest.mark.parametrize("known", [False, True], ids=["other", "known"])
def test_hostile_pickle_in_an_archive_is_not_executed(
    folder: Path,
    cifar: Cifar,
    hostile: bytes,
    known: bool,
    mirror: Callable[..., str],
    mirrors: Callable[..., None],
) -> None:
    archive = cifar.archive(data_batch_1=hostile)
    cifar.declare(cifar.files, archive if known else cifar.archive())
    found = (md5(hostile), md5(cifar.files["data_batch_1"])) if known else (md5(archive), ARCHIVE)
    mirrors(mirror({ARCHIVE: archive}))
    with pytest.raises(GonError) as from_mirror:
        ensure("cifar-10")
    path = write(folder / ARCHIVE, archive)
    with pytest.raises(GonError) as from_folder:
        ensure("cifar-10")
    for part in found:
        assert part in str(from_mirror.value)
        assert part in str(from_folder.value)
    assert str(path) in str(from_folder.value)
    assert not list((folder / "cifar-10-batches-py").iterdir())


def test_preparing_without_files_says_what_to_do(folder: Path, cifar: Cifar) -> None:
    with pytest.raises(GonError, match=r"data_batch_1, .* not there; run `gon data cifar-10`"):
        prepare("cifar-10")


# Small NORB: binary matrices, gzipped


def matrix(pixels: np.ndarray) -> bytes:
    """A matrix of bytes as the makers publish it."""
    return struct.pack(f"<Ii{pixels.ndim}i", 0x1E3D4C55, pixels.ndim, *pixels.shape) + pixels.tobytes()


@dataclasses.dataclass
class Norb:
    """A small small NORB: pixels [n, 2, 96, 96], and the files that hold them."""

    train: np.ndarray
    validation: np.ndarray
    files: dict[str, bytes]


@pytest.fixture
def declare_norb(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], None]:
    """Has other files accepted."""

    def declare(files: dict[str, bytes]) -> None:
        monkeypatch.setitem(
            DATASETS,
            "small-norb",
            dataclasses.replace(
                DATASETS["small-norb"],
                md5={file: md5(content) for file, content in files.items()},
                train_images=5,
                validation_images=3,
                mirrors=(),
                largest_file=2**20,
            ),
        )

    return declare


@pytest.fixture
def norb(folder: Path, declare_norb: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Norb:
    generator = np.random.default_rng(1)
    train = generator.integers(0, 256, (5, 2, 96, 96), dtype=np.uint8)
    validation = generator.integers(0, 256, (3, 2, 96, 96), dtype=np.uint8)
    # Smooth images too: noise alone is grey once it is resized.
    train[1:] = (train[1:, :, :1, :1] + np.arange(96)[:, None] * 2 + np.arange(96) // 3).astype(np.uint8)
    files = {TRAINING: matrix(train), TESTING: matrix(validation)}
    declare_norb(files)
    monkeypatch.setattr("gon.data.prepare.IMAGES_AT_ONCE", 2)
    return Norb(train, validation, files)


def resized_with_pil(pixels: np.ndarray) -> np.ndarray:
    """The first camera's images, each through the path of the authors' code."""
    images = [PIL.Image.fromarray(pair[0]) for pair in pixels]
    return np.stack(
        [np.asarray(image.resize((32, 32), PIL.Image.Resampling.BILINEAR))[None] for image in images]
    )


def assert_norb_prepared(norb: Norb) -> None:
    assert_prepared("small-norb", resized_with_pil(norb.train), resized_with_pil(norb.validation))


def test_norb_as_published(folder: Path) -> None:
    known = DATASETS["small-norb"]
    header = 4 * (2 + 4)
    for count in (known.train_images, known.validation_images):
        assert known.largest_file > header + count * 2 * 96 * 96
    assert list(known.md5) == [TRAINING, TESTING]


@pytest.mark.parametrize("packed", [False, True])
def test_norb_from_files_that_are_there(folder: Path, norb: Norb, packed: bool) -> None:
    for file, content in norb.files.items():
        if packed:
            write(folder / "SmallNORB" / f"{file}.gz", gzip.compress(content))
        else:
            write(folder / "SmallNORB" / file, content)
    ensure("small-norb")
    assert_norb_prepared(norb)


def test_norb_from_a_mirror(
    folder: Path, norb: Norb, mirror: Callable[..., str], mirrors: Callable[..., None]
) -> None:
    packed = {f"{file}.gz": gzip.compress(content) for file, content in norb.files.items()}
    cut = {**packed, f"{TESTING}.gz": packed[f"{TESTING}.gz"][:-9]}
    # The first file of the first mirror is kept; only the second is asked for again.
    mirrors(mirror(cut), mirror({f"{TESTING}.gz": packed[f"{TESTING}.gz"]}))
    lines: list[str] = []
    ensure("small-norb", report=lines.append)
    assert any(f"{TESTING} cannot be read" in line and "end-of-stream" in line for line in lines)
    assert_norb_prepared(norb)


def header(*numbers: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}I{len(numbers) - 1}i", *numbers)


PIXELS = bytes(5 * 2 * 96 * 96)
WRONG_MATRICES = {
    "empty": (b"", "starts with  and has 0 bytes"),
    "header-cut": (header(0x1E3D4C55, 4, 5, 2), "and has 16 bytes"),
    "integers": (header(0x1E3D4C54, 4, 5, 2, 96, 96) + PIXELS, "starts with 544c3d1e04000000"),
    "other-order": (header(0x1E3D4C55, 4, 5, 2, 96, 96, order=">") + PIXELS, "starts with 1e3d4c5500000004"),
    "text": (b"<html>" + PIXELS, "starts with 3c68746d6c3e0000"),
    "three-dimensions": (header(0x1E3D4C55, 3, 10, 96, 96) + PIXELS, "starts with 554c3d1e030000000a"),
    "swapped": (header(0x1E3D4C55, 4, 2, 5, 96, 96) + PIXELS, "starts with 554c3d1e0400000002"),
    "cut": (header(0x1E3D4C55, 4, 5, 2, 96, 96) + PIXELS[:-1], "and has 92183 bytes"),
    "no-pixels": (header(0x1E3D4C55, 4, 5, 2, 96, 96), "and has 24 bytes"),
    "trailing": (header(0x1E3D4C55, 4, 5, 2, 96, 96) + PIXELS + b"\0", "and has 92185 bytes"),
}


@pytest.mark.parametrize(("content", "reason"), WRONG_MATRICES.values(), ids=WRONG_MATRICES)
def test_wrong_matrix_is_named_and_kept(
    folder: Path, norb: Norb, declare_norb: Callable[..., None], content: bytes, reason: str
) -> None:
    # Its digest is accepted, so that it gets as far as the reader.
    declare_norb({**norb.files, TRAINING: content})
    path = write(folder / "SmallNORB" / TRAINING, content)
    write(folder / "SmallNORB" / TESTING, norb.files[TESTING])
    before = files_in(folder)
    with pytest.raises(GonError) as caught:
        ensure("small-norb")
    assert str(caught.value).startswith(f"{path}: starts with ")
    for part in (reason, f"expected {header(0x1E3D4C55, 4, 5, 2, 96, 96).hex()} and 92184", "not used"):
        assert part in str(caught.value)
    assert files_in(folder) == {**before, "small-norb.unavailable.txt": len(note("small-norb"))}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("damage", ["cut", "trailing", "other"])
def test_wrong_file_is_named_and_kept(folder: Path, norb: Norb, suffix: str, damage: str) -> None:
    def damaged(content: bytes) -> bytes:
        if damage == "other":
            return gzip.compress(b"other") if suffix else b"other"
        content = gzip.compress(content) if suffix else content
        return content[:-10] if damage == "cut" else content + b"trailing"

    content = damaged(norb.files[TESTING])
    write(folder / "SmallNORB" / TRAINING, norb.files[TRAINING])
    path = write(folder / "SmallNORB" / f"{TESTING}{suffix}", content)
    before = files_in(folder)
    with pytest.raises(GonError) as caught:
        acquire("small-norb")
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "not used" in message
    if not suffix or damage == "other":
        found = b"other" if suffix else content
        assert f"MD5 of {TESTING} is {md5(found)}, expected {md5(norb.files[TESTING])}" in message
    else:
        assert f"{TESTING} cannot be read" in message
    assert files_in(folder) == before
    assert path.read_bytes() == content


def test_more_than_the_largest_file_is_not_taken(
    folder: Path, norb: Norb, mirror: Callable[..., str], mirrors: Callable[..., None]
) -> None:
    noise = np.random.default_rng(0).bytes(2**20 + 1)  # too large as it is sent
    mirrors(
        mirror({f"{TRAINING}.gz": gzip.compress(bytes(2**26))}),  # once unpacked
        mirror({f"{TRAINING}.gz": noise}),
    )
    with pytest.raises(GonError) as caught:
        acquire("small-norb")
    assert f"{TRAINING} has more than 1048576 bytes" in str(caught.value)
    assert f"{TRAINING}.gz has more than 1048576 bytes" in str(caught.value)
    assert not list(folder.rglob("*dat.mat*"))


def test_folder_that_cannot_be_written_to_is_not_the_files_fault(
    folder: Path, norb: Norb, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write(folder / "SmallNORB" / f"{TRAINING}.gz", gzip.compress(norb.files[TRAINING]))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GonError) as caught:
        acquire("small-norb")
    path = folder / "SmallNORB" / TRAINING
    assert str(caught.value) == f"{path}: cannot write the file (No space left on device)"
    assert list(path.parent.iterdir()) == [path.with_name(f"{TRAINING}.gz")]


# Sources that do not work


@pytest.mark.parametrize("name", ["cifar-10", "small-norb"])
def test_where_nothing_works_one_error_lists_every_source(
    folder: Path, name: str, silent_server: str, mirrors: Callable[..., None]
) -> None:
    refusing = "http://127.0.0.1:9/"
    mirrors(silent_server, refusing)
    started = time.monotonic()
    with pytest.raises(GonError) as caught:
        ensure(name)
    assert time.monotonic() - started < 3 * SOURCE_SECONDS
    message = str(caught.value)
    by_hand = message[message.index("To supply the files by hand") :]
    assert f"mirror {silent_server}: " in message
    assert f"mirror {refusing}: " in message
    assert "refused" in message
    for part in (*DATASETS[name].md5, str(raw_dir(name)), "GON_DATA_DIR"):
        assert part in by_hand
    if name == "cifar-10":
        assert f"put {ARCHIVE} into {folder}, or" in by_hand
        assert f"archive {folder / ARCHIVE}: not there" in message
    assert data.absence(name) is not None


class Trickle(http.server.BaseHTTPRequestHandler):
    """Sends a little at a time, without end."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(100))
                time.sleep(0.1)
        except OSError:
            pass  # given up

    def log_message(self, *_: object) -> None:
        pass


def test_mirror_that_is_too_slow_is_given_up(
    folder: Path, norb: Norb, mirrors: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gon.data.download.PATIENCE_SECONDS", 1)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickle) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirrors(f"http://127.0.0.1:{server.server_port}/")
        started = time.monotonic()
        with pytest.raises(GonError, match=r"too slow, with \d+ bytes of .* in 1 s"):
            acquire("small-norb")
        assert 1 < time.monotonic() - started < 4
        server.shutdown()


# Why a data set is absent


def note(name: str) -> str:
    return data.unavailable_path(name).read_text()


def test_absence_before_any_attempt(folder: Path) -> None:
    assert data.absence("cifar-10") == "not prepared; run `gon data cifar-10`"
    assert not folder.exists()


def test_absence_says_why_the_last_attempt_failed_until_one_succeeds(
    folder: Path, cifar: Cifar, mirror: Callable[..., str], mirrors: Callable[..., None]
) -> None:
    empty = mirror({})
    mirrors(empty, "http://127.0.0.1:9/")
    with pytest.raises(GonError):
        ensure("cifar-10")
    absence = data.absence("cifar-10")
    assert absence is not None
    assert absence == (
        f"no source gave the files (mirror {empty}: HTTP Error 404: Not Found; "
        "mirror http://127.0.0.1:9/: Connection refused); run `gon data cifar-10` to try again"
    )

    # Another reason takes its place.
    archive = cifar.archive()
    write(folder / ARCHIVE, archive)
    with pytest.raises(GonError):
        ensure("cifar-10")
    absence = data.absence("cifar-10")
    assert absence is not None
    assert absence.startswith(f"{ARCHIVE}: MD5 of {ARCHIVE} is {md5(archive)}, expected ")
    assert "no source" not in absence
    assert str(folder) not in absence

    cifar.declare(cifar.files, archive)
    ensure("cifar-10")
    assert data.absence("cifar-10") is None
    assert not data.unavailable_path("cifar-10").exists()
    # A note that is left over says nothing about data that is there, and goes.
    write(data.unavailable_path("cifar-10"), b"left over")
    assert data.absence("cifar-10") is None
    ensure("cifar-10")
    assert not data.unavailable_path("cifar-10").exists()


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe\x00"])
def test_absence_with_an_unreadable_note(folder: Path, content: bytes) -> None:
    write(data.unavailable_path("small-norb"), content)
    assert data.absence("small-norb") == "not prepared; run `gon data small-norb`"


def test_required_data_sets_leave_no_note(
    folder: Path, mirrors: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gon.data.acquire.NPM_PACKAGES", {})
    mirrors()
    with pytest.raises(GonError):
        ensure("mnist")
    assert not data.unavailable_path("mnist").exists()


def test_absence_imports_no_torch() -> None:
    code = (
        "import sys; from gon.data.prepared import absence; absence('cifar-10'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
