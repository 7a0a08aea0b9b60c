"""Measurements of a claim's runs as tidy frames, one row per observation."""

import dataclasses

import numpy as np
import pandas as pd

from gon.claims.loading import Run
from gon.claims.quantities import MEASURED, block_means, value_of
from gon.spec import RunSpec

_KEYS = ["run", *(field.name for field in dataclasses.fields(RunSpec)), "epochs"]


class Frames:
    """What was measured on runs.

    Every frame has the settings of a run, `run` (its digest), and what was measured; `epochs` says after how
    many. Rows without a run are published values.

    Attributes
    ----------
    runs
        The runs that it all is taken from.
    """

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def measured(self, epochs: int | None = None) -> pd.DataFrame:
        """What the records say, one row per run: settings, and the quantities `MEASURED`.

        Parameters
        ----------
        epochs
            After how many epochs, of the runs that have come so far; None for the last ones. Where some
            seeds of a setting were trained farther than others, only those: numbers and curves of one
            setting are of one length of training.
        """
        reached: dict[RunSpec, int] = {}
        for run in self.runs:
            reached[run.setting] = max(reached.get(run.setting, 0), run.epochs)
        rows = []
        for run in self.runs:
            # What is computed has no later epochs, and is the same after any.
            after = reached[run.setting] if epochs is None or run.exact else epochs
            if run.epochs >= after:
                values = {quantity: value_of(run, quantity, after) for quantity in MEASURED}
                rows.append({"run": run.spec.digest, **vars(run.spec), "epochs": after, **values})
        columns = [*_KEYS, *MEASURED]  # also of a claim that has no run yet
        return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})

    def at_equal_length(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The settings of a frame, all after the most epochs that a seed of each has reached.

        So that what stands side by side has been trained alike: while the longest runs are trained one after
        the other, some settings are far ahead of others.

        Parameters
        ----------
        frame
            Rows of `measured`.

        Returns
        -------
        pandas.DataFrame
            As `measured` gives it, of every seed that has come so far.
        """
        settings = {run.setting for run in self.of(frame)}
        reached = [
            max(run.epochs for run in self.runs if run.setting == setting)
            for setting in settings
            if not setting.entry.exact
        ]
        found = self.measured(min(reached, default=None))
        return found[found.run.isin([run.spec.digest for run in self.runs if run.setting in settings])]

    def training(self, frame: pd.DataFrame, points: int = 80) -> pd.DataFrame:
        """The training loss of a frame's runs up to its `epochs`, in at most so many blocks of steps.

        Columns `epoch`, `seconds` of training (CPU) and `loss`; of what is computed one row, without a time.
        """
        parts = [pd.DataFrame(columns=["run", "epoch", "seconds", "loss"])]
        for run, after in self._lengths(frame):
            steps, losses = block_means(run.step_losses[: after * run.spec.steps_per_epoch], points)
            if run.exact:
                steps, losses = np.full(1, np.nan), np.full(1, run.record.loss("train_loss") or np.nan)
            seconds = steps * (run.record.step_milliseconds or 0.0) / 1e3
            epochs = steps / run.spec.steps_per_epoch
            values = {"run": run.spec.digest, "epoch": epochs, "seconds": seconds, "loss": losses}
            parts.append(pd.DataFrame(values))
        return frame[_KEYS].merge(pd.concat(parts), on="run")

    def history(self, frame: pd.DataFrame, better: bool = False) -> pd.DataFrame:
        """The validation `loss` of a frame's runs after each `epoch` up to its `epochs`.

        Parameters
        ----------
        frame
            The runs.
        better
            Of a model with an encoder, the better of its two batch-norm modes, chosen for each setting by
            the mean over its seeds at the end, as the rules do.
        """
        rows = []
        for run, after in self._lengths(frame):
            mode = "validation_loss"
            if better and run.spec.entry.has_encoder:
                alike = [other for other in self.of(frame) if other.setting == run.setting]
                means = {
                    key: np.mean([other.record.loss(key, after) or np.inf for other in alike])
                    for key in (mode, "validation_loss_running")
                }
                mode = min(means, key=means.__getitem__)
            history = run.record.history[:after]
            rows += [(run.spec.digest, epoch.epoch, getattr(epoch, mode)) for epoch in history]
        losses = pd.DataFrame(rows, columns=["run", "epoch", "loss"])
        return frame[_KEYS].merge(losses, on="run")

    def evaluation(self, name: str) -> pd.DataFrame:
        """What a further evaluation gave, a key of `gon.catalogue.EVALUATIONS`.

        Columns `variable`, `value`, and `quantity`, the key of `gon.claims.quantities` that it is.
        """
        rows = [
            (run.spec.digest, f"evaluation:{name}/{entry[0]}", *entry)
            for run in self.runs
            for entry in run.evaluation(name).items()
        ]
        return self.measured()[_KEYS].merge(
            pd.DataFrame(rows, columns=["run", "quantity", "variable", "value"]), on="run"
        )

    def of(self, frame: pd.DataFrame) -> list[Run]:
        """The runs of a frame's rows, in their order."""
        by_digest = {run.spec.digest: run for run in self.runs}
        return [by_digest[digest] for digest in frame["run"].dropna().unique()]

    def _lengths(self, frame: pd.DataFrame) -> list[tuple[Run, int]]:
        """The runs of a frame's rows, each with the epochs that it is shown for."""
        after = frame.dropna(subset=["run"]).groupby("run")["epochs"].max()
        return [(run, int(after[run.spec.digest])) for run in self.of(frame)]
