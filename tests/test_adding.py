"""Records of others: taken from an archive, a report, a checkout or a folder; checked, added or refused."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from report_support import build, make_claim, runs_of

from gon.errors import GonError
from gon.files import sha256_of_file
from gon.runs.origin import read_origin
from gon.runs.record import RunRecord
from gon.runs.store import RunStore
from gon.verify.adding import add_records


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that somebody else made, in their checkout; their records lie there too."""
    checkout = tmp_path_factory.mktemp("theirs")
    claim = checkout / "claims" / "two_step"
    make_claim(claim, "two_step")
    build([claim], checkout / "report")
    shutil.copytree(runs_of(claim), checkout / "records")
    return checkout


def records_of(store: Path) -> dict[str, bytes]:
    """Every record of a store."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.glob("*/epochs-*.json")
        if path.stem.removeprefix("epochs-").isdecimal()
    }


@pytest.mark.parametrize("source", ["report/report.zip", "report", ".", "records"])
def test_records_are_added_with_where_they_came_from(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    ours = tmp_path / "records"
    assert add_records(theirs / source, ours) == 0
    assert records_of(ours) == records_of(theirs / "records")
    archive = f"report.zip, SHA-256 {sha256_of_file(theirs / 'report/report.zip')}"
    origin = archive if source.startswith("report") else "the folder"
    for name in records_of(ours):
        path = ours / name
        assert origin in read_origin(path.parent)[path.name]
        record = RunRecord.from_json(path.read_text(), path)
        assert RunStore(ours).load(record.spec, record.epochs) == record
    added = capsys.readouterr().out
    assert f"{len(records_of(ours))} added" in added and "0 refused" in added
    assert add_records(theirs / source, ours) == 0  # once more: nothing to do
    assert f"0 added to {ours}" in capsys.readouterr().out


def test_where_a_record_came_from_stands_on_the_page(theirs: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claims" / "two_step"
    make_claim(claim, "two_step")
    shutil.rmtree(runs_of(claim))
    add_records(theirs / "report" / "report.zip", runs_of(claim))
    shutil.copytree(theirs / "claims" / "two_step", claim, dirs_exist_ok=True)
    build([claim], tmp_path / "report")
    page = BeautifulSoup((tmp_path / "report/index.html").read_text(encoding="utf-8"), "html.parser")
    digest = sha256_of_file(theirs / "report/report.zip")
    number = len(records_of(runs_of(claim)))
    told = " ".join(page.get_text().split())
    assert f"Not trained here: {number} runs from report.zip, SHA-256 {digest}" in told


def first_of(store: Path) -> tuple[RunStore, RunRecord, Path]:
    path = store / min(records_of(store))
    return RunStore(store), RunRecord.from_json(path.read_text(), path), path


def test_what_is_damaged_or_contradicts_is_refused_and_the_rest_is_added(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(theirs / "records", tmp_path / "theirs")
    store, record, path = first_of(tmp_path / "theirs")
    path.write_text(path.read_text().replace('"peak_memory_mib": ', '"peak_memory_mib": 1'))
    ours = tmp_path / "ours"
    assert add_records(store.root, ours) == 1
    told = capsys.readouterr().out
    assert f"refused {record.spec.digest}/{path.name}" in told and "altered after it was written" in told
    assert len(records_of(ours)) == len(records_of(store.root)) - 1

    # Another training of that run is here already, and stays.
    losses = RunStore(theirs / "records").load_steps(record.spec, record.epochs)
    epoch = dataclasses.replace(record.history[0], train_loss=float((losses * 2).mean(dtype="f8")))
    RunStore(ours).save(dataclasses.replace(record, history=[epoch], files={}), losses * 2)
    before = records_of(ours)
    assert add_records(theirs / "records", ours) == 1
    assert "another record of this run is here" in capsys.readouterr().out
    assert records_of(ours) == before


def test_a_copy_under_another_seed_is_refused(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, record, _ = first_of(theirs / "records")
    other = dataclasses.replace(record.spec, seed=7)
    RunStore(tmp_path / "theirs").save(
        dataclasses.replace(record, spec=other, files={}), store.steps_of(record)
    )
    shutil.copytree(theirs / "records", tmp_path / "ours")
    assert add_records(tmp_path / "theirs", tmp_path / "ours") == 1
    assert f"has the losses of run {record.spec.digest} at every step" in capsys.readouterr().out
    assert not (tmp_path / "ours" / other.digest).exists()


@pytest.mark.parametrize("source", ["nothing", "empty", "file.zip"])
def test_what_holds_no_records_is_named(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.zip").write_text("no archive")
    with pytest.raises(GonError, match=f"{source}: "):
        add_records(tmp_path / source, tmp_path / "ours")
