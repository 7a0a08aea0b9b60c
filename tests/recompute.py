"""Ten numbers of a report's page, computed once more: `python tests/recompute.py REPORT DATA`.

It shares no code with the project: what it reads is the page, the losses of every step, the records and the
images, by numpy, scipy and Beautiful Soup alone.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bs4 import BeautifulSoup, Tag
from scipy import stats

Array = npt.NDArray[np.float64]
Found = tuple[str, float, float]
"""What it is, as the page has it, and as it is computed here."""


class Report:
    """A report's folder, and the records in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.page = BeautifulSoup((folder / "index.html").read_text(encoding="utf-8"), "html.parser")
        self.records: dict[str, dict[str, Any]] = {}  # the longest record of each run
        for path in sorted((folder / "data" / "runs").glob("*/epochs-*[0-9].json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            known = self.records.get(path.parent.name)
            if known is None or known["epochs"] < record["epochs"]:
                self.records[path.parent.name] = record

    def seeds(self, **settings: object) -> list[str]:
        """Names of the runs with some settings and no others, by seed."""
        usual = {"model": "gon", "activation": "elu", "inner_steps": 1, "width": 16, "split": "test"}
        usual |= {"learning_rate": 1e-4, "batch_size": 64}
        found = {
            record["spec"]["seed"]: name
            for name, record in self.records.items()
            if all(record["spec"][key] == value for key, value in (usual | settings).items())
        }
        return [found[seed] for seed in sorted(found)]

    def steps(self, name: str) -> Array:
        """Training loss of every step, from its four planes of bytes; of two trainings the longer."""
        paths = (self.folder / "data" / "runs" / name).glob("steps-*.npz")
        path = max(paths, key=lambda path: path.stat().st_size)
        planes = np.load(path)["planes"]
        return np.ascontiguousarray(planes.T).view("<f4")[:, 0].astype(np.float64)

    def losses(self, names: list[str], epoch: int, key: str = "validation_loss") -> Array:
        """A loss after so many epochs of each run that has them; from 50 on, the mean of the last five."""
        names = [name for name in names if len(self.records[name]["history"]) >= epoch]
        first = epoch - (5 if epoch >= 50 else 1)
        if key == "train_loss":  # from the steps, 937 an epoch
            return np.array([self.steps(name)[first * 937 : epoch * 937].mean() for name in names])
        histories = [self.records[name]["history"][first:epoch] for name in names]
        return np.array([np.mean([entry[key] for entry in history]) for history in histories])

    def cell(self, row: str, column: int) -> Tag:
        """A cell of Table 1: its row by its head, its column by number."""
        table = self.page.select_one("#claim-latent_size-table-table_1")
        assert table is not None
        (found,) = [
            r for r in table.select("tbody tr") if r.th is not None and r.th.get_text(strip=True) == row
        ]
        return found.select("td")[column]

    def answer(self, question: str) -> tuple[list[float], int]:
        """The numbers that decide a question of the first screen, and after how many epochs."""
        (link,) = [a for a in self.page.select("#summary th a") if a.get_text(strip=True) == question]
        row = link.find_parent("tr")
        assert row is not None
        return [float(str(data["value"])) for data in row.select("data")], epochs_of(row)


def epochs_of(tag: Tag) -> int:
    """After how many epochs its numbers stand, as their links say; 0 where they take no training."""
    titles = " ".join(str(link["title"]) for link in tag.select("a[title]"))
    return max(map(int, re.findall(r"(\d+) epoch", titles)), default=0)


def mean_and_spread(cell: Tag) -> tuple[float, float]:
    """The mean as the page's source has it, and half of its interval as printed."""
    data, small = cell.select_one("data"), cell.select_one("small")
    assert data is not None and small is not None
    return float(str(data["value"])), float(small.get_text().split("±")[1].split(",")[0])


def half_interval(values: Array) -> float:
    """Of the mean's 95% interval by Student's t."""
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def ratio(first: Array, second: Array) -> float:
    """Of geometric means over the seeds that both have, less one."""
    n = min(len(first), len(second))
    return float(np.exp(np.log(first[:n] / second[:n]).mean()) - 1)


def pca(data: Path, dataset: str, components: int) -> float:
    """SSE per validation image of the components that explain most of the training images."""
    train, validation = (
        np.load(data / dataset / f"{split}-32.npy").reshape(-1, 1024).astype(np.float64) / 255
        for split in ("train", "validation")
    )
    mean = train.mean(0)
    _, vectors = np.linalg.eigh((train - mean).T @ (train - mean))
    best, centred = vectors[:, -components:], validation - mean
    return float(np.square(centred - centred @ best @ best.T).sum(1).mean())


def parameters(latent: int, encoder: bool = False) -> int:
    """Of four transposed convolutions and the norms behind three of them; an encoder mirrors them."""
    sizes = [(latent, 64), (64, 32), (32, 16), (16, 1)]
    count = sum(16 * a * b + b for a, b in sizes) + sum(2 * b for _, b in sizes[:3])
    if encoder:
        count += sum(16 * a * b + a for a, b in sizes) + sum(2 * b for _, b in sizes[:3])
    return count


def recompute(report: Report, data: Path) -> list[Found]:
    """The ten numbers."""
    one, two = (report.seeds(dataset="mnist", latent_dim=64, inner_steps=n) for n in (1, 2))
    large, middle = (report.seeds(dataset="mnist", latent_dim=n) for n in (256, 128))
    fashion = report.seeds(dataset="fashion-mnist", latent_dim=128)
    linear = report.cell("latent 64", 1).select_one("data")
    assert linear is not None
    found: list[Found] = []
    for name, cell, runs in (
        ("MNIST, 64", report.cell("latent 64", 0), one),
        ("Fashion-MNIST, 128", report.cell("latent 128", 3), fashion),
    ):
        (shown, spread), losses = mean_and_spread(cell), report.losses(runs, epochs_of(cell))
        found.append((f"Table 1, {name}", shown, float(losses.mean())))
        found.append((f"Table 1, {name}, interval", spread, half_interval(losses)))
    (own, theirs, less), _ = report.answer("Does it have half the parameters?")
    size, epochs = report.answer("Does a larger latent reconstruct better?")
    sizes = [report.losses(names, epochs) for names in (large, middle)]
    step, epochs = report.answer("Does a second gradient step help?")
    steps = [report.losses(names, epochs, "train_loss") for names in (two, one)]
    return [
        *found,
        ("PCA, MNIST, 64", float(str(linear["value"])), pca(data, "mnist", 64)),
        ("parameters of GON", own, parameters(64)),
        ("parameters of the autoencoder", theirs, parameters(64, encoder=True)),
        ("how many fewer", less, parameters(64) / parameters(64, encoder=True) - 1),
        ("latent 256 against 128", size[-1], ratio(*sizes)),
        ("two steps against one", step[-1], ratio(*steps)),
    ]


def agree(shown: float, computed: float) -> bool:
    """To the three digits that are printed at least; a ratio near zero to a millionth."""
    return abs(shown - computed) <= max(5e-3 * abs(computed), 1e-6)


def main(folder: Path, data: Path) -> int:
    """Print the numbers; the exit status is 1 if one does not agree."""
    found = recompute(Report(folder), data)
    for name, shown, computed in found:
        print(f"{name:40} {shown:<14.8g} {computed:<14.8g} {'' if agree(shown, computed) else 'DIFFERS'}")
    return 0 if all(agree(shown, computed) for _, shown, computed in found) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
