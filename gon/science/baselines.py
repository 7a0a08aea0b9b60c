"""Models that GON is compared with: autoencoders, GLO, and PCA."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gon.catalogue import IMAGE_SIZE
from gon.errors import UsageError
from gon.science.convolutions import transpose
from gon.science.model import ConvolutionalModel, Model, standard_normal
from gon.science.networks import encoder_head, encoder_trunk
from gon.science.optimizer import Adam
from gon.spec import RunSpec

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


class Autoencoder(ConvolutionalModel):
    """The same decoder behind an encoder that mirrors it."""

    compilable = True

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.trunk = encoder_trunk(spec.width, self.channels, spec.activation)
        self.head = encoder_head(spec.latent_dim, spec.width)

    def encode(self, x: Tensor) -> Tensor:
        """See `Model.encode`."""
        z: Tensor = self.head(self.trunk(x))
        return z


class TiedAutoencoder(ConvolutionalModel):
    """An autoencoder whose encoder uses the decoder's kernels, transposed.

    Biases and batch norms are the encoder's own.
    """

    compilable = True

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
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


class GenerativeLatentOptimisation(ConvolutionalModel):
    """A decoder with one learnt latent per training image (Bojanowski et al., ICML 2018).

    The latents start on the unit sphere and are optimised jointly with the decoder. The latents of
    other images are fitted from the origin, in `GLO_FITTING_STEPS` steps, with the decoder frozen.
    """

    capturable = False

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.training_loss = self._loss_at
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


class VariationalAutoencoder(ConvolutionalModel):
    """The autoencoder with a normal distribution in place of a latent (Kingma and Welling, 2014).

    A reconstruction is that of the mean; training draws from the distribution.
    """

    capturable = False
    compilable = True

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.training_loss = self._losses_with
        self.trunk = encoder_trunk(spec.width, self.channels, spec.activation)
        self.mean = encoder_head(spec.latent_dim, spec.width)
        self.log_variance = encoder_head(spec.latent_dim, spec.width)
        self.noise = torch.Generator().manual_seed(spec.seed)

    def losses(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """See `Model.losses`."""
        noise = standard_normal(x.new_empty(len(x), self.spec.latent_dim, 1, 1), self.noise)
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

    def begin_epoch(self, images: Tensor) -> None:
        """Compute mean and components, see `Model.begin_epoch`; it is all of the training."""
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
