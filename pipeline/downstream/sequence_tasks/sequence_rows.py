"""Rows of many sequences from one pass of a frozen encoder, several kinds of rows at once.

Shape suffixes: T rows of all sequences, D embed_dim.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ....model.encoder import Encoder
from ..representations.embed import (
    EmbedConfig,
    Reads,
    Representations,
    count_rows,
    iter_packs,
    select_rows,
    track_packs,
)
from ..representations.row_readers import EncoderRows


@torch.inference_mode()
def write_rows(
    encoder: Encoder,
    sequences: Mapping[int, str],
    kinds: Sequence[Reads],
    config: EmbedConfig,
    *,
    folder: Path,
    device: torch.device,
) -> dict[Reads, Representations]:
    """Rows of each kind, by index, in files in `folder` that are mapped into memory.

    A sequence has the rows that it has alone, whatever else is in its pack.
    """
    reader = EncoderRows(encoder.eval(), sequences, reads="specials", device=device)
    written: dict[Reads, Representations] = {}
    for kind in kinds:
        spans, end = {}, 0
        for index, sequence in sequences.items():
            size = count_rows(kind, len(sequence))
            spans[index] = slice(end, end + size)
            end += size
        rows_TD = np.lib.format.open_memmap(
            folder / f"{kind}.npy", "w+", config.dtype, (end, encoder.config.embed_dim)
        )
        written[kind] = Representations(rows_TD=rows_TD, spans=spans)
    indices, letters = list(sequences), list(sequences.values())
    packs = list(iter_packs(letters, config.max_tokens_per_pack))
    for places in track_packs(packs, letters):
        pack = [indices[place] for place in places]
        for index, tokens_LD in zip(pack, reader(pack).split(), strict=True):
            for kind, rows in written.items():
                rows.rows_TD[rows.spans[index]] = select_rows(tokens_LD, kind).cpu().numpy()
    return written
