"""Muon: momentum whose directions all count the same, for the weights that are matrices.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon), with steps as long as Adam's are
(Liu et al. 2025, arXiv:2502.16982), so that a learning rate means the same to both. Gradients of a
convolution point along few directions; with their singular values made alike, the others are
learned as fast. torch's own takes matrices only, and the weights of a convolution are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from pipeline import device

#: Fewest rows and columns of a matrix that Muon moves; Adam moves the others.
LEAST = 16
MOMENTUM = 0.95
#: Steps of the iteration towards singular values of one, and its polynomial x (a + b x² + c x⁴),
#: steepest at zero: five take any singular value above a hundredth of the norm to 0.68 to 1.14.
ITERATIONS, POLYNOMIAL = 5, (3.4445, -4.7750, 2.0315)
#: Root mean square of a step of Adam, of the rate's size, in the long run.
ADAMS = 0.2
SMALLEST = 1e-7


class Muon(torch.optim.Adam):
    """Moves weights of at least two dimensions by Muon, and biases, scales and thin ones by Adam.

    A weight (O, I, ...) is taken for the matrix (O, I ...).

    Args:
        parameters: of the networks.
        lr: learning rate of both.
        betas: Adam's decay of the mean and of the square of the gradient.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        every = list(parameters)
        kinds = [(False, [p for p in every if not _is_matrix(p)])]
        kinds.append((True, [p for p in every if _is_matrix(p)]))
        groups = [{"params": chosen, "matrices": kind} for kind, chosen in kinds if chosen]
        super().__init__(groups, lr=lr, betas=betas)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move once; the gradients of matrices are gone afterwards."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                if group["matrices"]:
                    self._move(group["params"], float(group["lr"]))
        super().step()
        return loss

    def _move(self, parameters: Iterable[Tensor], rate: float) -> None:
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is None:
                continue
            # Adam passes over what has none
            parameter.grad = None
            state = self.state[parameter]
            if not state:
                # Adam asks every state that it loads for its step
                state["step"] = torch.zeros(())
                state["momentum"] = torch.zeros_like(gradient)
            momentum: Tensor = state["momentum"].mul_(MOMENTUM).add_(gradient)
            ahead = (gradient + MOMENTUM * momentum).flatten(1)
            length = ADAMS * max(ahead.shape) ** 0.5
            parameter.sub_(orthogonal(ahead).view(gradient.shape), alpha=rate * length)


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly the closest matrix whose singular values are all one.

    Args:
        matrix: (rows, columns); worked on in bfloat16 where the device is made for it.
    """
    a, b, c = POLYNOMIAL
    kind = torch.bfloat16 if device.made_for_bfloat16(matrix.device) else torch.float32
    tall = matrix.shape[0] > matrix.shape[1]
    values = (matrix.T if tall else matrix).to(kind)
    values = values / (values.norm() + SMALLEST)
    for _ in range(ITERATIONS):
        square = values @ values.T
        values = a * values + (b * square + c * square @ square) @ values
    found: Tensor = values.T if tall else values
    return found.to(matrix.dtype)


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.dim() > 1 and min(parameter.shape[0], parameter[0].numel()) >= LEAST
