"""How near is near enough: twice the error plain PyTorch makes in the same precision."""

import torch
from torch import Tensor


def assert_as_accurate_as_torch(
    actual: Tensor, same_dtype: Tensor, exact: Tensor, *, magnitude: float = 0.0
) -> None:
    """Allow `actual` twice the error of `same_dtype` against the float64 `exact`, plus rounding.

    `magnitude` is that of the terms which are summed, where they may cancel to nothing.
    """
    largest = max(exact.abs().max().item(), magnitude)
    rounding = torch.finfo(actual.dtype).eps * largest
    allowed = 2 * (same_dtype.double() - exact).abs().max() + rounding
    error = (actual.double() - exact).abs().max()
    assert error <= allowed, f"max error {error:.3e} over the allowed {allowed:.3e}"
