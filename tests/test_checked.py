"""What is trained here is compared with the reference records, and the first lines say how it went."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from narrow import there
from report_support import make_claim, runs_of, study_of

from gon.errors import GonError
from gon.reporting.build import build_report
from gon.reporting.checked import Checked, read_checked
from gon.reporting.read import ReportParts
from gon.runs.record import RunRecord
from gon.runs.store import RunStore
from gon.runs.train import train
from gon.spec import RunSpec
from gon.verify.comparing import compare_with_records, write_checked

SPEC = RunSpec(latent_dim=4, width=4, batch_size=32, train_images=96, validation_images=32)


def changed(
    store: RunStore, target: RunStore, change: Callable[[RunRecord], RunRecord], factor: float
) -> None:
    """Every record of a store in another one, with other losses, sealed as they would be."""
    for path in sorted(store.root.glob("*/epochs-*[0-9].json")):
        record = RunRecord.from_json(path.read_text(), path)
        steps = store.load_steps(record.spec, record.epochs)
        if factor == 1.0:
            target.save(change(dataclasses.replace(record, files={})), steps)
            continue
        steps = (steps * factor).astype("<f4")
        size = record.spec.steps_per_epoch
        history = [
            dataclasses.replace(
                epoch,
                train_loss=float(steps[(epoch.epoch - 1) * size : epoch.epoch * size].mean(dtype="f8")),
                validation_loss=factor * (epoch.validation_loss or 0.0),
            )
            for epoch in record.history
        ]
        target.save(change(dataclasses.replace(record, history=history, files={})), steps)


def started_later(record: RunRecord, **machine: str) -> RunRecord:
    sessions = [
        dataclasses.replace(s, started="2026-12-24T00:00:00+00:00", machine={**s.machine, **machine})
        for s in record.sessions
    ]
    return dataclasses.replace(record, sessions=sessions)


def test_a_training_is_compared_as_far_as_both_go(tmp_path: Path) -> None:
    here, reference = RunStore(tmp_path / "here"), RunStore(tmp_path / "reference")
    train(SPEC, 1, here)
    train(SPEC, 3, reference)
    found = compare_with_records(here, reference, [SPEC.digest, "0" * 16])
    assert [(run.run, run.epochs, run.outcome) for run in found.runs] == [(SPEC.digest, 1, "bit-equal")]
    assert found.epochs == 1 and not found.disagreeing
    # What was copied from there proves nothing.
    shutil.copytree(reference.root, tmp_path / "copy")
    assert compare_with_records(RunStore(tmp_path / "copy"), reference, [SPEC.digest]).runs == []


@pytest.mark.parametrize(
    ("machine", "factor", "outcome"),
    [
        ({}, 1.0, "bit-equal"),
        ({}, 1.0001, "differs"),
        ({"processor": "Another"}, 1.0001, "within tolerance"),
        ({"processor": "Another"}, 1.02, "differs"),  # of ELU, which has no jump in its slope
    ],
)
def test_what_may_differ_depends_on_the_kind_of_machine(
    tmp_path: Path, machine: dict[str, str], factor: float, outcome: str
) -> None:
    here, reference = RunStore(tmp_path / "here"), RunStore(tmp_path / "reference")
    train(SPEC, 1, reference)
    changed(reference, here, lambda record: started_later(record, **machine), factor)
    (run,) = compare_with_records(here, reference, [SPEC.digest]).runs
    assert run.outcome == outcome
    assert run.deviation == pytest.approx(factor - 1, rel=1e-3, abs=1e-9)


def first_lines(report: Path) -> BeautifulSoup:
    page = BeautifulSoup((report / "index.html").read_text(encoding="utf-8"), "html.parser")
    return BeautifulSoup(str(page.select_one("#summary")), "html.parser")


@pytest.mark.parametrize(
    ("factor", "machine", "words"),
    [
        (1.0, {}, "all equal bit for bit"),
        (1.001, {"processor": "Another"}, "trained on another kind of machine: they differ by 0.1"),
        (1.001, {}, "It disagrees with the records: "),
    ],
)
def test_the_first_lines_say_what_was_checked_here(
    tmp_path: Path, factor: float, machine: dict[str, str], words: str
) -> None:
    claim = tmp_path / "claims" / "two_step"
    make_claim(claim, "two_step")
    here, reference = RunStore(tmp_path / "here"), RunStore(runs_of(claim))
    changed(reference, here, lambda record: started_later(record, **machine), factor)
    digests = [path.name for path in reference.root.glob("*/")]
    write_checked(compare_with_records(here, reference, digests), tmp_path / "checked.json")
    parts = ReportParts([claim], checked=tmp_path / "checked.json")
    build_report(study_of([claim]), parts, tmp_path / "report")
    lines = first_lines(tmp_path / "report")
    text = " ".join(lines.get_text().split())
    assert f"the first epoch of {len(digests)} of {len(digests)} runs" in text and words in text
    assert text.index(words) < text.index("Does it reproduce?"), "on the first screen, above the answers"
    warning = lines.select_one(".warning")
    assert (warning is not None) == ("disagrees" in words)
    if warning is not None:
        assert "MNIST" in there(warning).get_text()
    build_report(study_of([claim]), ReportParts([claim]), tmp_path / "report")
    assert "Checked on this machine" not in first_lines(tmp_path / "report").get_text()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"machine": 1}', '{"machine": "a", "epochs": 1, "runs": []}']
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "checked.json"
    path.write_text(text)
    with pytest.raises(GonError, match=r"checked\.json: "):
        read_checked(path)


def test_what_was_compared_is_read_as_it_was_written(tmp_path: Path) -> None:
    checked = Checked(machine="M", epochs=1, runs=[])
    write_checked(checked, tmp_path / "checked.json")
    assert read_checked(tmp_path / "checked.json") == checked
    assert json.loads((tmp_path / "checked.json").read_text())["seal"]
