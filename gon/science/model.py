"""What a training needs of a model: the interface that all of them have."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gon.catalogue import DATASETS
from gon.science.fast import fast_decode
from gon.science.method import reconstruction_loss
from gon.science.networks import decoder
from gon.science.optimizer import Adam
from gon.spec import RunSpec


def standard_normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
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
    interpolates
        Whether images between two latents are shown of it, as the paper does of its implicit networks.
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
    interpolates: ClassVar[bool] = False
    compilable = False
    origin_pass = "none"

    def __init__(self, spec: RunSpec) -> None:
        super().__init__()
        self.spec = spec
        self.channels = DATASETS[spec.dataset].channels
        self.noise: torch.Generator | None = None
        self.training_loss: Callable[..., Any] = self._training_loss  # or its compiled form

    @property
    def dtype_name(self) -> str:
        """Type of the weights, as a record names it."""
        return str(next(self.parameters()).dtype).removeprefix("torch.")

    def begin_epoch(self, images: Tensor) -> None:
        """What an epoch does with all training images, uint8 [n, channels, 32, 32], before its first step."""

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
            The objective [], and `gon.science.method.reconstruction_loss` [].
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
        return self.decode(self.draw(count, generator)) if self.spec.entry.has_prior else None

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

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Latents [count, latent_dim, 1, 1] of a standard normal distribution."""
        like = next(self.parameters())
        return standard_normal(like.new_empty(count, self.spec.latent_dim, 1, 1), generator)


class ConvolutionalModel(Model):
    """A model with the decoder that all convolutional ones share, drawn first from the random state."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.decoder = decoder(spec.latent_dim, spec.width, self.channels, spec.activation)

    def decode(self, z: Tensor) -> Tensor:
        """See `Model.decode`."""
        return fast_decode(self.decoder, z)
