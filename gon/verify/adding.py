"""Take records that others trained: from a report, its archive, a checkout or a folder of runs."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from gon.data.prepared import require_known
from gon.errors import GonError
from gon.files import make_folder, sha256_of_file, write_atomically
from gon.reporting.package import ARCHIVE
from gon.runs.origin import read_origin, write_origin
from gon.runs.record import RunRecord
from gon.runs.store import RunStore, read_record
from gon.verify.rebuilding import is_report, unpacked
from gon.verify.records import check_store, contradicts
from gon.verify.signing import write_sums


def add_records(source: Path, folder: Path) -> int:
    """Add the records of others to a folder of records, each checked; says what was done with each.

    A record that is damaged, of other data, of an arithmetic that this project does not know, of a run that
    is here with other losses, or a copy of another run's losses, is refused. Nothing that is here changes.

    Parameters
    ----------
    source
        A report's folder or archive, a folder of runs, or a checkout with one in `records/`.
    folder
        Where to add them.

    Returns
    -------
    int
        Exit status: 0, or 1 if a record was refused.

    Raises
    ------
    GonError
        If there is no record.
    """
    here = RunStore(folder)
    added = same = refused = 0
    with _records(source) as (store, origin):
        whole, damaged = check_store(store)
        if not whole and not damaged:
            raise GonError(f"{source}: holds no records")
        for check in damaged:
            print(f"refused {check.name}: {check.note}")
            refused += 1
        known = dict(_losses(here))
        for longest in whole:
            for epochs in store.recorded(longest.spec.digest):
                try:
                    record = store.load(longest.spec, epochs)
                    new = _add(record, store, here, known, origin)
                except GonError as error:
                    print(f"refused {longest.spec.label}, {epochs} epochs: {error}")
                    refused += 1
                    continue
                added, same = added + new, same + (not new)
                if new:
                    print(f"added {longest.spec.label}, {epochs} epochs")
    if added:
        write_sums(folder)
    print(f"{added} added to {folder} from {origin}; {same} were there already; {refused} refused")
    return 1 if refused else 0


@contextlib.contextmanager
def _records(source: Path) -> Iterator[tuple[RunStore, str]]:
    """The runs of a source, and how it is named: by what it is, and the digest of an archive."""
    if is_report(source):
        archive = source / ARCHIVE if source.is_dir() else source
        with unpacked(source) as folder:
            origin = f"{archive.name}, SHA-256 {sha256_of_file(archive)}"
            yield RunStore(folder / "report" / "data" / "runs"), origin
        return
    for below in (".", "records", "data/runs"):
        if any((source / below).glob("*/epochs-*.json")):
            yield RunStore(source / below), f"the folder {source.resolve().name}"
            return
    raise GonError(f"{source}: is neither a report, its archive, nor a folder of runs")


def _losses(store: RunStore) -> Iterator[tuple[bytes, str]]:
    """The losses of the first epoch of every run that is here, and its name."""
    for path in store.root.glob("*/epochs-*.json"):
        if path.stem.removeprefix("epochs-").isdecimal():
            record = read_record(path, {})
            losses = store.steps_of(record)[: record.spec.steps_per_epoch]
            if len(losses) and record.diverged is None:
                yield losses.tobytes(), record.spec.digest


def _add(record: RunRecord, store: RunStore, here: RunStore, known: dict[bytes, str], origin: str) -> bool:
    """Add one record with what lies beside it; whether it was not there yet."""
    spec, source = record.spec, store.record_path(record.spec, record.epochs)
    require_known(spec.dataset, record.data, source)
    if (spec.numerics or 0) > spec.entry.numerics:
        raise GonError(f"is of arithmetic {spec.numerics}; this project knows {spec.entry.numerics}")
    first = store.steps_of(record)[: spec.steps_per_epoch].tobytes()
    if first and record.diverged is None and known.setdefault(first, spec.digest) != spec.digest:
        raise GonError(f"has the losses of run {known[first]} at every step of the first epoch")
    path = here.record_path(spec, record.epochs)
    if path.exists():
        if path.read_bytes() != source.read_bytes():
            raise GonError(f"another record of this run is here, {path}; it stays")
        return False
    for epochs in here.recorded(spec.digest):
        shorter, longer = sorted((here.load(spec, epochs), record), key=lambda r: r.epochs)
        if contradicts(shorter, longer):
            raise GonError(f"does not agree with {here.record_path(spec, epochs)}, of one kind of machine")
    make_folder(path.parent)
    steps, kept = store.steps_path(record), here.steps_path(record)
    if not kept.exists() or kept.stat().st_size < steps.stat().st_size:
        write_atomically(kept, steps.read_bytes())
    for file in sorted(source.parent.glob(f"epochs-{record.epochs}.*")):
        target = path.with_name(file.name)
        if file.suffix in (".json", ".pt", ".csv") and file != source and not target.exists():
            shutil.copyfile(file, target)
    before = read_origin(source.parent).get(source.name)
    write_origin(path.parent, path.name, f"{before}, through {origin}" if before else origin)
    write_atomically(path, source.read_bytes())
    here.load(spec, record.epochs)
    return True
