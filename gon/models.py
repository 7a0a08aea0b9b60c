"""Models: what each minimises in a training step, and how it reconstructs an image.

All share one interface, `Model`. The convolutional ones share one decoder too, drawn first from the
random state, so that models of the same seed start from the same decoder.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gon.catalogue import DATASETS, IMAGE_SIZE
from gon.convolutions import transpose
from gon.errors import UsageError
from gon.networks import Siren, decoder, encoder_head, encoder_trunk
from gon.optimizer import Adam
from gon.origin import fast_decode, fast_origin_latent, linearise, origin_latent, reconstruction_loss
from gon.runs import RunSpec

ORIGIN_PASSES = ("fast", "reference")
"""Implementations of GON's latent: equal up to rounding, see `gon.origin`."""

GLO_LATENT_LEARNING_RATE = 0.1
"""Step size of Adam for the training latents of GLO, each of which is updated once per epoch. Of 0.03, 0.1
and 0.3 it gives the lowest training loss (20.6, 18.4 and 22.8 in the fifth epoch on MNIST, latent 64)."""
GLO_FITTING_STEPS = 200
"""Steps in which a latent is fitted to an image that GLO has not been trained on."""
GLO_FITTING_LEARNING_RATE = 0.001
"""Step size of Adam for that. Steps and step size were searched on the first 640 training images, with the
decoder of five epochs (MNIST, latent 64, seed 0). No cheaper setting comes within 1% of the best, 4.96, so
it is the best of 200 steps. Their loss, as SSE per image:

    step size   50 steps    100    200    400
    0.0003          7.85   6.58   5.78   5.30
    0.001           6.36   5.59   5.18   4.99
    0.003           6.64   5.74   5.18   4.96
    0.01            8.26   6.91   5.93   5.35
    0.03           10.72   8.63   7.03   5.96

After ten epochs, on 320 images, 0.001 is ahead of 0.003 after 200 steps: 2.39 against 2.86."""


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of the shape of a tensor; drawn on the CPU, the same on every device."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)


class Model(nn.Module):
    """What a training needs of a model.

    Parameters
    ----------
    spec
        The settings.

    Attributes
    ----------
    capturable
        Whether a training step can be recorded as a CUDA graph.
    compilable
        Whether `training_loss` can be compiled, and that saves a tenth of a step or so: more than compiling
        costs within some ten epochs.
    training_loss
        What `losses` computes, or its compiled form: a function of tensors alone, so that what a model
        draws or looks up for a step is an argument of it.
    noise
        Random stream of a model that draws numbers; part of its state.

    Notes
    -----
    Weights are drawn from torch's global random state, by PyTorch's default initialisation unless
    said otherwise.
    """

    capturable: ClassVar[bool] = True
    compilable = False
    origin_pass = "none"

    def __init__(self, spec: RunSpec) -> None:
        super().__init__()
        self.spec = spec
        self.channels = DATASETS[spec.dataset].channels
        self.noise: torch.Generator | None = None
        self.training_loss: Callable[..., Any] = self._training_loss  # or its compiled form

    def losses(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """What a step minimises, and the reconstruction loss of the batch; for most models the same.

        Parameters
        ----------
        x
            Training images [batch, channels, 32, 32].
        index
            Their numbers [batch] in the training split.

        Returns
        -------
        tuple of Tensor
            The objective [], and `gon.origin.reconstruction_loss` [].
        """
        loss = self.training_loss(x)
        return loss, loss

    def _training_loss(self, x: Tensor) -> Tensor:
        return self.reconstruction_loss(self.reconstruct(x), x)

    def _loss_at(self, x: Tensor, z: Tensor) -> Tensor:
        return self.reconstruction_loss(self.decode(z), x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Find the latents of images [batch, channels, 32, 32], and decode them to images again.

        A graph is kept where autograd is enabled.
        """
        return self.decode(self.encode(x))

    def encode(self, x: Tensor) -> Tensor:
        """Latents [batch, latent_dim, 1, 1] of images."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Images [batch, channels, 32, 32] of latents."""
        raise NotImplementedError

    def sample(self, count: int, x: Tensor, generator: torch.Generator) -> Tensor | None:
        """Draw new images [count, channels, 32, 32].

        Parameters
        ----------
        count
            How many.
        x
            Training images, for a model whose latents have no known distribution.
        generator
            Random numbers come from it, and not from the stream of the training.

        Returns
        -------
        Tensor or None
            None for a model that is no generative one.
        """
        return None

    def optimizers(self) -> list[Adam | torch.optim.Optimizer]:
        """Optimisers of the training."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        return [Adam(parameters, self.spec.learning_rate)] if parameters else []

    def reconstruction_loss(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        """The loss [] of a reconstruction, at the training batch size."""
        return reconstruction_loss(reconstruction, x, self.spec.batch_size)

    def get_extra_state(self) -> Tensor:
        """The state of the random stream; empty for a model that draws nothing."""
        return torch.empty(0, dtype=torch.uint8) if self.noise is None else self.noise.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Continue the random stream."""
        if self.noise is not None:
            self.noise.set_state(state.cpu())

    def _latents_drawn(self, count: int, generator: torch.Generator) -> Tensor:
        like = next(self.parameters())
        return _normal(like.new_empty(count, self.spec.latent_dim, 1, 1), generator)


class GradientOriginNetwork(Model):
    """A decoder whose latents are gradient steps from the origin (ICLR 2021; report, section 3.1).

    Parameters
    ----------
    spec
        Latent size, width, activation, inner steps and batch size are read from it. The model
        `gon_detached` cuts the gradient through the latent: its weights learn to decode, not to encode.
    origin_pass
        One of `ORIGIN_PASSES`.
    """

    def __init__(self, spec: RunSpec, origin_pass: str = "fast") -> None:
        super().__init__(spec)
        if origin_pass not in ORIGIN_PASSES:
            raise UsageError(
                f"origin_pass: {origin_pass!r} is not known; allowed are {', '.join(ORIGIN_PASSES)}"
            )
        self.origin_pass = origin_pass
        # The double backward of the plain form cannot be compiled.
        self.compilable = origin_pass == "fast"
        self.decoder = decoder(spec.latent_dim, spec.width, self.channels, spec.activation)

    def _training_loss(self, x: Tensor) -> Tensor:
        if self.spec.model == "gon_detached":
            with torch.no_grad():
                z = self.encode(x)
        else:
            z = self.encode(x)
        return self.reconstruction_loss(self.decode(z), x)

    def encode(self, x: Tensor) -> Tensor:
        """See `Model.encode`."""
        spec = self.spec
        if self.origin_pass == "fast":
            return fast_origin_latent(
                self.decoder,
                x,
                spec.latent_dim,
                batch_size=spec.batch_size,
                inner_steps=spec.inner_steps,
            )
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            z = origin_latent(
                self.decoder,
                x,
                spec.latent_dim,
                batch_size=spec.batch_size,
                inner_steps=spec.inner_steps,
                differentiable=differentiable,
            )
        return z if differentiable else z.detach()

    def decode(self, z: Tensor) -> Tensor:
        """See `Model.decode`."""
        if self.origin_pass == "fast":
            return fast_decode(self.decoder, z)
        images: Tensor = self.decoder(z)
        return images


class Autoencoder(Model):
    """The same decoder behind an encoder that mirrors it."""

    compilable = True

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.decoder = decoder(spec.latent_dim, spec.width, self.channels, spec.activation)
        self.trunk = encoder_trunk(spec.width, self.channels, spec.activation)
        self.head = encoder_head(spec.latent_dim, spec.width)

    def encode(self, x: Tensor) -> Tensor:
        """See `Model.encode`."""
        z: Tensor = self.head(self.trunk(x))
        return z

    def decode(self, z: Tensor) -> Tensor:
        """See `Model.decode`."""
        return fast_decode(self.decoder, z)


class TiedAutoencoder(Model):
    """An autoencoder whose encoder uses the decoder's kernels, transposed.

    Biases and batch norms are the encoder's own.
    """

    compilable = True

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.decoder = decoder(spec.latent_dim, spec.width, self.channels, spec.activation)
        # Only its biases, norms and activations are used; the kernels are those of the decoder.
        trunk = encoder_trunk(spec.width, self.channels, spec.activation)
        head = encoder_head(spec.latent_dim, spec.width)
        self.biases = nn.ParameterList(
            layer.bias for layer in (*trunk, head) if isinstance(layer, nn.Conv2d) and layer.bias is not None
        )
        self.norms = nn.ModuleList(layer for layer in trunk if isinstance(layer, nn.BatchNorm2d))
        self.activation = trunk[-1]

    def encode(self, x: Tensor) -> Tensor:
        """See `Model.encode`."""
        layers = [layer for layer in self.decoder if isinstance(layer, nn.ConvTranspose2d)]
        h = x
        for i, layer in enumerate(reversed(layers)):
            h = transpose(h, layer) + self.biases[i][:, None, None]
            if i < len(self.norms):
                h = self.activation(self.norms[i](h))
        return h

    def decode(self, z: Tensor) -> Tensor:
        """See `Model.decode`."""
        return fast_decode(self.decoder, z)


class GenerativeLatentOptimisation(Model):
    """A decoder with one learnt latent per training image (Bojanowski et al., ICML 2018).

    The latents start on the unit sphere and are optimised jointly with the decoder. The latents of
    other images are fitted from the origin, in `GLO_FITTING_STEPS` steps, with the decoder frozen.
    """

    capturable = False

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.training_loss = self._loss_at
        self.decoder = decoder(spec.latent_dim, spec.width, self.channels, spec.activation)
        assert spec.train_images is not None
        # Sparse: a step touches the latents of its batch only.
        self.latents = nn.Embedding(spec.train_images, spec.latent_dim, sparse=True)
        with torch.no_grad():
            self.latents.weight.copy_(F.normalize(self.latents.weight, dim=1))
        self.fitting_steps = GLO_FITTING_STEPS
        self.fitting_learning_rate = GLO_FITTING_LEARNING_RATE

    def losses(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """See `Model.losses`."""
        loss = self.training_loss(x, self.latents(index)[:, :, None, None])
        return loss, loss

    def encode(self, x: Tensor) -> Tensor:
        """Fit latents to images, see `Model.encode`. Only the latents have a gradient."""
        with torch.enable_grad():
            z = x.new_zeros(len(x), self.spec.latent_dim, 1, 1).requires_grad_()
            optimizer = Adam([z], self.fitting_learning_rate)
            for _ in range(self.fitting_steps):
                loss = self.reconstruction_loss(self.decode(z), x)
                (z.grad,) = torch.autograd.grad(loss, z)
                optimizer.step()
        return z.detach()

    def decode(self, z: Tensor) -> Tensor:
        """See `Model.decode`."""
        return fast_decode(self.decoder, z)

    def optimizers(self) -> list[Adam | torch.optim.Optimizer]:
        """Adam for the weights, and its sparse form for the latents."""
        return [
            Adam(self.decoder.parameters(), self.spec.learning_rate),
            torch.optim.SparseAdam(self.latents.parameters(), lr=GLO_LATENT_LEARNING_RATE),
        ]


def variational_loss(y: Tensor, x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Negative evidence lower bound per image [], averaged over the batch.

    Binary cross-entropy summed over pixels, and the divergence from a standard normal distribution
    (Kingma and Welling, ICLR 2014, appendix B; authors' variational script).
    """
    cross_entropy = F.binary_cross_entropy(y, x, reduction="sum") / len(x)
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum() / len(x)
    return cross_entropy + divergence


class VariationalAutoencoder(Model):
    """The autoencoder with a normal distribution in place of a latent (Kingma and Welling, 2014).

    A reconstruction is that of the mean; training draws from the distribution.
    """

    capturable = False
    compilable = True

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.training_loss = self._losses_with
        self.decoder = decoder(spec.latent_dim, spec.width, self.channels, spec.activation)
        self.trunk = encoder_trunk(spec.width, self.channels, spec.activation)
        self.mean = encoder_head(spec.latent_dim, spec.width)
        self.log_variance = encoder_head(spec.latent_dim, spec.width)
        self.noise = torch.Generator().manual_seed(spec.seed)

    def losses(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """See `Model.losses`."""
        noise = _normal(x.new_empty(len(x), self.spec.latent_dim, 1, 1), self.noise)
        objective, loss = self.training_loss(x, noise)
        return objective, loss

    def _losses_with(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """See `losses`, with the standard normal numbers [batch, latent_dim, 1, 1] of the draw."""
        h = self.trunk(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        y = self.decode(mean + (log_variance / 2).exp() * noise)
        return variational_loss(y, x, mean, log_variance), self.reconstruction_loss(y.detach(), x)

    def encode(self, x: Tensor) -> Tensor:
        """The means, see `Model.encode`."""
        mean: Tensor = self.mean(self.trunk(x))
        return mean

    def decode(self, z: Tensor) -> Tensor:
        """See `Model.decode`."""
        return fast_decode(self.decoder, z)

    def sample(self, count: int, x: Tensor, generator: torch.Generator) -> Tensor:
        """From the prior, see `Model.sample`."""
        return self.decode(self._latents_drawn(count, generator))


class PCA(Model):
    """The best linear model: projection onto the principal components, computed exactly.

    Components and mean are computed in float64 from all training images in one pass.
    """

    capturable = False

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        size = self.channels * IMAGE_SIZE * IMAGE_SIZE
        if spec.latent_dim > size:
            raise UsageError(
                f"latent_dim: {spec.latent_dim} is not allowed for PCA of {size} values per image"
            )
        zeros = torch.zeros(size, dtype=torch.float64)
        self.mean = nn.Parameter(zeros, requires_grad=False)
        self.components = nn.Parameter(zeros.repeat(spec.latent_dim, 1), requires_grad=False)

    def fit(self, images: Tensor) -> None:
        """Compute mean and components of uint8 images [n, channels, 32, 32]."""
        size, count = len(self.mean), len(images)
        total = torch.zeros_like(self.mean)
        products = total.new_zeros(size, size)
        for chunk in images.split(4096):
            rows = chunk.flatten(1).to(torch.float64) / 255
            total += rows.sum(0)
            products += rows.T @ rows
        mean = total / count
        _, vectors = torch.linalg.eigh(products / count - torch.outer(mean, mean))  # ascending
        with torch.no_grad():
            self.mean.copy_(mean)
            self.components.copy_(vectors[:, -self.spec.latent_dim :].flip(1).T)

    def encode(self, x: Tensor) -> Tensor:
        """See `Model.encode`."""
        return ((x.flatten(1).to(torch.float64) - self.mean) @ self.components.T)[:, :, None, None]

    def decode(self, z: Tensor) -> Tensor:
        """See `Model.decode`; values outside 0 to 1 are left, as clipping is not linear."""
        rows = z.flatten(1) @ self.components + self.mean
        return rows.view(-1, self.channels, IMAGE_SIZE, IMAGE_SIZE)


class VariationalGON(Model):
    """The variational Gradient Origin Network (paper, section 3.3; authors' variational script).

    Two linear maps make mean and log-variance of a point, at the origin and at the latent alike, and
    both inner and outer loss are the variational one. A reconstruction uses the means in place of
    draws. Draws make the origin differ from image to image, so it takes a whole batch.
    """

    capturable = False
    compilable = True

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.training_loss = self._losses_with
        self.decoder = decoder(spec.latent_dim, spec.width, self.channels, spec.activation)
        self.mean = nn.Linear(spec.latent_dim, spec.latent_dim)
        self.log_variance = nn.Linear(spec.latent_dim, spec.latent_dim)
        self.noise = torch.Generator().manual_seed(spec.seed)

    def losses(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """See `Model.losses`."""
        like = x.new_empty(len(x), self.spec.latent_dim)
        at_origin, at_latent = _normal(like, self.noise), _normal(like, self.noise)
        objective, loss = self.training_loss(x, at_origin, at_latent)
        return objective, loss

    def _losses_with(self, x: Tensor, at_origin: Tensor, at_latent: Tensor) -> tuple[Tensor, Tensor]:
        """See `losses`, with the standard normal numbers [batch, latent_dim] of both draws."""
        loss, y = self._loss(self._fast_point(x, at_origin), x, at_latent)
        return loss, self.reconstruction_loss(y.detach(), x)

    def _loss(self, z: Tensor, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Variational loss [] at points z [batch, latent_dim], and the reconstruction."""
        mean, log_variance = self.mean(z), self.log_variance(z)
        y = self.decode((mean + (log_variance / 2).exp() * noise)[:, :, None, None])
        # At the training batch size, whatever the batch at hand: the latent is a gradient of this.
        return variational_loss(y, x, mean, log_variance) * (len(x) / self.spec.batch_size), y

    def _point(self, x: Tensor, noise: Tensor) -> Tensor:
        """The gradient step from the origin [batch, latent_dim], in its plain form and without a graph."""
        with torch.enable_grad():
            z = x.new_zeros(len(x), self.spec.latent_dim).requires_grad_()
            (gradient,) = torch.autograd.grad(self._loss(z, x, noise)[0], z)
        return -gradient

    def _fast_point(self, x: Tensor, noise: Tensor) -> Tensor:
        """The same, as operations that need no double backward; batch norms use the batch's statistics."""
        mean, log_variance = self.mean.bias, self.log_variance.bias  # at the origin
        spread = (log_variance / 2).exp() * noise
        y, pull_back = linearise(self.decoder, (mean + spread)[:, :, None, None], len(x))
        # The derivative of the cross-entropy is bounded as PyTorch bounds it.
        by_latent = pull_back((y - x) / (y - y * y).clamp(min=1e-12)).flatten(1)
        by_mean = by_latent + mean
        by_log_variance = (by_latent * spread + log_variance.exp() - 1) / 2
        gradient = by_mean @ self.mean.weight + by_log_variance @ self.log_variance.weight
        return -gradient / self.spec.batch_size

    def encode(self, x: Tensor) -> Tensor:
        """The means, see `Model.encode`."""
        mean: Tensor = self.mean(self._point(x, x.new_zeros(len(x), self.spec.latent_dim)))
        return mean[:, :, None, None]

    def decode(self, z: Tensor) -> Tensor:
        """See `Model.decode`."""
        if self.training:
            return fast_decode(self.decoder, z)
        images: Tensor = self.decoder(z)  # the fast form knows batch statistics only
        return images

    def sample(self, count: int, x: Tensor, generator: torch.Generator) -> Tensor:
        """From the prior, see `Model.sample`."""
        return self.decode(self._latents_drawn(count, generator))


class ImplicitGON(Model):
    """The implicit Gradient Origin Network: a SIREN from points and a latent to colours (paper, 3.4).

    Notes
    -----
    As in the authors' script for it (github.com/cwkx/GON, commit a6204d1), the inner loss is a sum over
    the pixels, averaged over batch and channels. At the origin all images share one forward pass, and
    the inner gradient is linear in the residuals: it takes the derivative of every colour with respect
    to the latent, once for the whole batch.
    """

    compilable = True

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        # The origin takes a 64th of a step, and a double backward, which cannot be compiled.
        self.training_loss = self._loss_at
        self.network = Siren(spec.latent_dim, spec.width, self.channels)
        axis = torch.linspace(-1, 1, IMAGE_SIZE)
        points = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).flatten(0, 1)
        self.register_buffer("points", points, persistent=False)  # [1024, 2]

    def losses(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """See `Model.losses`."""
        loss = self.training_loss(x, self.encode(x))
        return loss, loss

    def encode(self, x: Tensor) -> Tensor:
        """See `Model.encode`."""
        points: Tensor = self.points  # type: ignore[assignment]
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            origin = x.new_zeros(len(points), self.spec.latent_dim).requires_grad_()  # one per point
            colours = self.network(points, origin)  # [1024, channels]
            slopes = [
                torch.autograd.grad(c.sum(), origin, create_graph=create_graph, retain_graph=True)[0]
                for c in colours.unbind(1)
            ]  # per channel [1024, latent_dim]
        if not create_graph:
            colours = colours.detach()
        scale = 2 / (self.spec.batch_size * self.channels)
        residuals = (colours.T - x.flatten(2)) * scale  # [batch, channels, 1024]
        gradient = torch.einsum("bcp,cpn->bn", residuals, torch.stack(slopes))
        return -gradient[:, :, None, None]

    def decode(self, z: Tensor) -> Tensor:
        """See `Model.decode`; values are not confined to 0 to 1, as in the authors' script."""
        colours = self.network(self.points, z.flatten(1)[:, None])  # [batch, 1024, channels]
        images: Tensor = colours.transpose(1, 2).unflatten(2, (IMAGE_SIZE, IMAGE_SIZE))
        return images

    def sample(self, count: int, x: Tensor, generator: torch.Generator) -> Tensor:
        """From a normal distribution fitted to the latents of `x`, as the authors do."""
        z = torch.cat([self.encode(batch) for batch in x.split(self.spec.batch_size)]).flatten(1)
        values, vectors = torch.linalg.eigh(torch.cov(z.T))
        drawn = self._latents_drawn(count, generator).flatten(1)
        z = z.mean(0) + (drawn * values.clamp(min=0).sqrt()) @ vectors.T
        return self.decode(z[:, :, None, None])


def build_model(spec: RunSpec, origin_pass: str = "fast") -> Model:
    """Build the model of a spec.

    Parameters
    ----------
    spec
        The settings.
    origin_pass
        One of `ORIGIN_PASSES`; only GON and the detached GON have both.
    """
    if spec.model in ("gon", "gon_detached"):
        return GradientOriginNetwork(spec, origin_pass)
    kinds: dict[str, type[Model]] = {
        "autoencoder": Autoencoder,
        "tied_autoencoder": TiedAutoencoder,
        "glo": GenerativeLatentOptimisation,
        "vae": VariationalAutoencoder,
        "pca": PCA,
        "variational_gon": VariationalGON,
        "implicit_gon": ImplicitGON,
    }
    return kinds[spec.model](spec)
