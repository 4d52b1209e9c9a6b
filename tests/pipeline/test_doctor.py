import torch

from openrinalmo.pipeline import doctor


def test_names_what_is_installed_and_what_is_not():
    lines = doctor.describe_installation(torch.device("cpu"))
    facts = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    assert facts["torch"] == torch.__version__
    assert facts["device"].startswith("CPU")
    assert {"triton", "deepspeed", "flash-attn", "MMseqs2"} <= facts.keys()


def test_says_of_every_op_what_would_run_and_why():
    text = "\n".join(doctor.describe_ops(torch.device("cpu")))
    assert text.count("attention              reference (no triton: it needs a CUDA device") == 4
    assert text.count("rotary, norms and gate reference (no triton: it needs a CUDA device") == 4
    assert "no varlen: it has no dropout and model.attention_dropout is 0.1" in text
