"""The linear probe of base pairs.

Shape suffixes: L nucleotides of one RNA, T of a pack, D embed_dim.
"""

from torch import Tensor, nn

from .heads import check_representation, mirror_upper, split_pack


class LinearPairHead(nn.Module):
    """A logit that is linear in the product and the sum of two rows, and symmetric by that.

    logit_ij = <product, x_i * x_j> + <sum, x_i + x_j> + bias. What it finds was in the rows: unlike
    the published head's, its answer about (i, j) sees no other pair.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * embed_dim, 1)

    @property
    def embed_dim(self) -> int:
        """Width of the representation it reads."""
        return self.linear.in_features // 2

    @property
    def output_bias(self) -> nn.Parameter:
        """What a fit may set to the log-odds of a pair before it starts."""
        return self.linear.bias

    def forward(self, representation_LD: Tensor) -> Tensor:
        """Symmetric logits_LL with a zero diagonal, from one RNA without `<cls>` and `<eos>`."""
        check_representation(representation_LD, self.embed_dim)
        product_D, sum_D = self.linear.weight[0].chunk(2)
        sum_L = representation_LD @ sum_D
        product_LL = (representation_LD * product_D) @ representation_LD.T
        return mirror_upper(product_LL + sum_L[:, None] + sum_L[None, :] + self.linear.bias)

    def forward_packed(self, rows_TD: Tensor, cu_seqlens: Tensor) -> list[Tensor]:
        """logits_LL of each RNA of a pack."""
        return [self(part_LD) for part_LD in split_pack(rows_TD, cu_seqlens)]
