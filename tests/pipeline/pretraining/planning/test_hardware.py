"""GPUs by what people and drivers call them."""

import pytest

from openrinalmo.pipeline.pretraining.planning.hardware import GPUS, find_gpu, identify_gpu


@pytest.mark.parametrize(
    ("device_name", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA B200", "b200"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie"),
        ("NVIDIA A100-PCIE-40GB", "a100-40-pcie"),
        ("A100-SXM4-80GB", "a100"),
        ("NVIDIA A40", "a40"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
    ],
)
def test_the_drivers_name_finds_the_gpu(device_name, expected):
    assert find_gpu(device_name).name == expected
    identified = identify_gpu(device_name)
    assert identified is not None
    assert identified.name == expected


@pytest.mark.parametrize("name", ["h100", "H100", "a100-40", "rtx4090"])
def test_short_names_are_known(name):
    assert find_gpu(name).name == name.lower()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("h1000", r"no figures for the GPU 'h1000'; did you mean 'h100'\? known are h100, "),
        ("NVIDIA L40", "no figures for the GPU 'NVIDIA L40'"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "no figures"),
        ("v100", "v100 has no bf16"),
        ("Tesla V100-SXM2-32GB", "has no bf16"),
        ("cpu", "no figures for the GPU 'cpu'"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        find_gpu(name)


@pytest.mark.parametrize("device_name", ["x86_64 CPU, 2 threads", "", "Tesla V100-SXM2-32GB"])
def test_a_device_without_a_known_peak_is_none(device_name):
    assert identify_gpu(device_name) is None


def test_figures_are_of_the_size_such_figures_have():
    """A slip of units, or a speed with sparsity, would be outside."""
    for gpu in GPUS:
        assert 70 <= gpu.peak_flops / 1e12 <= 2300, gpu.name
        assert 20 <= gpu.memory_gib <= 180, gpu.name
        assert 0.3 <= gpu.bytes_per_second / 1e12 <= 8, gpu.name
        assert 50 <= gpu.peak_flops / gpu.bytes_per_second <= 450, gpu.name
    assert len({gpu.name for gpu in GPUS}) == len(GPUS)
    assert find_gpu("h100").peak_flops == pytest.approx(989e12, rel=1e-3)
    assert find_gpu("a100").peak_flops == 312e12
