"""Adam, as a training step needs it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8


class Adam:
    """Adam with its default moments (Kingma and Ba, ICLR 2015), by PyTorch's fused kernel.

    The same numbers as `torch.optim.Adam`, bit for bit. Making one of those imports torch's compiler,
    which costs every training process a second and 70 MiB, whether it compiles or not.

    Parameters
    ----------
    parameters
        What is optimised. A parameter without a gradient is left as it is.
    learning_rate
        Step size.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.state = [
            {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
            }
            for parameter in self.parameters
        ]

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters by their gradients."""
        moved = [
            (parameter, parameter.grad, state)
            for parameter, state in zip(self.parameters, self.state, strict=True)
            if parameter.grad is not None
        ]
        if not moved:
            return
        parameters, gradients, states = (list(column) for column in zip(*moved, strict=True))
        adam(
            parameters,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            capturable=parameters[0].is_cuda,
            amsgrad=False,
            beta1=_BETA1,
            beta2=_BETA2,
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=_EPS,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Moments and number of steps of every parameter, in order; the tensors themselves."""
        return {"state": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, into the tensors that are there."""
        for mine, saved in zip(self.state, state["state"], strict=True):
            for key, value in mine.items():
                value.copy_(saved[key])
