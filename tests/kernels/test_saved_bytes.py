"""What the kernels keep for their backward, against the count that `plan` makes of it."""

import pytest
import torch

pytest.importorskip("triton")
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.weights import build_random_twin
from openrinalmo.pipeline.pretraining.planning.saved_activations import saved_bytes_per_pack
from support.packs import pack
from support.saved_bytes import count_saved_bytes
from support.triton_device import DEVICE, runs_kernels


@runs_kernels
@pytest.mark.parametrize(("num_blocks", "every"), [(1, 0), (3, 0), (3, 2)])
def test_kernels_save_what_is_counted(num_blocks, every, monkeypatch):
    config = EncoderConfig(
        embed_dim=32,
        num_blocks=num_blocks,
        num_heads=2,
        attention_dropout=0.0,
        residual_dropout=0.0,
    )
    model = build_random_twin(config, seed=1).to(DEVICE)
    # The interpreter stands in for the GPU that the kernels are asked to be chosen for.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert "triton" in model.encoder.choose_backend(torch.device("cuda"), torch.float32)
    model.encoder.recompute_blocks(every=every)
    ids_T, cu_seqlens, max_seqlen = pack("GGGAAACUUCGGUUUCCCAN", "U", "ACGUACGUGGCC")
    ids_T, cu_seqlens = ids_T.to(DEVICE), cu_seqlens.to(DEVICE)
    rows_M = torch.arange(5, device=DEVICE)

    def run() -> object:
        return model(ids_T, cu_seqlens, max_seqlen, predicted_rows_M=rows_M).logits_TV

    measured = count_saved_bytes(run, known=[*model.parameters(), cu_seqlens, rows_M])
    counted = saved_bytes_per_pack(
        config, len(ids_T), len(rows_M), ops="kernels", item_bytes=4, recompute_every_blocks=every
    )
    loss = 4 * 22 * len(rows_M)  # not run here
    assert measured == counted - loss
