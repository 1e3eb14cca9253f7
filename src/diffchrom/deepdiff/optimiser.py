"""Adam over all parameters of a model as one vector, which makes a step a handful of tensor operations.

`torch.optim.Adam` computes the same numbers, but loads torch's compiler when it is made (2 s of start-up) and
walks over the parameters in Python, in clipping too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from diffchrom.deepdiff import _kernel

#: As of `torch.optim.Adam`.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
#: As of `torch.amp.GradScaler`.
FIRST_SCALE, STEPS_TO_GROW = 65536.0, 2000


class Adam:
    """Adam (Kingma and Ba 2015) with the gradient's norm clipped first.

    Parameters
    ----------
    parameters
        All on one device and of one dtype. They and their gradients become views of one vector each, so move
        them before, and never replace a gradient.
    lr
        Learning rate; the attribute may be set between steps.
    scaled
        Whether losses are multiplied (`scale`) so that gradients in float16 do not vanish. The factor grows
        while they stay finite, and halves, without a step, where they don't (Micikevicius et al. 2018).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, *, scaled: bool = False) -> None:
        self.lr = lr
        self._parameters = list(parameters)
        self._sizes = [parameter.numel() for parameter in self._parameters]
        self._values = torch.cat([parameter.detach().reshape(-1) for parameter in self._parameters])
        self._gradient = torch.zeros_like(self._values)
        self._gradients = self._views(self._gradient)
        values = self._views(self._values)
        for parameter, value, gradient in zip(self._parameters, values, self._gradients, strict=True):
            parameter.data = value
            parameter.grad = gradient
        self._mean = torch.zeros_like(self._values)
        self._square = torch.zeros_like(self._values)
        self._step = torch.zeros((), device=self._values.device)
        self._scale = torch.full((), FIRST_SCALE, device=self._values.device) if scaled else None
        self._grown = torch.zeros((), dtype=torch.int32, device=self._values.device)
        self._kernel_job: _kernel.AdamJob | None = None

    def zero_grad(self) -> None:
        """Set the gradients to zero; backward adds to them in place."""
        self._gradient.zero_()

    def scale(self, loss: Tensor) -> Tensor:
        """The loss to take the gradient of."""
        return loss if self._scale is None else loss * self._scale

    @torch.no_grad()
    def step(self, clip_norm: float) -> None:
        """Scale the gradients to a norm of at most `clip_norm` and take a step.

        Raises
        ------
        RuntimeError
            When a gradient was replaced or set to None, which would leave it out.
        """
        pairs = zip(self._parameters, self._gradients, strict=True)
        if not all(parameter.grad is view for parameter, view in pairs):
            raise RuntimeError("a gradient was replaced: use this optimiser's zero_grad")
        if self._scale is not None:
            self._gradient.div_(self._scale)
        norm = torch.linalg.vector_norm(self._gradient)
        self._gradient.mul_((clip_norm / (norm + 1e-6)).clamp_(max=1.0))
        skipped = None
        if self._scale is not None:  # without asking the card whether, which would wait for it
            skipped = (~torch.isfinite(norm)).float()
            self._step -= skipped
            torch._amp_update_scale_(self._scale, self._grown, skipped, 2.0, 0.5, STEPS_TO_GROW)
        self._step += 1
        torch.ops.aten._fused_adam_(
            [self._values],
            [self._gradient],
            [self._mean],
            [self._square],
            [],
            [self._step],
            lr=self.lr,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
            found_inf=skipped,
        )

    def fused_step(self, clip_norm: float, threads: int) -> None:
        """`step`, computed by the kernel: sums have another order, and gradients are left unscaled.

        Only for parameters on the CPU in float32, without a scaled loss, whose gradients are in place.
        """
        if self._kernel_job is None:
            vectors = {"values": self._values, "gradient": self._gradient, "mean": self._mean}
            vectors |= {"square": self._square, "step": self._step}
            self._kernel_job = _kernel.AdamJob(
                self._values.numel(),
                beta1=BETA1,
                beta2=BETA2,
                epsilon=EPSILON,
                **{name: vector.data_ptr() for name, vector in vectors.items()},
            )
        job = self._kernel_job
        job.rate, job.clip_norm, job.threads = self.lr, clip_norm, threads
        _kernel.KERNEL.require().adam(job)

    def state(self) -> dict[int, dict[str, Tensor]]:
        """Copy everything but the values, by number of the parameter and by `torch.optim.Adam`'s names."""
        views = zip(self._views(self._mean), self._views(self._square), strict=True)
        common = {"step": self._step}
        if self._scale is not None:
            common |= {"scale": self._scale, "grown": self._grown}
        return {
            index: {
                **{name: value.clone() for name, value in common.items()},
                "exp_avg": mean.clone(),
                "exp_avg_sq": square.clone(),
            }
            for index, (mean, square) in enumerate(views)
        }

    @torch.no_grad()
    def load_state(self, state: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Put back what `state` gave; KeyError or RuntimeError where it is of other parameters."""
        if set(state) != set(range(len(self._parameters))):
            raise KeyError(f"state of {len(state)} parameters for {len(self._parameters)}")
        for slot, vector in (("exp_avg", self._mean), ("exp_avg_sq", self._square)):
            for index, view in enumerate(self._views(vector)):
                if view.shape != state[index][slot].shape:
                    raise RuntimeError(f"{slot} of parameter {index} has another shape")
                view.copy_(state[index][slot])
        self._step.fill_(float(state[0]["step"]))
        if self._scale is not None:
            self._scale.copy_(state[0]["scale"])
            self._grown.copy_(state[0]["grown"])

    def _views(self, vector: Tensor) -> list[Tensor]:
        """The vector's pieces in the shapes of the parameters."""
        pieces = torch.split(vector, self._sizes)
        return [piece.view_as(own) for piece, own in zip(pieces, self._parameters, strict=True)]
