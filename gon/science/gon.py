"""Gradient Origin Networks: the plain one, and the authors' variational and implicit ones."""

import torch
from torch import Tensor, nn

from gon.catalogue import IMAGE_SIZE
from gon.errors import UsageError
from gon.science.baselines import variational_loss
from gon.science.fast import fast_origin_latent, linearise
from gon.science.method import origin_latent, training_objective
from gon.science.model import ConvolutionalModel, Model, standard_normal
from gon.science.networks import Siren
from gon.spec import RunSpec

ORIGIN_PASSES = ("fast", "reference")
"""Implementations of GON's latent: equal up to rounding, see `gon.science.fast`."""


class GradientOriginNetwork(ConvolutionalModel):
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

    def _training_loss(self, x: Tensor) -> Tensor:
        detached = self.spec.model == "gon_detached"
        return training_objective(
            self.encode, self.decode, x, batch_size=self.spec.batch_size, detached=detached
        )

    def encode(self, x: Tensor) -> Tensor:
        """See `Model.encode`."""
        size, batch_size, steps = self.spec.latent_dim, self.spec.batch_size, self.spec.inner_steps
        if self.origin_pass == "fast":
            return fast_origin_latent(self.decoder, x, size, batch_size=batch_size, inner_steps=steps)
        graph = torch.is_grad_enabled()
        with torch.enable_grad():
            z = origin_latent(
                self.decoder, x, size, batch_size=batch_size, inner_steps=steps, differentiable=graph
            )
        return z if graph else z.detach()

    def decode(self, z: Tensor) -> Tensor:
        """See `Model.decode`."""
        images: Tensor = super().decode(z) if self.origin_pass == "fast" else self.decoder(z)
        return images


class VariationalGON(ConvolutionalModel):
    """The variational Gradient Origin Network (paper, section 3.3; authors' variational script).

    Two linear maps make mean and log-variance of a point, at the origin and at the latent alike, and
    both inner and outer loss are the variational one. A reconstruction uses the mean at the latent in
    place of a draw. Draws make the origin differ from image to image, so it takes a whole batch.
    """

    capturable = False
    compilable = True

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.training_loss = self._losses_with
        self.mean = nn.Linear(spec.latent_dim, spec.latent_dim)
        self.log_variance = nn.Linear(spec.latent_dim, spec.latent_dim)
        self.noise = torch.Generator().manual_seed(spec.seed)

    def losses(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """See `Model.losses`."""
        like = x.new_empty(len(x), self.spec.latent_dim)
        at_origin, at_latent = standard_normal(like, self.noise), standard_normal(like, self.noise)
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
        """The means, see `Model.encode`; the step from the origin is taken at draws, as in training.

        At the mean, all images of a batch would have the same origin: batch norms that have never seen
        that in training make a step of it that the decoder cannot use.
        """
        like = x.new_empty(len(x), self.spec.latent_dim)
        # The same draws at every call; those of training go on undisturbed.
        noise = standard_normal(like, torch.Generator().manual_seed(self.spec.seed))
        mean: Tensor = self.mean(self._point(x, noise))
        return mean[:, :, None, None]

    def decode(self, z: Tensor) -> Tensor:
        """See `Model.decode`."""
        # With running statistics the plain form, whose numbers the records hold.
        images: Tensor = super().decode(z) if self.training else self.decoder(z)
        return images


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
    interpolates = True

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
        drawn = self.draw(count, generator).flatten(1)
        z = z.mean(0) + (drawn * values.clamp(min=0).sqrt()) @ vectors.T
        return self.decode(z[:, :, None, None])
