"""Validation loss by the protocol of the report, and by others; what explains it; and a model's images.

The protocol of the report: batch statistics, in batches of the training size.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gon.catalogue import EVALUATIONS, MODELS, ModelEntry
from gon.errors import UsageError
from gon.science.baselines import GenerativeLatentOptimisation
from gon.science.convolutions import transposed_convolution
from gon.science.fast import fast_decode, fast_origin_latent, inner_gradient
from gon.science.gon import GradientOriginNetwork
from gon.science.measure import (
    full_batches,
    image_means,
    kept_statistics,
    squared_error,
    to_float,
    validation_loss,
)
from gon.science.model import Model
from gon.science.networks import ACTIVATION_DERIVATIVES
from gon.science.protocols import protocol_losses

FITTED_IMAGES = 640
"""Validation images on which the effect of GLO's fitting steps is shown."""
FITTING_STEPS = (1, 2, 5, 10, 20, 50, 100, 200)

FITTING_LEARNING_RATES = (0.001, 0.003)
"""Step sizes of Adam at which that effect is shown, beside the model's own."""

SECOND_STEPS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Lengths that a second inner step is rescaled to, as fractions of the latent that it starts from."""
LATENT_SCALES = (0.1, 0.3, 1, 3, 10, 100)

SAMPLES = 640
"""Latents that are drawn from a prior, and validation images that the images of these are compared with."""

DEAD_SLOPE = 1e-3
"""An activation with a smaller slope passes no gradient worth the name."""


def fitting_losses(model: Model, images: Tensor) -> dict[str, float]:
    """Evaluation `fitting`: the loss on the first `FITTED_IMAGES` images by how GLO's latents are fitted.

    `<steps>` is that after so many `FITTING_STEPS` of the model's own size, `<size>/<steps>` that of
    each of `FITTING_LEARNING_RATES`.
    """
    assert isinstance(model, GenerativeLatentOptimisation)
    own = model.fitting_steps, model.fitting_learning_rate
    by_rate: dict[float, dict[str, float]] = {}
    try:
        for rate in sorted({own[1], *FITTING_LEARNING_RATES}):
            by_rate[rate] = {}
            for steps in FITTING_STEPS:
                model.fitting_steps, model.fitting_learning_rate = steps, rate
                by_rate[rate][str(steps)] = validation_loss(model, images[:FITTED_IMAGES])
    finally:
        model.fitting_steps, model.fitting_learning_rate = own
    rated = {
        f"{rate:g}/{steps}": loss for rate in FITTING_LEARNING_RATES for steps, loss in by_rate[rate].items()
    }
    return by_rate[own[1]] | rated


def inner_step_effect(model: Model, images: Tensor) -> dict[str, float]:
    """Evaluation `inner_step`: what a second inner step changes, whatever the model was trained with.

    With z1 the latent after one step from the origin, and z2 after two: `relative_change` is
    |z2 - z1| / |z1|, `loss/1` and `loss/2` are the losses at z1 and z2, and `rescaled/<fraction>` that
    after a step from z1 in the same direction, but `SECOND_STEPS` times |z1| long. Norms are those of
    each image, whose means over the images stand here.
    """
    assert isinstance(model, GradientOriginNetwork)
    spec, decoder = model.spec, model.decoder

    def measure(x: Tensor) -> dict[str, Tensor]:
        z1 = fast_origin_latent(decoder, x, spec.latent_dim, batch_size=spec.batch_size)
        # The difference z2 - z1 itself: that of the sums would be rounded to multiples of 1e-7 |z1|.
        step = -inner_gradient(decoder, z1, x, batch_size=spec.batch_size)
        change = _quotient(_norms(step), _norms(z1))  # [batch, 1, 1, 1]
        found = {
            "relative_change": change.flatten(),
            "loss/1": squared_error(fast_decode(decoder, z1), x),
            "loss/2": squared_error(fast_decode(decoder, z1 + step), x),
        }
        for fraction in SECOND_STEPS:
            z = z1 + step * _quotient(torch.full_like(change, fraction), change)
            found[f"rescaled/{fraction:g}"] = squared_error(fast_decode(decoder, z), x)
        return found

    return image_means(model, images, measure)


def _norms(z: Tensor) -> Tensor:
    """Length of each latent [batch, 1, 1, 1]."""
    norms: Tensor = torch.linalg.vector_norm(z, dim=(1, 2, 3), keepdim=True)
    return norms


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    """The first by the second, and 0 where that is 0: a network that is dead at the origin takes no step."""
    return torch.where(b > 0, a / b, 0)


def latent_scale_losses(model: Model, images: Tensor) -> dict[str, float]:
    """Evaluation `latent_scale`: the loss with latents multiplied by `LATENT_SCALES`, `scale/<factor>`."""

    def measure(x: Tensor) -> dict[str, Tensor]:
        z = model.encode(x)
        return {f"scale/{factor:g}": squared_error(model.decode(z * factor), x) for factor in LATENT_SCALES}

    return image_means(model, images, measure)


def dead_shares(model: Model, images: Tensor) -> dict[str, float]:
    """Evaluation `dead_units`: which channels of the decoder pass no gradient at the origin z = 0.

    `dead/<layer>` is the share of a hidden layer's channels whose activation has a slope below
    `DEAD_SLOPE` all over the image, and `negative_bias/1` the share of negative biases of the first
    batch norm: at the origin they are the first layer's inputs of the activation, since what that batch
    norm normalises is zero. On the kink of ReLU itself the slope is 1/2, as it is in training.
    """
    layers = list(model.decoder)  # type: ignore[arg-type]
    found = {}
    with kept_statistics(model), torch.no_grad():
        model.train()
        # One image stands for all: at the origin they are equal, and so are the statistics of the batch.
        h = next(model.parameters()).new_zeros(1, model.spec.latent_dim, 1, 1)
        for i in range(3):
            convolution, norm, activation = layers[3 * i : 3 * i + 3]
            n = norm(transposed_convolution(h, convolution))  # the norm would take a bias away again
            h = activation(n)
            slope = ACTIVATION_DERIVATIVES[type(activation)](n, h)
            dead = (slope < DEAD_SLOPE).all(dim=3).all(dim=2)  # [1, channels]
            found[f"dead/{i + 1}"] = dead.double().mean().item()
        found["negative_bias/1"] = (layers[1].bias < 0).double().mean().item()
    return found


def prior_distances(model: Model, images: Tensor) -> dict[str, float]:
    """Evaluation `prior`: where latents lie, and how far what is drawn from the prior is from an image.

    `offset` is the length of the latents' mean over the images, 0 in the prior, and `spread` their root
    mean square distance from it, sqrt(latent_dim) in the prior. `nearest/prior` is the squared error of
    an image drawn from the prior to the nearest validation image, `nearest/moved` that of the same draws
    moved to the latents' mean, and `nearest/images` that of one of the first `SAMPLES` validation images,
    to which none is compared. Means over the images.
    """
    spec, count = model.spec, min(SAMPLES, len(images) // 2)
    x = to_float(images)
    others = x[count:].flatten(1)

    def nearest(y: Tensor) -> float:
        # Without matrix products, which would lose the small distances to rounding.
        distances = torch.cdist(y.flatten(1), others, compute_mode="donot_use_mm_for_euclid_dist")
        return distances.min(dim=1).values.double().square().mean().item()

    with kept_statistics(model), torch.no_grad():
        model.train()
        size = spec.batch_size  # of every batch, since its statistics enter
        z = torch.cat([model.encode(batch) for batch in full_batches(images, size)])[: len(images)]
        mean = z.mean(dim=0)
        generator = torch.Generator().manual_seed(spec.seed)
        drawn = [model.draw(size, generator) for _ in range(math.ceil(SAMPLES / size))]
        found = {
            "offset": mean.norm().item(),
            "spread": (z - mean).square().sum(dim=(1, 2, 3)).mean().sqrt().item(),
            "nearest/prior": nearest(torch.cat([model.decode(batch) for batch in drawn])),
            "nearest/moved": nearest(torch.cat([model.decode(batch + mean) for batch in drawn])),
        }
    return found | ({"nearest/images": nearest(x[:count])} if count else {})


_EVALUATIONS: dict[str, tuple[Callable[[Model, Tensor], dict[str, float]], Callable[[ModelEntry], bool]]] = {
    "protocols": (protocol_losses, lambda entry: True),
    "fitting": (fitting_losses, lambda entry: entry.name == "glo"),
    "inner_step": (inner_step_effect, lambda entry: entry.origin_passes),
    # Of a linear model nothing is learnt: the loss is a parabola of the factor, with its lowest point at 1.
    "latent_scale": (latent_scale_losses, lambda entry: not entry.exact),
    "dead_units": (dead_shares, lambda entry: entry.decodes_latent),
    "prior": (prior_distances, lambda entry: entry.has_prior),
}
"""How each of `gon.catalogue.EVALUATIONS` is made, and of which models."""


def evaluate(model: Model, images: Tensor, evaluation: str) -> dict[str, float]:
    """Make one of `gon.catalogue.EVALUATIONS`.

    Parameters
    ----------
    model
        A trained model; it is left as it was.
    images
        uint8 validation images [n, channels, 32, 32].
    evaluation
        Which; what it measures stands at the function of `_EVALUATIONS` that makes it.

    Returns
    -------
    dict
        Numbers by name, from 0 up: losses as summed squared error per image, shares, and lengths.

    Raises
    ------
    UsageError
        If there is no such evaluation, or it means nothing for the model.
    """
    if evaluation not in _EVALUATIONS:
        raise UsageError(f"evaluation: {evaluation!r} is not known; allowed are {', '.join(EVALUATIONS)}")
    make, is_made_of = _EVALUATIONS[evaluation]
    if not is_made_of(model.spec.entry):
        names = ", ".join(name for name, entry in MODELS.items() if is_made_of(entry))
        raise UsageError(
            f"evaluation: {evaluation!r} is not allowed for the model {model.spec.model!r}; "
            f"it is made of {names}"
        )
    return make(model, images)
