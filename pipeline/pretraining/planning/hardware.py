"""GPUs and what their vendor promises of them: dense bf16 speed, memory, bandwidth, links."""

import difflib
from dataclasses import dataclass

_GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One kind of GPU. Figures are the data sheet's, without sparsity."""

    name: str
    """Short name, as settings and tables write it."""
    device_names: tuple[str, ...]
    """What PyTorch and the driver call it, after `NVIDIA`."""
    peak_flops: float
    """Dense bf16 operations a second, with sums in fp32."""
    memory_gib: float
    """What the driver reports in all; a few hundred MiB of it are its own."""
    bytes_per_second: float
    """Of its memory."""
    link_bytes_per_second: float
    """To its peers in the same machine, each way: NVLink, else PCIe."""
    matmul_share: float = 0.6
    """Of peak, that large matrix products are assumed to reach."""
    attention_shares: tuple[float, float] = (0.33, 0.27)
    """Of peak, that attention at 512 to 1,024 tokens and 64 wide heads is assumed to reach:
    forward, backward."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of its memory."""
        return int(self.memory_gib * _GIB)


# Sources: NVIDIA's data sheets and white papers of each GPU, as named. Where a sheet gives the
# speed with sparsity alone, it is halved. Memory is what nvidia-smi shows. Links are half of the
# sheet's figure, which adds both directions; PCIe 4.0 and 5.0 x16 are 32 and 64 GB/s.
_AMPERE = {"matmul_share": 0.75, "attention_shares": (0.53, 0.42)}
"""Ampere's tensor cores are easier to keep busy: of 312 TFLOP/s, 235, 165 and 130."""

GPUS = (
    # "NVIDIA H100 Tensor Core GPU" data sheet: 1,979 TFLOP/s with sparsity, 3.35 TB/s, 900 GB/s.
    Gpu(
        name="h100",
        device_names=("H100 80GB HBM3", "H100"),
        peak_flops=989.4e12,
        memory_gib=79.6,
        bytes_per_second=3.35e12,
        link_bytes_per_second=450e9,
    ),
    # Same sheet, PCIe: 1,513 with sparsity, 2 TB/s; PCIe 5.0, or a bridge between two.
    Gpu(
        name="h100-pcie",
        device_names=("H100 PCIe",),
        peak_flops=756.5e12,
        memory_gib=79.6,
        bytes_per_second=2.0e12,
        link_bytes_per_second=64e9,
    ),
    # Same sheet, NVL: 1,671 with sparsity, 94 GB, 3.9 TB/s, 600 GB/s between two.
    Gpu(
        name="h100-nvl",
        device_names=("H100 NVL",),
        peak_flops=835.5e12,
        memory_gib=93.6,
        bytes_per_second=3.9e12,
        link_bytes_per_second=64e9,
    ),
    # "NVIDIA H200 Tensor Core GPU" data sheet: 1,979 with sparsity, 141 GB, 4.8 TB/s, 900 GB/s.
    Gpu(
        name="h200",
        device_names=("H200",),
        peak_flops=989.4e12,
        memory_gib=140.4,
        bytes_per_second=4.8e12,
        link_bytes_per_second=450e9,
    ),
    # "NVIDIA GH200 Grace Hopper Superchip" data sheet, the 96 GB HBM3 kind: 990, 4 TB/s.
    Gpu(
        name="gh200",
        device_names=("GH200 480GB", "GH200 120GB"),
        peak_flops=989.4e12,
        memory_gib=95.6,
        bytes_per_second=4.0e12,
        link_bytes_per_second=450e9,
    ),
    # "NVIDIA Blackwell Architecture Technical Brief" and HGX B200: 2.25 PFLOP/s, 180 GB, 7.7 TB/s.
    Gpu(
        name="b200",
        device_names=("B200",),
        peak_flops=2250e12,
        memory_gib=179.1,
        bytes_per_second=7.7e12,
        link_bytes_per_second=900e9,
        # No kernel of ours was tuned for it: half of Hopper's shares in attention.
        attention_shares=(0.17, 0.14),
    ),
    # "NVIDIA A100 Tensor Core GPU" data sheet: 312, 80 GB SXM 2,039 GB/s, 600 GB/s.
    Gpu(
        name="a100",
        device_names=("A100-SXM4-80GB", "A100-SXM-80GB"),
        peak_flops=312e12,
        memory_gib=80.0,
        bytes_per_second=2.039e12,
        link_bytes_per_second=300e9,
        **_AMPERE,
    ),
    # Same sheet, 80 GB PCIe: 1,935 GB/s, PCIe 4.0.
    Gpu(
        name="a100-pcie",
        device_names=("A100 80GB PCIe", "A100-PCIE-80GB"),
        peak_flops=312e12,
        memory_gib=80.0,
        bytes_per_second=1.935e12,
        link_bytes_per_second=32e9,
        **_AMPERE,
    ),
    # "NVIDIA A100 40GB" data sheet: 312, 1,555 GB/s, 600 GB/s.
    Gpu(
        name="a100-40",
        device_names=("A100-SXM4-40GB",),
        peak_flops=312e12,
        memory_gib=40.0,
        bytes_per_second=1.555e12,
        link_bytes_per_second=300e9,
        **_AMPERE,
    ),
    Gpu(
        name="a100-40-pcie",
        device_names=("A100-PCIE-40GB",),
        peak_flops=312e12,
        memory_gib=40.0,
        bytes_per_second=1.555e12,
        link_bytes_per_second=32e9,
        **_AMPERE,
    ),
    # "NVIDIA A40" data sheet: 149.7, 48 GB, 696 GB/s, PCIe 4.0.
    Gpu(
        name="a40",
        device_names=("A40",),
        peak_flops=149.7e12,
        memory_gib=45.0,
        bytes_per_second=0.696e12,
        link_bytes_per_second=32e9,
    ),
    # "NVIDIA L40S" data sheet: 362.05, 48 GB, 864 GB/s, PCIe 4.0.
    Gpu(
        name="l40s",
        device_names=("L40S",),
        peak_flops=362.05e12,
        memory_gib=45.0,
        bytes_per_second=0.864e12,
        link_bytes_per_second=32e9,
    ),
    # "NVIDIA L4" data sheet: 242 with sparsity, 24 GB, 300 GB/s, PCIe 4.0 x16.
    Gpu(
        name="l4",
        device_names=("L4",),
        peak_flops=121e12,
        memory_gib=22.5,
        bytes_per_second=0.3e12,
        link_bytes_per_second=32e9,
    ),
    # "NVIDIA RTX 6000 Ada Generation" data sheet: 1,457 in fp8 with sparsity, 960 GB/s, PCIe 4.0.
    Gpu(
        name="rtx6000-ada",
        device_names=("RTX 6000 Ada Generation",),
        peak_flops=364.2e12,
        memory_gib=48.0,
        bytes_per_second=0.96e12,
        link_bytes_per_second=32e9,
    ),
    # "NVIDIA Ada GPU Architecture" white paper, appendix A: 165.2 with sums in fp32, 1,008 GB/s.
    Gpu(
        name="rtx4090",
        device_names=("GeForce RTX 4090",),
        peak_flops=165.2e12,
        memory_gib=24.0,
        bytes_per_second=1.008e12,
        link_bytes_per_second=32e9,
    ),
    # "NVIDIA Ampere GA102 GPU Architecture" white paper: 71 with sums in fp32, 936 GB/s.
    Gpu(
        name="rtx3090",
        device_names=("GeForce RTX 3090",),
        peak_flops=71e12,
        memory_gib=24.0,
        bytes_per_second=0.936e12,
        link_bytes_per_second=32e9,
    ),
)

WITHOUT_BF16 = {"v100": "V100", "p100": "P100", "t4": "T4"}
"""GPUs that have no bf16, in which a GPU run computes here."""


def find_gpu(name: str) -> Gpu:
    """The GPU of a short name, or of what PyTorch calls a device; `ValueError` lists the names."""
    for gpu in GPUS:
        if name.lower() == gpu.name:
            return gpu
    if gpu := identify_gpu(name):
        return gpu
    device = _strip_vendor(name)
    for short, beginning in WITHOUT_BF16.items():
        if name.lower() == short or device.startswith((beginning, f"Tesla {beginning}")):
            raise ValueError(f"{name} has no bf16, in which training on a GPU runs here")
    known = [gpu.name for gpu in GPUS]
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(f"no figures for the GPU {name!r}; {hint}known are {', '.join(known)}")


def identify_gpu(device_name: str) -> Gpu | None:
    """The GPU PyTorch calls `device_name`; None where its peak is not known here."""
    device = _strip_vendor(device_name)
    return next((gpu for gpu in GPUS if device in gpu.device_names), None)


def _strip_vendor(device_name: str) -> str:
    return device_name.strip().removeprefix("NVIDIA").strip()
