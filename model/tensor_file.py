"""safetensors files written tensor by tensor: memory for one of them, hashed on the way out.

The library's own writer wants every tensor at once and leaves the hash to a second reading. The
format is a length, a JSON header and the tensors' bytes one after the other.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_CHUNK_BYTES = 2**24


class FileDigest(NamedTuple):
    """What was written: SHA-256 in hex, and size."""

    sha256: str
    num_bytes: int


def write_tensors(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Iterable[tuple[str, Tensor]],
    metadata: Mapping[str, str] | None = None,
) -> FileDigest:
    """Write fp32 tensors, given in the order of `shapes`; on disk whole or not at all."""
    scratch = path.with_name(path.name + ".partial")
    remaining = dict(shapes)
    header = _encode_header(shapes, metadata or {})
    digest = hashlib.sha256(header)
    num_bytes = len(header)
    try:
        with scratch.open("wb") as file:
            file.write(header)
            for name, tensor in tensors:
                assert name == next(iter(remaining)), f"{name} is out of order"
                assert tuple(tensor.shape) == tuple(remaining.pop(name)), name
                assert tensor.dtype == torch.float32, f"{name} is {tensor.dtype}"
                content = _bytes_of(tensor)
                for first in range(0, len(content), _CHUNK_BYTES):
                    chunk = content[first : first + _CHUNK_BYTES].data
                    file.write(chunk)
                    digest.update(chunk)
                num_bytes += len(content)
            assert not remaining, f"{', '.join(remaining)} did not come"
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return FileDigest(digest.hexdigest(), num_bytes)


def _encode_header(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, object] = {}
    if metadata:
        header["__metadata__"] = dict(sorted(metadata.items()))
    offset = 0
    for name, shape in shapes.items():
        end = offset + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text


def _bytes_of(tensor: Tensor) -> np.ndarray:
    """The tensor's values in order, as bytes; no copy where it is contiguous on the CPU."""
    return tensor.detach().cpu().contiguous().flatten().numpy().view(np.uint8)
