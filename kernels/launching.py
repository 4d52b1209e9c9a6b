"""What the element-wise launchers share: readable rows, programs a device holds at once."""

from functools import cache

import torch
from torch import Tensor

INTERPRETER_PROGRAMS = 4


def with_unit_columns(x: Tensor) -> Tensor:
    """`x`, copied if its last dimension is not contiguous; any other strides are fine."""
    return x if x.stride(-1) == 1 else x.contiguous()


def walking_programs(device: torch.device, *, per_sm: int, num_groups: int) -> int:
    """How many programs share `num_groups` of rows: what the device holds at once, if so many."""
    resident = per_sm * _num_sms(device) if device.type == "cuda" else INTERPRETER_PROGRAMS
    return max(1, min(resident, num_groups))


@cache
def _num_sms(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count
