"""Where ZeRO keeps a rank's fp32 weights and moments: parameters as slices of flat tensors.

At every stage a parameter's slices, in the order of ranks, are the whole flat parameter. Stage 3
cuts every parameter into as many equal pieces as there are ranks; stages 1 and 2 cut the flat
concatenation of a whole parameter group, so that most parameters lie on one rank entirely.
"""

from typing import Any, NamedTuple

from torch import Tensor, nn

from ..ranks import Ranks


class Slice(NamedTuple):
    """This rank's part of one parameter; may be empty."""

    flat: Tensor
    """fp32 weights of many parameters, one after the other."""
    offset: int
    """Where the part begins in `flat`."""
    size: int
    """Elements of `flat` set aside for it; those past `numel` belong to no parameter."""
    first: int
    """Where the part begins in the parameter."""
    numel: int

    def of(self, values: Tensor) -> Tensor:
        """The part, in a tensor laid out as `flat` is."""
        return values.detach().narrow(0, self.offset, self.numel)

    def copy_from(self, full: Tensor, values: Tensor) -> None:
        """Write the part from a whole tensor into one laid out as `flat` is."""
        values.detach().narrow(0, self.offset, self.size).zero_()
        self.of(values).copy_(full.flatten()[self.first : self.first + self.numel])


def find_slices(model: nn.Module, zero: Any, *, stage: int, ranks: Ranks) -> dict[str, Slice]:
    """Every parameter's slice on this rank, by name; `zero` is DeepSpeed's optimizer."""
    if stage == 3:
        return {name: _slice_of_3(p, zero, ranks.rank) for name, p in model.named_parameters()}
    groups = {p: i for i, group in enumerate(zero.bit16_groups) for p in group}
    return {
        name: _slice_of_1_or_2(p, zero.single_partition_of_fp32_groups[groups[p]])
        for name, p in model.named_parameters()
    }


# DeepSpeed's `safe_get_*` and `safe_set_*` gather whole tensors, fail where the number of elements
# is no multiple of the ranks, and know no optimizer state before the first update: hence the look
# at its own tables.
def _slice_of_3(parameter: Any, zero: Any, rank: int) -> Slice:
    group, offset, size = zero.grad_position[zero.get_param_id(parameter)]
    first = min(size * rank, parameter.ds_numel)
    return Slice(
        flat=zero.fp32_partitioned_groups_flat[group],
        offset=offset,
        size=size,
        first=first,
        numel=min(size, parameter.ds_numel - first),
    )


def _slice_of_1_or_2(parameter: Any, flat: Tensor) -> Slice:
    mapping = parameter._hp_mapping
    if mapping is None:
        return Slice(flat, offset=0, size=0, first=0, numel=0)
    numel = mapping.hp_fragment_address.numel
    return Slice(
        flat,
        offset=mapping.hp_fragment_address.start,
        size=numel,
        first=mapping.lp_fragment_address.start,
        numel=numel,
    )
