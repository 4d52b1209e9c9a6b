"""Print what is installed, what this machine has, and which implementation of every op runs."""

import sys
from importlib.metadata import PackageNotFoundError, version

try:
    import torch

    from openrinalmo.data_prep.mmseqs import find_mmseqs
    from openrinalmo.kernels.backend import choose_backend
    from openrinalmo.model.encoder import build_encoder_config
except ModuleNotFoundError as error:
    sys.exit(f"doctor.py: {error}. Run `make install`, then use .venv/bin/python")

PACKAGES = ("openrinalmo", "torch", "triton", "deepspeed", "flash-attn", "numpy", "pyarrow")
USES = (
    ("pretraining in bf16", torch.bfloat16, 0.1),
    ("pretraining in bf16 without attention dropout", torch.bfloat16, 0.0),
    ("pretraining in fp32", torch.float32, 0.1),
    ("embedding in fp32", torch.float32, 0.0),
)


def main() -> None:
    """Print the report."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lines = [*describe_installation(device), "", *describe_ops(device)]
    sys.stdout.write("\n".join(lines) + "\n")


def describe_installation(device: torch.device) -> list[str]:
    """A line for each package, one for the device, one for the MMseqs2 binary."""
    facts = {name: _version_of(name) for name in PACKAGES}
    facts["device"] = _describe_device(device)
    try:
        facts["MMseqs2"] = str(find_mmseqs())
    except FileNotFoundError as error:
        facts["MMseqs2"] = str(error)
    return [f"{name:12} {fact}" for name, fact in facts.items()]


def describe_ops(device: torch.device) -> list[str]:
    """What would run for the 650 M model by default, and why nothing that is preferred to it."""
    head_dim = build_encoder_config("giga").head_dim
    lines = []
    for use, dtype, dropout_p in USES:
        backend = choose_backend(device, dtype, head_dim=head_dim, dropout_p=dropout_p)
        lines.append(f"{use}, on {device.type}")
        lines += [f"  {op:22} {reason}" for op, reason in backend.reasons.items()]
    return lines


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _describe_device(device: torch.device) -> str:
    if device.type != "cuda":
        return f"CPU, {torch.get_num_threads()} threads; torch finds no CUDA device"
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        gib = properties.total_memory / 2**30
        capability = f"{properties.major}.{properties.minor}"
        found.append(f"{properties.name}, {gib:.0f} GiB, compute capability {capability}")
    return "; ".join(found)


if __name__ == "__main__":
    main()
