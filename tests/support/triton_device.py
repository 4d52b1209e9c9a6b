"""Where kernel tests run: on a GPU (marker `gpu`), else in Triton's interpreter, else nowhere."""

import os
from importlib.util import find_spec

import pytest
import torch

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Set before pytest starts (`make test` does): Triton reads it as kernels are defined."""

DEVICE = torch.device("cuda" if torch.cuda.is_available() and not IS_INTERPRETED else "cpu")

if IS_INTERPRETED:
    runs_kernels = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")
elif DEVICE.type == "cuda":
    runs_kernels = pytest.mark.gpu
else:
    runs_kernels = pytest.mark.skip(
        reason="needs a GPU, or TRITON_INTERPRET=1 before pytest starts"
    )
