"""What padding costs: one training pass of `tiny` over the sample's lengths, packed and padded.

The padded provider computes the rectangle that padding to the longest of a batch makes, as rows of
equal length; batches are of random sequences, as a shuffled loader gives them.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from openrinalmo.data_prep.arguments import parse_arguments
from openrinalmo.data_prep.prepare import prepare_data
from openrinalmo.data_prep.shards import open_split
from openrinalmo.model.encoder import build_encoder_config
from openrinalmo.model.masked_lm import MaskedLM, masked_lm_loss_sum
from openrinalmo.pipeline.pretraining.batches import PackedBatch, PackStream
from openrinalmo.pipeline.pretraining.masking import MaskingConfig
from openrinalmo.pipeline.pretraining.sampling import SamplingConfig
from rows import append_rows, measure_interleaved

PACK_TOKENS = 4096
NUM_PACKS = 4


def main() -> None:
    """Measure and append rows."""
    with tempfile.TemporaryDirectory() as folder:
        prepare_data(parse_arguments(["--out", folder]))
        split = open_split(Path(folder), "train")
        stream = PackStream(
            split,
            pack_tokens=PACK_TOKENS,
            sampling=SamplingConfig(),
            masking=MaskingConfig(),
            seed=0,
        )
        packs = [stream.pack(number) for number in range(NUM_PACKS)]
        torch.manual_seed(0)
        model = MaskedLM(build_encoder_config("tiny", dropout=0.0))
        seconds = measure_interleaved(
            {
                "packed": lambda: [_train(model, pack) for pack in packs],
                "padded": lambda: [_train(model, _pad(pack)) for pack in packs],
            },
            repeats=7,
        )
        tokens = sum(len(pack.ids_T) for pack in packs)
        speeds = {name: [tokens / s for s in values] for name, values in seconds.items()}
        append_rows("packing", "sample-tiny-fwd+bwd", "real_tokens_per_s", "1/s", speeds)
        passes = {"ours": []}
        for number in range(50):
            (taken,) = measure_interleaved({"x": lambda n=number: stream.pack(n)}, repeats=1)["x"]
            passes["ours"].append(len(stream.pack(number).ids_T) / taken)
        append_rows("batches", "sample-pack+mask", "tokens_per_s", "1/s", passes)
        ratio = np.median(speeds["packed"]) / np.median(speeds["padded"])
        sys.stdout.write(f"packed / padded: {ratio:.2f} of the speed in real tokens\n")


def _train(model: MaskedLM, batch: PackedBatch) -> None:
    output = model(
        batch.ids_T, batch.cu_seqlens, batch.max_seqlen, predicted_rows_M=batch.predicted_rows_M
    )
    masked_lm_loss_sum(output.logits_TV, batch.labels_M).backward()


def _pad(batch: PackedBatch) -> PackedBatch:
    lengths = batch.cu_seqlens.diff().tolist()
    rows = [
        torch.nn.functional.pad(ids, (0, batch.max_seqlen - len(ids)), value=1)
        for ids in batch.ids_T.split(lengths)
    ]
    shift = torch.arange(len(rows)) * batch.max_seqlen - batch.cu_seqlens[:-1]
    owner = torch.searchsorted(batch.cu_seqlens, batch.predicted_rows_M, right=True) - 1
    return batch._replace(
        ids_T=torch.cat(rows),
        cu_seqlens=(torch.arange(len(rows) + 1) * batch.max_seqlen).int(),
        predicted_rows_M=batch.predicted_rows_M + shift[owner],
    )


if __name__ == "__main__":
    main()
