import hashlib

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from openrinalmo.model.tensor_file import write_tensors

TENSORS = {
    "a": torch.randn(3, 5),
    "b.é": torch.randn(()),
    "c": torch.empty(0, 7),
    "d": torch.randn(8, 4).T,
    "e": torch.randn(5_000_000),  # more than a chunk
    "z": torch.empty(0),
}


def shapes_of(tensors):
    return {name: tuple(value.shape) for name, value in tensors.items()}


@pytest.mark.parametrize("metadata", [{}, {"z": "1", "a": 'é"\n'}])
def test_the_library_reads_what_was_put_in(tmp_path, metadata):
    path = tmp_path / "x.safetensors"
    digest = write_tensors(path, shapes_of(TENSORS), TENSORS.items(), metadata)
    loaded = load_file(path)
    assert loaded.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert loaded[name].shape == value.shape
        assert torch.equal(loaded[name], value), name
    with safe_open(path, "pt") as file:
        assert (file.metadata() or {}) == metadata
    content = path.read_bytes()
    assert digest == (hashlib.sha256(content).hexdigest(), len(content))
    library = tmp_path / "library.safetensors"
    save_file({name: value.contiguous() for name, value in TENSORS.items()}, library)
    assert load_file(library).keys() == loaded.keys()
    assert abs(library.stat().st_size - len(content)) < 100


def test_bits_survive(tmp_path):
    values = torch.tensor([float("nan"), -0.0, float("inf"), 1e-45])
    write_tensors(tmp_path / "x", {"a": (4,)}, [("a", values)])
    bits = load_file(tmp_path / "x")["a"].view(torch.int32)
    assert torch.equal(bits, values.view(torch.int32))


@pytest.mark.parametrize(
    "tensors",
    [
        [("a", torch.zeros(2))],
        [("a", torch.zeros(2)), ("b", torch.zeros(3, 1))],
        [("b", torch.zeros(3)), ("a", torch.zeros(2))],
        [("a", torch.zeros(2)), ("b", torch.zeros(3).bfloat16())],
    ],
)
def test_a_broken_promise_leaves_no_file_and_the_one_before(tmp_path, tensors):
    path = tmp_path / "x"
    path.write_text("before")
    with pytest.raises(AssertionError):
        write_tensors(path, {"a": (2,), "b": (3,)}, tensors)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
