"""Pictures of predicted pairs against known ones, drawn with NumPy.

Shape suffixes: L letters of one RNA, S side of the picture in pixels, 3 red green blue.
"""

import numpy as np
from numpy.typing import NDArray

_MIN_SIDE_PIXELS = 600
_MIN_CELL_PIXELS = 4
_MARGIN_PIXELS = 12

# Light to dark, one hue after the other, so that it reads in grey and without red or green.
_STOPS = np.asarray(
    [(255, 255, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 29, 88)], np.float64
)
_PAIR = np.asarray((213, 94, 0), np.uint8)
_DIAGONAL = np.asarray((200, 200, 200), np.uint8)
_TICK = np.asarray((90, 90, 90), np.uint8)


def draw_pair_map(
    strength_LL: NDArray[np.floating], is_paired_LL: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Picture_SS3: predictions above the diagonal in blue, known pairs below it in orange.

    `strength_LL` is from 0, white, to 1, dark; its root is drawn, so that 0.01 still shows. Known
    pairs are also framed above the diagonal, where the prediction should be. The first letter is
    at the top left; ticks stand every 10 letters, longer ones every 50.
    """
    length = len(strength_LL)
    cell = max(_MIN_CELL_PIXELS, -(-_MIN_SIDE_PIXELS // length))
    is_upper_LL = np.triu(np.ones((length, length), bool), 1)
    cells_LL3 = _colour(np.where(is_upper_LL, strength_LL, 0.0))
    cells_LL3[is_paired_LL & ~is_upper_LL] = _PAIR
    cells_LL3[np.arange(length), np.arange(length)] = _DIAGONAL

    inner = cells_LL3.repeat(cell, axis=0).repeat(cell, axis=1)
    for i, j in np.argwhere(is_paired_LL & is_upper_LL):
        square = inner[i * cell : (i + 1) * cell, j * cell : (j + 1) * cell]
        square[[0, -1]] = square[:, [0, -1]] = _PAIR
    side = length * cell + 2 * _MARGIN_PIXELS
    picture = np.full((side, side, 3), 255, np.uint8)
    picture[_MARGIN_PIXELS:-_MARGIN_PIXELS, _MARGIN_PIXELS:-_MARGIN_PIXELS] = inner
    _draw_ticks(picture, length, cell)
    return picture


def _colour(strength_LL: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colours_LL3 between the stops; what is outside 0 to 1 is clipped, NaN is white."""
    place_LL = np.sqrt(np.clip(np.nan_to_num(strength_LL), 0.0, 1.0)) * (len(_STOPS) - 1)
    channels = [np.interp(place_LL, range(len(_STOPS)), _STOPS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _draw_ticks(picture: NDArray[np.uint8], length: int, cell: int) -> None:
    """Ticks in all four margins at letters 10, 20, … counted from 1, and a frame."""
    first, last = _MARGIN_PIXELS - 1, len(picture) - _MARGIN_PIXELS
    for edge in (first, last):
        picture[edge, first : last + 1] = picture[first : last + 1, edge] = _TICK
    for letter in range(10, length + 1, 10):
        size = _MARGIN_PIXELS - 2 if letter % 50 == 0 else _MARGIN_PIXELS // 2
        at = _MARGIN_PIXELS + (letter - 1) * cell + cell // 2
        for part in (slice(first - size, first), slice(last + 1, last + 1 + size)):
            picture[part, at] = picture[at, part] = _TICK
