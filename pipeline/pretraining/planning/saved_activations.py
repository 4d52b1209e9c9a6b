"""Bytes that a forward pass keeps for its backward, counted op by op; tests measure the same."""

from typing import Literal

from ....model import alphabet
from ....model.encoder import EncoderConfig
from ....model.feed_forward import aligned_width
from .flops import count_recomputed

Ops = Literal["reference", "kernels"]
_FP32 = 4


def saved_bytes_per_pack(
    config: EncoderConfig,
    num_tokens: int,
    num_predicted: int,
    *,
    ops: Ops,
    item_bytes: int,
    recompute_every_blocks: int = 0,
) -> int:
    """Bytes kept by one forward of encoder, head and loss; weights are not among them.

    A recomputed block keeps its input; while its backward runs, it keeps what it saves as well,
    which `working_bytes_per_token` has.
    """
    recomputed = count_recomputed(config, recompute_every_blocks)
    block = saved_bytes_per_token(config, ops=ops, item_bytes=item_bytes)
    width = config.embed_dim
    trunk = (
        *(8, 1, item_bytes),  # ids as int64, which are masks, the scale of token dropout
        item_bytes * width + 2 * _FP32,  # input, mean and deviation of the final norm
        4 * config.head_dim if ops == "kernels" else 0,  # cosines and sines, one for all blocks
    )
    per_token = (
        sum(trunk) + (config.num_blocks - recomputed) * block + recomputed * item_bytes * width
    )
    # Inputs of both products, of the activation and of the norm with its two numbers; fp32 logits.
    head = 4 * item_bytes * width + 2 * _FP32 + _FP32 * alphabet.VOCAB_SIZE
    return num_tokens * per_token + num_predicted * head


def saved_bytes_per_token(config: EncoderConfig, *, ops: Ops, item_bytes: int) -> int:
    """Bytes a block keeps for each token.

    `reference` is plain PyTorch on a CPU without attention dropout, which would add weights of
    every pair of tokens. `kernels` are those of `kernels/` on a GPU, with Triton's attention or a
    library's: saving is the same.
    """
    width, ffn_dim = config.embed_dim, aligned_width(config.published_ffn_dim)
    of_width = (
        *(1, 1),  # the block's input; the first norm's output
        *(2, 3),  # rotated queries and keys; the projection, of which values are a view
        1,  # attention's output
        *(1, 1),  # the sum; the second norm's output
    )
    of_ffn = (2, 1)  # the projection; the gate's output
    fp32 = [config.num_heads, 2, 2]  # attention's normaliser; mean and deviation of both norms
    dropout_masks = 2 if config.residual_dropout else 0
    items = sum(of_width) * width + sum(of_ffn) * ffn_dim
    if ops == "reference":
        items += width  # the sequences' outputs, before and after they are joined
        items += 2 * ffn_dim  # sigmoid and activated branch
        fp32.append(2 * config.head_dim)  # tables as wide as a head, made in every block
        mask_bytes = item_bytes
    else:
        mask_bytes = 1
    masks = dropout_masks * width * mask_bytes
    return items * item_bytes + sum(fp32) * _FP32 + masks


def working_bytes_per_token(
    config: EncoderConfig, *, ops: Ops, item_bytes: int, recompute_every_blocks: int = 0
) -> int:
    """Bytes a token needs beside what is saved, at most, while one block's backward runs.

    Gradients of the gate's output, of its input, of the sum and of both branches. An estimate.
    """
    width, ffn_dim = config.embed_dim, aligned_width(config.published_ffn_dim)
    gradients = (3 * ffn_dim + 3 * width) * item_bytes
    if not count_recomputed(config, recompute_every_blocks):
        return gradients
    return gradients + saved_bytes_per_token(config, ops=ops, item_bytes=item_bytes)
