"""Floating-point operations of a pack: for MFU, and as executed.

Only matrix products count, two operations for each multiply and add; norms, gates, softmax and
rotary do not.
"""

from ....model import alphabet
from ....model.encoder import EncoderConfig
from ....model.feed_forward import aligned_width

_BACKWARD = 2
"""Of a forward product's operations: its gradients by input and by weight are one product each."""


def flops_per_pack(
    config: EncoderConfig,
    num_tokens: int,
    sum_squared_lengths: int,
    num_predicted: int,
    *,
    aligned: bool = False,
    recompute_every_blocks: int = 0,
) -> int:
    """Operations of forward and backward on packed sequences with this many real tokens.

    By default those of the published function, which is what MFU counts whatever runs. `aligned`
    takes the stored feed-forward width instead, and `recompute_every_blocks` adds the second
    forward of every so-manieth block: what is executed. Kernels that compute attention's weights
    again in their backward are not charged for it, in either.
    """
    block = block_forward_flops(config, num_tokens, sum_squared_lengths, aligned=aligned)
    head = head_forward_flops(config, num_predicted)
    once = config.num_blocks * block + head
    return (1 + _BACKWARD) * once + count_recomputed(config, recompute_every_blocks) * block


def block_forward_flops(
    config: EncoderConfig, num_tokens: int, sum_squared_lengths: int, *, aligned: bool = False
) -> int:
    """Operations of one block's forward: projections, attention within sequences, feed-forward."""
    width = config.embed_dim
    ffn_dim = aligned_width(config.published_ffn_dim) if aligned else config.published_ffn_dim
    per_token = 2 * width * (3 * width + width) + 2 * width * (2 * ffn_dim + ffn_dim)
    return num_tokens * per_token + 4 * width * sum_squared_lengths


def head_forward_flops(config: EncoderConfig, num_predicted: int) -> int:
    """Operations of the masked-LM head's forward; it runs on the predicted tokens alone."""
    width = config.embed_dim
    return num_predicted * 2 * width * (width + alphabet.VOCAB_SIZE)


def count_recomputed(config: EncoderConfig, recompute_every_blocks: int) -> int:
    """Blocks whose forward runs twice, where every so-manieth is recomputed; 0 is none."""
    return config.num_blocks // recompute_every_blocks if recompute_every_blocks else 0
