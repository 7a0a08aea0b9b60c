"""Check records against their own digests; nothing is trained."""

from collections.abc import Sequence
from pathlib import Path

from gon.catalogue import EVALUATIONS
from gon.data import prepared as data
from gon.errors import GonError
from gon.runs.checkpoint import load_checkpoint
from gon.runs.record import RunRecord, same_kind
from gon.runs.store import RunStore, read_record
from gon.runs.trajectory import new_run
from gon.verify.findings import Check


def check_store(store: RunStore, digests: Sequence[str] | None = None) -> tuple[list[RunRecord], list[Check]]:
    """Check every record and checkpoint of a store against the digests; nothing is trained.

    Parameters
    ----------
    store
        Where the runs lie.
    digests
        The runs to look at; all if not given.

    Returns
    -------
    tuple
        The longest record of each run that is whole, and a check for each file that is not.
    """
    longest: list[RunRecord] = []
    damaged: list[Check] = []
    for folder in sorted(path.name for path in store.root.glob("*/")):
        if digests is not None and folder not in digests:
            continue
        records: list[RunRecord] = []
        recorded = store.recorded(folder)
        for epochs in recorded:
            path = store.root / folder / f"epochs-{epochs}.json"
            try:
                record = _load(store, path, epochs)
                if records and contradicts(records[-1], record):
                    raise GonError(f"{path}: does not go on from the shorter record beside it")
                records.append(record)
            except GonError as error:
                damaged.append(Check(f"{folder}/{path.name}", "damaged", str(error)))
        longest += records[-1:]
        checkpoint = store.root / folder / "checkpoint.pt"
        if records and len(records) == len(recorded) and checkpoint.exists():
            try:  # as a longer training would
                load_checkpoint(new_run(records[-1].spec), checkpoint, store)
            except GonError as error:
                damaged.append(Check(f"{folder}/{checkpoint.name}", "damaged", str(error)))
    return longest, damaged


def _load(store: RunStore, path: Path, epochs: int) -> RunRecord:
    """Read the record of a file with all that lies beside it."""
    record = read_record(path, {})
    if record.spec.digest != path.parent.name:
        raise GonError(f"{path}: is of run {record.spec.digest}, which is not what its folder says")
    record = store.load(record.spec, epochs)
    data.require_prepared(record.spec.dataset, record.data, path)
    store.load_images(record.spec, epochs)
    for evaluation in EVALUATIONS:
        if store.evaluation_path(record.spec, epochs, evaluation).exists():
            store.load_evaluation(record.spec, epochs, evaluation)
    return record


def contradicts(shorter: RunRecord, longer: RunRecord) -> bool:
    """Whether two records of a run from one kind of machine have different beginnings.

    Chains of different formats cannot be compared link by link, but the losses that they cover can.
    """
    shared = len(shorter.history)
    if not same_kind(shorter.sessions, longer.sessions, max(1, shared)):
        return False
    losses = [
        [(epoch.train_loss, epoch.validation_loss) for epoch in record.history[:shared]]
        for record in (shorter, longer)
    ]
    if shorter.format != longer.format:
        return losses[0] != losses[1]
    return longer.chain[: len(shorter.chain)] != shorter.chain
