"""What determines the numbers of a run, and nothing else; its digest names the run."""

import dataclasses
import hashlib
import itertools
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from gon.catalogue import (
    ACTIVATIONS,
    DATASETS,
    HELD_OUT_IMAGES,
    IMAGE_SIZE,
    MODELS,
    SPLITS,
    ModelEntry,
)
from gon.errors import UsageError

# The largest values that make sense; they turn a slip of the keyboard into an error at once
# instead of an allocation failure an hour later.
LARGEST_EPOCHS = 20_000
"""Forty times the published training; a record of so many has 9 MB."""
_LARGEST = {"latent_dim": 65_536, "width": 4_096, "inner_steps": 1_000, "seed": 2**31 - 1}


def meaning(text: str, unit: str = "", **options: Any) -> Any:
    """A field of a dataclass with what it means, and in what unit; further options are those of `field`.

    The one declaration that the data dictionary, the page and the checks read.
    """
    metadata = {"meaning": text, "unit": unit} | options.pop("metadata", {})
    return dataclasses.field(metadata=metadata, **options)


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines the numbers of a run, and nothing else.

    What each field means stands beside it, and is the column's description in the report's data.

    Raises
    ------
    UsageError
        If a value has the wrong type or is out of range; names key, value and what is allowed.
    """

    dataset: str = meaning("Data set, a key of `gon.catalogue.DATASETS`", default="mnist")
    model: str = meaning("Model, a key of `gon.catalogue.MODELS`", default="gon")
    latent_dim: int = meaning("Size of the latent vector z", default=64)
    width: int = meaning(
        "Channels w of the decoder's last hidden layer (authors' code: 16); of an implicit network, units of "
        "a hidden layer",
        default=16,
    )
    activation: str = meaning(
        "Non-linearity of the decoder, a key of `gon.catalogue.ACTIVATIONS`", default="elu"
    )
    inner_steps: int = meaning(
        "Gradient steps that lead from the origin to the latent (report, section 4.3)", default=1
    )
    learning_rate: float = meaning("Step size of Adam (authors' code: 1e-4)", default=1e-4)
    batch_size: int = meaning(
        "Images per step; the inner loss is a mean over the batch, so this is part of the model", default=64
    )
    seed: int = meaning("Random seed of the initial weights and of the order of the batches", default=0)
    split: str = meaning("What is trained and validated on, a key of `gon.catalogue.SPLITS`", default="test")
    train_images: int | None = meaning(
        "The first so many training images are used; None stands for all of them", default=None
    )
    validation_images: int | None = meaning("Likewise of the validation images", default=None)
    numerics: int | None = meaning(
        "Version of the model's arithmetic; None stands for today's, see `gon.catalogue.ModelEntry`",
        default=None,
    )

    def __post_init__(self) -> None:
        """Check every value, and write a split that is used whole as its size."""
        _require_choice("dataset", self.dataset, DATASETS)
        _require_choice("model", self.model, MODELS)
        _require_choice("activation", self.activation, ACTIVATIONS)
        _require_choice("split", self.split, SPLITS)
        for key, available in zip(("train_images", "validation_images"), self.available_images, strict=True):
            if getattr(self, key) is None:
                object.__setattr__(self, key, available)
            _require_integer(key, getattr(self, key), 1, available)
        for key in ("latent_dim", "width", "inner_steps"):
            _require_integer(key, getattr(self, key), 1, _LARGEST[key])
        _require_integer("seed", self.seed, 0, _LARGEST["seed"])
        # A batch norm over a single image, or no full batch at all, would leave nothing to train.
        _require_integer("batch_size", self.batch_size, 2, typing.cast(int, self.train_images))
        if self.numerics is None:
            object.__setattr__(self, "numerics", self.entry.numerics)
        _require_integer("numerics", self.numerics, 1, self.entry.numerics)
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise UsageError(f"learning_rate: {rate!r} is not allowed; a number above 0 and up to 1 is")
        object.__setattr__(self, "learning_rate", float(rate))
        for key in self.entry.unused:
            value, default = getattr(self, key), getattr(RunSpec, key)
            if value != default:
                raise UsageError(
                    f"{key}: {value!r} has no effect on the model {self.model!r}; allowed is {default!r}"
                )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Make a spec from a mapping; an unknown key raises `UsageError`."""
        known = {f.name for f in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise UsageError(f"{key}: not a setting of a run; allowed are {', '.join(sorted(known))}")
        return cls(**values)

    @property
    def entry(self) -> ModelEntry:
        """What there is to know of the model."""
        return MODELS[self.model]

    @cached_property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the spec as canonical JSON.

        A field that was added later, which its metadata say (`later`), enters only where it differs from
        its default: the digests of all specs that there were before stay as they are.
        """
        content = {
            f.name: value
            for f in dataclasses.fields(self)
            if (value := getattr(self, f.name)) != f.default or not f.metadata.get("later")
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def model_label(self) -> str:
        """The model for people, with its inner steps if more than one."""
        steps = f" with {self.inner_steps} inner steps" if self.inner_steps != 1 else ""
        return self.entry.title + steps

    @property
    def label(self) -> str:
        """A short description for people: what differs from the defaults, after data set and size."""
        return self.settings_label if self.entry.exact else f"{self.settings_label}, seed {self.seed}"

    @property
    def settings_label(self) -> str:
        """The same without the seed: what all seeds share."""
        parts = [DATASETS[self.dataset].title]
        if self.model != "gon":
            parts.append(self.entry.title)
        parts.append(f"latent {self.latent_dim}")
        if "activation" not in self.entry.unused:
            parts.append(ACTIVATIONS[self.activation])
        if self.inner_steps != 1:
            parts.append(f"{self.inner_steps} inner steps")
        return ", ".join(parts + self.unusual)

    @property
    def unusual(self) -> list[str]:
        """In words, each of width, learning rate, batch size and split that is not the default."""
        parts = [
            f"{key.replace('_', ' ')} {getattr(self, key):g}"
            for key in ("width", "learning_rate", "batch_size")
            if getattr(self, key) != getattr(RunSpec, key)
        ]
        return parts + ["held-out split"] * (self.split != "test")

    def arguments(self) -> list[str]:
        """The spec as options of `gon train`; what has its default value is left out."""
        plain = dataclasses.asdict(RunSpec(dataset=self.dataset, model=self.model))
        plain |= {"dataset": None, "model": RunSpec.model}
        changed = [(key, value) for key, value in dataclasses.asdict(self).items() if value != plain[key]]
        return [word for key, value in changed for word in (f"--{key.replace('_', '-')}", str(value))]

    @property
    def available_images(self) -> tuple[int, int]:
        """Images that there are to train and to validate on."""
        dataset = DATASETS[self.dataset]
        if self.split == "held_out":
            return dataset.train_images - HELD_OUT_IMAGES, HELD_OUT_IMAGES
        return dataset.train_images, dataset.validation_images

    @property
    def uses_all_images(self) -> bool:
        """Whether all images are used that there are."""
        return (self.train_images, self.validation_images) == self.available_images

    def epochs_at(self, epochs: int) -> int:
        """Epochs of this run at a budget; one for a model that is computed, whatever the budget."""
        return 1 if self.entry.exact else epochs

    @property
    def pixels(self) -> int:
        """Pixels per image; the loss is a sum over them."""
        return IMAGE_SIZE * IMAGE_SIZE

    @property
    def parameters(self) -> int:
        """Number of trained parameters, where it follows from the settings by a formula.

        Raises
        ------
        UsageError
            If the model has no such formula.
        """
        hidden = (4 * self.width, 2 * self.width, self.width)
        channels = (self.latent_dim, *hidden, DATASETS[self.dataset].channels)
        kernels = 16 * sum(a * b for a, b in itertools.pairwise(channels))
        norms = 2 * sum(hidden)  # weight and bias of each
        decoder = kernels + sum(channels[1:]) + norms
        if self.entry.parameter_formula == "decoder":
            return decoder
        if self.entry.parameter_formula == "decoder and encoder":
            return decoder + kernels + sum(channels[:-1]) + norms
        raise UsageError(f"model: the number of parameters of {self.model!r} is not given by a formula")

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps per epoch; the last partial batch is dropped, as the authors do."""
        return typing.cast(int, self.train_images) // self.batch_size


def _require_choice(key: str, value: object, allowed: Mapping[str, Any] | tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise UsageError(f"{key}: {value!r} is not known; allowed are {', '.join(allowed)}")


def _require_integer(key: str, value: object, smallest: int, largest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
        raise UsageError(f"{key}: {value!r} is not allowed; a whole number from {smallest} to {largest} is")
