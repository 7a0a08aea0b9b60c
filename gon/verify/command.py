"""Check records: first against their own digests, then by training a few of them again.

A digest shows that a file was altered after it was written. It cannot show that a record with matching
digests was ever trained; only training it again can.
"""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gon.claims.formats import counted
from gon.claims.study import Study
from gon.errors import GonError, UsageError
from gon.reporting.checked import checked_words
from gon.reporting.package import ARCHIVE
from gon.runs import provenance
from gon.runs.checkpoint import load_checkpoint
from gon.runs.record import RunRecord
from gon.runs.store import RunStore
from gon.runs.trajectory import new_run
from gon.verify.comparing import compare_with_records, deciding, write_checked
from gon.verify.findings import Check
from gon.verify.rebuilding import check_folder, rebuild, unpacked
from gon.verify.records import check_store
from gon.verify.retraining import evaluate_again, retrain
from gon.verify.signing import SUMS, check_signature, check_sums


def verify(
    stores: Sequence[RunStore],
    *,
    digests: Sequence[str] | None,
    runs: int | None,
    epochs: int,
    steps: int | None,
    seed: int,
    from_checkpoint: bool = False,
    signers: Path | None = None,
) -> int:
    """Check all records of some stores, train some again, and print a table and what it covers.

    Parameters
    ----------
    stores
        Where the runs lie; they are only read. A run counts where it is recorded farthest.
    digests
        The runs to look at; all if not given.
    runs
        How many to train again; all if None.
    epochs, steps
        See `gon.verify.retraining.retrain`.
    seed
        Decides which.
    from_checkpoint
        Train on from a checkpoint that is there, in place of the start.
    signers
        Who may sign the digests of a folder of records, see `gon.verify.signing.check_signature`.

    Returns
    -------
    int
        Exit status: 0 if all agree, 1 if not.

    Raises
    ------
    GonError
        If there is no record at all.
    """
    found: dict[str, tuple[RunRecord, RunStore]] = {}
    checks: list[Check] = []
    for store in stores:
        if (store.root / SUMS).exists():
            checks.append(check_sums(store.root))
            checks += filter(None, [check_signature(store.root / SUMS, signers)])
        records, damaged = check_store(store, digests)
        checks += damaged
        for record in records:
            known = found.get(record.spec.digest)
            if known is None or known[0].epochs < record.epochs:
                found[record.spec.digest] = record, store
    if not found and not any(check.outcome == "damaged" for check in checks):
        raise GonError(f"{stores[0].root}: holds no record to verify")
    able = [
        (record, store, checkpoint)
        for record, store in found.values()
        if record.spec.numerics == record.spec.entry.numerics
        for checkpoint in [_checkpoint(record, store) if from_checkpoint else None]
        if checkpoint is not None or not from_checkpoint
    ]
    chosen = random.Random(seed).sample(able, len(able) if runs is None else min(runs, len(able)))
    places = ", ".join(str(store.root) for store in stores)
    print(
        f"{len(found)} run(s) in {places}; {len(chosen)} of them, chosen with --seed {seed}, are trained "
        f"again on {provenance.machine()['processor']} with torch {torch.__version__}",
        flush=True,
    )
    console = Console()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    evaluated = 0
    with Progress(*columns, console=console, transient=True) as progress:
        for record, store in found.values():
            from_weights = list(evaluate_again(record, store))
            evaluated += bool(from_weights)
            checks += from_weights
        for record, store, checkpoint in chosen:
            checks.append(retrain(record, store, epochs, steps, progress, checkpoint))
    print_checks(checks, console)
    again = checks[-len(chosen) :] if chosen else []
    broken = sum(check.outcome == "damaged" for check in checks)
    older = sum(r.spec.numerics != r.spec.entry.numerics for r, _ in found.values())
    print(
        f"{sum(check.agrees for check in again)} of {len(chosen)} trained again agree with their record; "
        f"{broken} damaged" + (f"; {older} of an older arithmetic cannot be trained again" if older else "")
    )
    trained = 0 if steps else sum(min(epochs, record.epochs) for record, _, _ in chosen)
    every = sum(record.epochs for record, _ in found.values())
    print(
        f"Covered: {len(found)} runs by their digests; {trained:,} of {every:,} epochs trained again, in "
        f"{len(chosen)} runs; last losses and evaluations from weights of {evaluated} runs. Not covered: "
        f"{len(found) - len(chosen)} runs were not trained again; {len(found) - evaluated} have no weights."
    )
    return 0 if all(check.agrees for check in checks) else 1


def _checkpoint(record: RunRecord, store: RunStore) -> Path | None:
    """A checkpoint of a run that lies before the end of its record."""
    for path in sorted(store.folder(record.spec).glob("checkpoint*.pt")):
        run = new_run(record.spec)
        try:
            load_checkpoint(run, path, store)
        except GonError:
            continue  # what is damaged is named with the records
        if len(run.history) < record.epochs and not run.diverged:
            return path
    return None


def named_runs(names: Sequence[str], study: Study, known: Sequence[str]) -> list[str]:
    """The runs that somebody names: by the beginning of a digest, by claim, or those that are `deciding`.

    Raises
    ------
    UsageError
        If a name is none of these.
    """
    claims = {claim.name: claim for claim in study.claims}
    digests: list[str] = []
    for name in names:
        if name == "deciding":
            found = deciding(study)
        elif name in claims:
            found = [request.spec.digest for request in claims[name].requests(study.budget)]
        else:
            found = [digest for digest in known if len(name) >= 4 and digest.startswith(name)]
        if not found:
            raise UsageError(
                f"{name!r} is neither a report, a claim ({', '.join(claims)}), `deciding`, nor the beginning "
                "of a run's name"
            )
        digests += found
    return digests


def compare(reference: RunStore, store: RunStore, digests: Sequence[str], output: Path | None) -> int:
    """Compare what was trained with reference records, and say what was found.

    Parameters
    ----------
    reference, store, digests
        See `gon.verify.comparing.compare_with_records`.
    output
        Where to write it, for a report; the exit status is then 0 whatever was found.

    Returns
    -------
    int
        Exit status: 1 if a training disagrees.
    """
    checked = compare_with_records(store, reference, digests)
    print(checked_words(checked, dict.fromkeys(digests, "")))
    if output is not None:
        write_checked(checked, output)
        return 0
    return 1 if checked.disagreeing else 0


def verify_file(path: Path, signers: Path | None) -> int:
    """Check the signature of a file; returns the exit status, 0 if it is valid.

    Raises
    ------
    UsageError
        If there is no signature to check.
    """
    found = check_signature(path, signers)
    if found is None:
        raise UsageError(f"{path}: has no signature beside it, {path.name}.sig, and is no report")
    print_checks([found], Console())
    return 0 if found.agrees else 1


def verify_report(path: Path, signers: Path | None = None) -> int:
    """Check a report against the records in its archive, and print a table and what it covers.

    Parameters
    ----------
    path
        Its folder, or its archive.
    signers
        Who may sign the archive, see `gon.verify.signing.check_signature`.

    Returns
    -------
    int
        Exit status: 0 if everything follows from the records, 1 if not.

    Raises
    ------
    GonError
        If it is no report, or cannot be made from its records.
    """
    with unpacked(path) as folder:
        given = folder / "report"
        store = RunStore(given / "data" / "runs")
        records, checks = check_store(store)
        signature = check_signature(path / ARCHIVE if path.is_dir() else path, signers)
        if not checks:
            checks = [Check("records", "bit-equal", f"all {len(records)} agree with their digests")]
            if (path / ARCHIVE).exists():
                checks.append(check_folder(path, given))
            checks += rebuild(folder)
        print_checks([*([signature] if signature else []), *checks], Console())
    again = f"{path}/data/runs" if path.is_dir() else "data/runs of its folder"
    print(
        "Covered: every record by its digests; claims, tables, figures, numbers and verdicts, made from them."
        f" Not covered: whether they were ever trained; `gon verify --store {again}` trains some again."
    )
    return 0 if all(check.agrees for check in [*checks, *([signature] if signature else [])]) else 1


def print_checks(checks: Sequence[Check], console: Console) -> None:
    """Print what was found, one line a check, and in what other kinds of machine differ from this one."""
    table = Table("what", "finding", "what was compared")
    for check in checks:
        table.add_row(check.name, check.outcome, check.note, style=None if check.agrees else "bold red")
    console.print(table)
    for machine, runs in Counter(check.machine for check in checks if check.machine).items():
        print(f"{counted(runs, 'run')} of another kind of machine. {machine}")
