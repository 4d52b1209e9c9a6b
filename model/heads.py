"""Heads on a frozen or fine-tuned encoder: which bases of one RNA pair with which.

Shape suffixes: L nucleotides of one RNA, or of the longest of a group, T of a pack, D embed_dim, C
channels of the pair map, N RNAs of a group. A repeated letter repeats: logits_LL is (L, L).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from .packed_rows import measure_lengths
from .pair_head_packing import PairHeadConfig, group_by_length, mark_inside, normalize_inside

PAIR_CHANNELS = 64
NUM_BLOCKS = 2
PUBLISHED_PREFIX = "pred_head."
"""What the head's keys begin with in a published fine-tuned checkpoint."""


class BasePairBlock(nn.Module):
    """Bottleneck residual block of the published head: 1x1, 3x3, 1x1, no ReLU after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for kernel_size in (1, 3, 1):
            layers += [
                nn.Conv2d(channels, channels, kernel_size, padding="same", bias=False),
                # A group per channel is InstanceNorm2d without parameters, to the last digit of
                # fp32 rounding, and 2.5 times as fast on a CPU (300 x 300: 6 ms, not 16 ms).
                nn.GroupNorm(channels, channels, affine=False),
                nn.ReLU(inplace=True),
            ]
        self.conv_net = nn.Sequential(*layers)

    def forward(self, pair_NCLL: Tensor, is_inside_N1LL: Tensor | None = None) -> Tensor:
        """Add what the three convolutions see to what came in; both are zero outside an RNA."""
        if is_inside_N1LL is None:
            return pair_NCLL + self.conv_net(pair_NCLL)
        inner_NCLL = pair_NCLL
        for layer in self.conv_net:
            if isinstance(layer, nn.GroupNorm):
                inner_NCLL = normalize_inside(inner_NCLL, is_inside_N1LL)
            else:
                inner_NCLL = layer(inner_NCLL)
                if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
                    inner_NCLL = inner_NCLL * is_inside_N1LL  # it has seen over the border
        return pair_NCLL + inner_NCLL


class BasePairTrunk(nn.Module):
    """The residual blocks in a row."""

    def __init__(self, channels: int, num_blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(BasePairBlock(channels) for _ in range(num_blocks)))

    def forward(
        self, pair_NCLL: Tensor, is_inside_N1LL: Tensor | None = None, *, recompute: bool = False
    ) -> Tensor:
        """Refine the pair maps; with `recompute` backward runs each block again."""
        for block in self.blocks:
            if recompute and torch.is_grad_enabled():
                pair_NCLL = checkpoint(block, pair_NCLL, is_inside_N1LL, use_reentrant=False)
            else:
                pair_NCLL = block(pair_NCLL, is_inside_N1LL)
        return pair_NCLL


class BasePairHead(nn.Module):
    """The published secondary-structure head, without its L x L x 2D tensor.

    Modules carry the published names, so `state_dict` is the published one less its prefix.
    The published head takes one RNA at a time, for its norms average over the whole pair map.
    `forward_packed` takes many, each result as if it were alone.
    """

    def __init__(
        self,
        embed_dim: int,
        *,
        channels: int = PAIR_CHANNELS,
        num_blocks: int = NUM_BLOCKS,
        config: PairHeadConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = config or PairHeadConfig()
        self.linear_in = nn.Linear(2 * embed_dim, channels)
        self.resnet = BasePairTrunk(channels, num_blocks)
        self.conv_out = nn.Conv2d(channels, 1, 3, padding="same")

    @property
    def embed_dim(self) -> int:
        """Width of the representation it reads."""
        return self.linear_in.in_features // 2

    @property
    def output_bias(self) -> nn.Parameter:
        """What a fit may set to the log-odds of a pair before it starts."""
        return self.conv_out.get_parameter("bias")

    def forward(self, representation_LD: Tensor) -> Tensor:
        """Symmetric logits_LL with a zero diagonal, from one RNA without `<cls>` and `<eos>`."""
        check_representation(representation_LD, self.embed_dim)
        return self._forward_group([representation_LD])[0]

    def forward_packed(self, rows_TD: Tensor, cu_seqlens: Tensor) -> list[Tensor]:
        """logits_LL of each RNA of a pack: RNAs of like length share a pass, none sees another."""
        parts = split_pack(rows_TD, cu_seqlens)
        for part_LD in parts:
            check_representation(part_LD, self.embed_dim)
        logits: dict[int, Tensor] = {}
        lengths = [len(part_LD) for part_LD in parts]
        on_cpu = rows_TD.device.type == "cpu"
        for group in group_by_length(lengths, self.config, on_cpu=on_cpu):
            results = self._forward_group([parts[index] for index in group])
            logits.update(zip(group, results, strict=True))
        return [logits[index] for index in range(len(parts))]

    def _forward_group(self, parts: Sequence[Tensor]) -> list[Tensor]:
        lengths = [len(part_LD) for part_LD in parts]
        is_inside_N1LL = mark_inside(lengths, parts[0].device)
        pair_NCLL = self._project_pairs(pad_sequence(list(parts), batch_first=True))
        if is_inside_N1LL is not None:
            pair_NCLL = pair_NCLL * is_inside_N1LL
        num_places = len(lengths) * max(lengths) ** 2
        recompute = num_places > self.config.recompute_above_pairs
        logits_NLL = self.conv_out(self.resnet(pair_NCLL, is_inside_N1LL, recompute=recompute))[
            :, 0
        ]
        return [
            mirror_upper(logits_LL[:length, :length])
            for logits_LL, length in zip(logits_NLL, lengths, strict=True)
        ]

    def _project_pairs(self, rows_NLD: Tensor) -> Tensor:
        """`linear_in` on every concatenation (i, j): a linear map of i plus a linear map of j.

        Channels come last in memory: so a 3x3 convolution takes a third of the time on a CPU (300 x
        300: 34 ms, not 92 ms).
        """
        weight_i_CD, weight_j_CD = self.linear_in.weight.chunk(2, dim=1)
        i_NLC = F.linear(rows_NLD, weight_i_CD, self.linear_in.bias)
        j_NLC = F.linear(rows_NLD, weight_j_CD)
        return (i_NLC[:, :, None] + j_NLC[:, None]).permute(0, 3, 1, 2)


def check_representation(representation_LD: Tensor, embed_dim: int) -> None:
    """Refuse what is not the rows of one RNA with at least two nucleotides."""
    if representation_LD.ndim != 2 or representation_LD.shape[1] != embed_dim:
        raise ValueError(
            f"the base-pair head reads (nucleotides, {embed_dim}) of one RNA, "
            f"got {tuple(representation_LD.shape)}"
        )
    if len(representation_LD) < 2:
        raise ValueError(f"an RNA of {len(representation_LD)} nt has no pairs: drop it")


def split_pack(rows_TD: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, ...]:
    """Rows of each RNA of a pack."""
    lengths_N = measure_lengths(rows_TD, cu_seqlens)
    return rows_TD.split(lengths_N.tolist())


def mirror_upper(logits_LL: Tensor) -> Tensor:
    """The strict upper triangle and its mirror image."""
    upper_LL = logits_LL.triu(1)
    return upper_LL + upper_LL.T


def base_pair_loss(logits_LL: Tensor, is_paired_LL: Tensor) -> Tensor:
    """Binary cross-entropy averaged over the strict upper triangle, no class weight."""
    row, column = torch.triu_indices(*logits_LL.shape, offset=1, device=logits_LL.device)
    target = is_paired_LL[row, column].to(logits_LL.dtype)
    return F.binary_cross_entropy_with_logits(logits_LL[row, column], target)


class PublishedHead(NamedTuple):
    """A base-pair head and the threshold that was tuned for it, if the file held one."""

    head: BasePairHead
    threshold: float | None


def load_published_head(state: Mapping[str, Tensor | float]) -> PublishedHead:
    """Build the head of a published fine-tuned checkpoint, in fp32 and `eval` mode.

    Keys outside `pred_head.` belong to the encoder and are left alone; among those inside, a
    missing, unexpected or mis-shaped one is a `ValueError` naming it.
    """
    weight = state.get(f"{PUBLISHED_PREFIX}linear_in.weight")
    if not isinstance(weight, Tensor) or weight.ndim != 2 or weight.shape[1] % 2:
        found = f"of shape {tuple(weight.shape)}" if isinstance(weight, Tensor) else "absent"
        raise ValueError(
            f"{PUBLISHED_PREFIX}linear_in.weight must be ({PAIR_CHANNELS}, 2 * embed_dim), it is "
            f"{found}: give a checkpoint fine-tuned on secondary structure"
        )
    head = BasePairHead(weight.shape[1] // 2)
    load_head_state(head, state, what="base-pair head")
    threshold = state.get("threshold")
    return PublishedHead(head.eval(), None if threshold is None else float(threshold))


def load_head_state(head: nn.Module, state: Mapping[str, Tensor | float], *, what: str) -> None:
    """Copy the keys inside `pred_head.` to `head`, in fp32; all of them, and no others."""
    ours = {
        key.removeprefix(PUBLISHED_PREFIX): torch.as_tensor(value).float()
        for key, value in state.items()
        if key.startswith(PUBLISHED_PREFIX)
    }
    expected = {key: tuple(value.shape) for key, value in head.state_dict().items()}
    problems = [f"missing {PUBLISHED_PREFIX}{key}" for key in expected.keys() - ours.keys()]
    problems += [f"unexpected {PUBLISHED_PREFIX}{key}" for key in ours.keys() - expected.keys()]
    problems += [
        f"{PUBLISHED_PREFIX}{key} is {tuple(ours[key].shape)}, must be {shape}"
        for key, shape in expected.items()
        if key in ours and tuple(ours[key].shape) != shape
    ]
    if problems:
        raise ValueError(f"no published {what}: {'; '.join(sorted(problems))}")
    head.load_state_dict(ours)


def export_published_head(
    head: BasePairHead, *, threshold: float | None = None
) -> dict[str, Tensor | float]:
    """State dict under the published keys; the threshold is a plain float in it, as published."""
    state: dict[str, Tensor | float] = {
        f"{PUBLISHED_PREFIX}{key}": value.detach().float().cpu()
        for key, value in head.state_dict().items()
    }
    return state if threshold is None else {**state, "threshold": float(threshold)}
