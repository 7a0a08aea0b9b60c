"""The authors' training algorithm, written anew as it runs there: the reference of all benchmarks.

After github.com/cwkx/GON, commit 8362226 (MIT licence; read, not copied): every image is decoded,
resized and converted by the loader, one at a time; the inner gradient takes a full batch at the
origin, and the outer one a double backward.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gon.data import prepared as data
from gon.science.networks import decoder

try:
    import torchvision
except RuntimeError:
    # Its compiled operators, of which nothing here needs one, do not fit a CPU build of torch.
    operators = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        operators.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

BATCH_SIZE = 64


class AuthorsTraining:
    """Model, loader and optimiser of one training.

    Parameters
    ----------
    latent_dim, inner_steps
        As in `gon.spec.RunSpec`.
    seed
        Seeds the initial weights.
    """

    def __init__(self, latent_dim: int, inner_steps: int = 1, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network: nn.Module = decoder(latent_dim, 16, 1, "elu")
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4)
        self.latent_dim = latent_dim
        self.inner_steps = inner_steps

    def step(self, x: Tensor) -> float:
        """One training step on images [64, 1, 32, 32]; returns the loss per pixel."""
        z = x.new_zeros(len(x), self.latent_dim, 1, 1).requires_grad_()
        for _ in range(self.inner_steps):
            inner = ((self.network(z) - x) ** 2).sum(1).mean()
            z = z - torch.autograd.grad(inner, [z], create_graph=True, retain_graph=True)[0]
        outer = ((self.network(z) - x) ** 2).sum(1).mean()
        self.optimizer.zero_grad()
        outer.backward()
        self.optimizer.step()
        return outer.item()


def loader() -> Iterator[Tensor]:
    """Batches [64, 1, 32, 32] of MNIST without end, each image resized when it is asked for."""
    transforms = torchvision.transforms
    images = torchvision.datasets.MNIST(
        data.data_dir(),
        train=True,
        transform=transforms.Compose([transforms.Resize(32), transforms.ToTensor()]),
    )
    batches = DataLoader(images, batch_size=BATCH_SIZE, shuffle=True, drop_last=True)
    while True:
        for x, _ in batches:
            yield x
