"""What the attention kernels share: tiles read and written, dropout, inverse rotation.

A tile is ROWS consecutive tokens of one sequence times COLUMNS >= HEAD_DIM channels; a head dim
that is no power of two (24) has each half of its channels padded, so that rotary's halves stay the
halves of the tile. Offsets of whole tiles are int64, since token * stride passes 2**31 elements;
those inside a tile are int32.
"""

import triton
import triton.language as tl


@triton.jit
def head_offset(head, stride):
    """Where a head begins, in elements.

    The caller has seen to it that `stride` is a multiple of 8; written so that the compiler knows
    too, which reads a head dim of 24 element by element otherwise.
    """
    return head.to(tl.int64) * (stride // 8 * 8)


@triton.jit
def _channel(HEAD_DIM: tl.constexpr, COLUMNS: tl.constexpr):
    """The channel of every column of a tile."""
    column = tl.arange(0, COLUMNS)[None, :]
    if HEAD_DIM == COLUMNS:
        return column
    return column - column // (COLUMNS // 2) * ((COLUMNS - HEAD_DIM) // 2)


@triton.jit
def _is_channel(HEAD_DIM: tl.constexpr, COLUMNS: tl.constexpr):
    """Whether a column of a tile is a channel, not padding."""
    return tl.arange(0, COLUMNS)[None, :] % (COLUMNS // 2) < HEAD_DIM // 2


@triton.jit
def load_tile(
    ptr,
    start,
    end,
    stride,
    ROWS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    COLUMNS: tl.constexpr,
    COMPUTE: tl.constexpr,
    MASKED: tl.constexpr,
):
    """Rows `start` to `start + ROWS` as COMPUTE; MASKED ones read zero from row `end` on.

    Zero, because what lies there is another sequence, or not ours to read.
    """
    row = tl.arange(0, ROWS)[:, None]
    channel = _channel(HEAD_DIM, COLUMNS)
    ptrs = ptr + tl.cast(start, tl.int64) * stride + (row * stride + channel)
    if MASKED and HEAD_DIM == COLUMNS:
        tile = tl.load(ptrs, mask=start + row < end, other=0.0)
    elif MASKED:
        tile = tl.load(ptrs, mask=(start + row < end) & _is_channel(HEAD_DIM, COLUMNS), other=0.0)
    elif HEAD_DIM == COLUMNS:
        tile = tl.load(ptrs)
    else:
        tile = tl.load(ptrs, mask=_is_channel(HEAD_DIM, COLUMNS), other=0.0)
    return tile.to(COMPUTE)


@triton.jit
def fresh_tile(
    tile,
    ptr,
    start,
    end,
    stride,
    ROWS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    COLUMNS: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """`tile`, for use in a loop; in fp32 read anew every time.

    fp32 products run on plain FMAs with operands in registers. Hoisted out of the loop, an owned
    tile of 32 x 64 fills them: 744 bytes a thread spilled in dkdv, none when it is read again.
    """
    if COMPUTE == tl.float32:  # noqa: SIM300
        row = tl.arange(0, ROWS)[:, None]
        channel = _channel(HEAD_DIM, COLUMNS)
        ptrs = ptr + tl.cast(start, tl.int64) * stride + (row * stride + channel)
        mask = (start + row < end) & _is_channel(HEAD_DIM, COLUMNS)
        tile = tl.load(ptrs, mask=mask, other=0.0, volatile=True).to(tl.float32)
    return tile


@triton.jit
def store_tile(
    tile,
    ptr,
    start,
    end,
    stride,
    ROWS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write the rows of `tile` that lie before `end`."""
    row = tl.arange(0, ROWS)[:, None]
    channel = _channel(HEAD_DIM, COLUMNS)
    ptrs = ptr + tl.cast(start, tl.int64) * stride + (row * stride + channel)
    mask = start + row < end
    if HEAD_DIM != COLUMNS:
        mask = mask & _is_channel(HEAD_DIM, COLUMNS)
    tl.store(ptrs, tile.to(ptr.dtype.element_ty), mask=mask)


@triton.jit
def turn_back(
    grad,
    cos_ptr,
    sin_ptr,
    start,
    end,
    ROWS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Rotate a gradient by the opposite angles: a rotation's transpose is its inverse."""
    HALF: tl.constexpr = HEAD_DIM // 2
    row = tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS // 2)[None, :]
    angles = tl.cast(start, tl.int64) * HALF + (row * HALF + column)
    mask = (start + row < end) & (column < HALF)
    cos = tl.load(cos_ptr + angles, mask=mask, other=1.0)
    sin = tl.load(sin_ptr + angles, mask=mask, other=0.0)
    halves = grad.reshape(ROWS, 2, COLUMNS // 2).permute(0, 2, 1)
    left, right = tl.split(halves)
    turned = tl.join(left * cos + right * sin, right * cos - left * sin)
    return turned.permute(0, 2, 1).reshape(ROWS, COLUMNS)


@triton.jit
def dropout_keeps(query, key, head, seed, DROP_BELOW: tl.constexpr):
    """True where the weight of `key` for `query` survives: a pure function of its arguments.

    `query` and `key` are tokens of the pack, so every kernel finds the same mask whatever its
    tiles. Philox4x32-7, of which the 24 upper bits of the first word count; 7 rounds are the
    fewest that pass BigCrush (Salmon et al., SC'11).
    """
    words = tl.philox(seed, key, query, head, 0, n_rounds=7)
    return (words[0] >> 8).to(tl.int32) >= DROP_BELOW
