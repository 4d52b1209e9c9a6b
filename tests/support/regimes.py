"""A small encoder, sequences with targets, and models that regress them."""

import copy

import torch
from torch import nn

from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.weights import build_random_twin
from openrinalmo.pipeline.downstream.fitting.task_model import build_task_model

CPU = torch.device("cpu")
SEQUENCES = ["GGAUACC", "A", "GCGCAAAAUGCGCAAAUUU", "NNRYGGAUACC", "CCCCCC", "AUAUAUGC", "GCA"]
TARGETS = torch.tensor([0.3, -1.0, 2.0, 0.1, -0.4, 0.9, 0.2])
LENGTHS = {index: len(sequence) for index, sequence in enumerate(SEQUENCES)}


def build_encoder(num_blocks=4, *, dropout=0.1, seed=5, ffn_dim=0):
    """An encoder of a few thousand random weights."""
    config = EncoderConfig(
        embed_dim=8,
        num_blocks=num_blocks,
        num_heads=2,
        ffn_dim=ffn_dim,
        attention_dropout=dropout,
        residual_dropout=dropout,
    )
    return build_random_twin(config, seed).encoder


class MeanHead(nn.Module):
    """A number a sequence: the mean row through one linear map, after dropout."""

    def __init__(self, embed_dim=8, *, dropout=0.0, seed=9):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.linear = nn.Linear(embed_dim, 1)
        self.linear.weight.data = torch.randn(1, embed_dim, generator=generator)
        self.linear.bias.data.zero_()
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows_TD, cu_seqlens):
        """One output a sequence."""
        parts = rows_TD.split(cu_seqlens.diff().tolist())
        means_ND = torch.stack([part.mean(dim=0) for part in parts])
        return self.linear(self.dropout(means_ND))


def build_model(config, *, encoder=None, head_dropout=0.0, representations=None):
    """A model for the regime on a copy of the encoder."""
    return build_task_model(
        MeanHead(dropout=head_dropout),
        copy.deepcopy(encoder or build_encoder()),
        SEQUENCES,
        config,
        reads="tokens",
        device=CPU,
        representations=representations,
    )


def squared_error(model, indices):
    """Mean squared error of the examples."""
    outputs_N = model(indices)[:, 0]
    return (outputs_N - TARGETS[list(indices)]).square().mean()
