"""Floating-point operations of the base-pair head on one RNA, forward; one multiply-add is two.

Matrix products and convolutions only, at every place of the map, as FLOP counters have it.
Backward takes twice as many, less the rows' own gradient where the encoder is frozen.
"""

from .heads import NUM_BLOCKS, PAIR_CHANNELS


def count_head_flops(
    length: int, embed_dim: int, *, channels: int = PAIR_CHANNELS, num_blocks: int = NUM_BLOCKS
) -> int:
    """Operations of `BasePairHead` on an RNA of `length` nt: two projections, then the map."""
    return 4 * length * embed_dim * channels + _count_map_flops(length, channels, num_blocks)


def count_concatenated_flops(
    length: int, embed_dim: int, *, channels: int = PAIR_CHANNELS, num_blocks: int = NUM_BLOCKS
) -> int:
    """Operations of the published head, which projects every concatenated pair of rows."""
    return 4 * length**2 * embed_dim * channels + _count_map_flops(length, channels, num_blocks)


def _count_map_flops(length: int, channels: int, num_blocks: int) -> int:
    """A block is 1x1, 3x3 and 1x1; the last convolution is 3x3 to one channel."""
    block = 2 * channels * channels * (1 + 9 + 1)
    return length**2 * (num_blocks * block + 2 * channels * 9)
