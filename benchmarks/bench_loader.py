"""Tokens a second of one process that makes masked batches: our packs, and Hugging Face's collator.

Both read the same sequences, windows and special tokens: ours from shards, as training does; the
other pre-tokenised from an Arrow data set, 64 a batch, padded to the longest, no workers, with
`special_tokens_mask` given, as in `run_mlm.py`. Real tokens count, padding does not. Without
`--data FOLDER --case NAME` the embedded sample is prepared and read.

Also the time and memory of planning an epoch of 17 M clusters, with made-up lengths.
"""

import argparse
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from openrinalmo.data_prep.arguments import parse_arguments
from openrinalmo.data_prep.prepare import prepare_data
from openrinalmo.data_prep.shards import Split, open_split
from openrinalmo.model import alphabet
from openrinalmo.pipeline.pretraining.batches import PackStream
from openrinalmo.pipeline.pretraining.epochs import plan_epoch
from openrinalmo.pipeline.pretraining.masking import MaskingConfig
from openrinalmo.pipeline.pretraining.sampling import SamplingConfig
from rows import append_rows, measure_interleaved

PACK_TOKENS = 65_536
OTHER_PACK_TOKENS = (40_960, 32_768)
REPEATS = 9
PACKS_PER_REPEAT = 40
BATCHES_PER_REPEAT = 20
HUGGINGFACE_BATCH = 64
HUGGINGFACE_SEQUENCES = 20_000
PLAN_CLUSTERS = 17_000_000

Counts = list[tuple[int, int]]
"""Real tokens and places, padding included, of each run."""


def main() -> None:
    """Measure, print, append rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder `make data` wrote")
    parser.add_argument("--case", default="sample", help="name of its mix of lengths")
    parser.add_argument("--no-rows", action="store_true", help="print only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.data is None:
            prepare_data(parse_arguments(["--out", folder]))
        split = open_split(arguments.data or Path(folder), "train")
        rows = [*_measure_loaders(split, arguments.case), *_measure_plan()]
    for case, metric, unit, samples in rows:
        for provider, values in samples.items():
            sys.stdout.write(f"{case} {provider} {metric} {np.median(values):.6g} {unit}\n")
        if not arguments.no_rows:
            append_rows("loader", case, metric, unit, samples)
    speeds = rows[0][3]
    if "huggingface" in speeds:
        ratio = np.median(speeds["ours"]) / np.median(speeds["huggingface"])
        sys.stdout.write(f"ours / huggingface: {ratio:.0f} times the real tokens a second\n")


Rows = list[tuple[str, str, str, dict[str, list[float]]]]


def _measure_loaders(split: Split, case: str) -> Rows:
    counts: dict[str, Counts] = {"ours": []}
    stream = _build_stream(split, PACK_TOKENS)
    providers = {"ours": _build_ours(stream, counts["ours"])}
    try:
        run = _build_huggingface(split, stream, counts.setdefault("huggingface", []))
        providers["huggingface"] = run
    except ModuleNotFoundError as error:
        del counts["huggingface"]
        sys.stdout.write(f"no huggingface line: {error}; pip install '.[bench]'\n")
    seconds = measure_interleaved(providers, repeats=REPEATS)
    speeds = {
        name: [tokens / s for (tokens, _), s in zip(counts[name][1:], values, strict=True)]
        for name, values in seconds.items()
    }
    fills = {
        name: [sum(tokens for tokens, _ in runs) / sum(places for _, places in runs)]
        for name, runs in counts.items()
    }
    fills["ours"] = [_compute_fill(split, PACK_TOKENS)]
    others: Rows = [
        (f"{case}-{tokens}", "fill", "1", {"ours": [_compute_fill(split, tokens)]})
        for tokens in OTHER_PACK_TOKENS
    ]
    return [
        (case, "tokens_per_second", "1/s", speeds),
        (case, "fill", "1", fills),
        *others,
    ]


def _build_stream(split: Split, pack_tokens: int) -> PackStream:
    return PackStream(
        split,
        pack_tokens=pack_tokens,
        sampling=SamplingConfig(),
        masking=MaskingConfig(),
        seed=0,
    )


def _compute_fill(split: Split, pack_tokens: int) -> float:
    """Real tokens of the first epoch over the budget of its packs, the last and shorter included.

    A corpus of few packs pays most for that last one.
    """
    stream = _build_stream(split, pack_tokens)
    num_packs = stream.num_packs(0)
    tokens = sum(int(stream.samples(number).num_tokens.sum()) for number in range(num_packs))
    return tokens / (num_packs * pack_tokens)


def _build_ours(stream: PackStream, counts: Counts) -> Callable[[], None]:
    """A run builds the next packs of the first epoch, and begins again at its end."""
    num_packs, built = stream.num_packs(0), 0

    def run() -> None:
        nonlocal built
        tokens = 0
        for number in range(built, built + PACKS_PER_REPEAT):
            tokens += stream.pack(number % num_packs).num_tokens
        built += PACKS_PER_REPEAT
        counts.append((tokens, PACKS_PER_REPEAT * PACK_TOKENS))

    return run


def _build_huggingface(split: Split, stream: PackStream, counts: Counts) -> Callable[[], None]:
    """A run collates the next batches of an endless shuffled loader."""
    from datasets import Dataset  # pyright: ignore[reportMissingImports]
    from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]
    from tokenizers.models import WordLevel  # pyright: ignore[reportMissingImports]
    from transformers import (  # pyright: ignore[reportMissingImports]
        DataCollatorForLanguageModeling,
        PreTrainedTokenizerFast,
    )

    words = {token: index for index, token in enumerate(alphabet.TOKENS)}
    names = ("cls", "pad", "eos", "unk", "mask")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="<unk>")),
        **{f"{name}_token": f"<{name}>" for name in names},
    )
    ids = _read_tokens(split, stream, HUGGINGFACE_SEQUENCES)
    specials = [[int(token < len(names)) for token in sequence] for sequence in ids]
    loader = torch.utils.data.DataLoader(
        Dataset.from_dict({"input_ids": ids, "special_tokens_mask": specials}),  # pyright: ignore[reportArgumentType]
        batch_size=HUGGINGFACE_BATCH,
        shuffle=True,
        generator=torch.Generator().manual_seed(0),
        collate_fn=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15),
    )

    def iter_batches():
        while True:
            yield from loader

    batches = iter_batches()

    def run() -> None:
        some = [next(batches) for _ in range(BATCHES_PER_REPEAT)]
        tokens = sum(int((batch["input_ids"] != alphabet.PAD).sum()) for batch in some)
        counts.append((tokens, sum(batch["input_ids"].numel() for batch in some)))

    return run


def _read_tokens(split: Split, stream: PackStream, limit: int) -> list[list[int]]:
    """The true ids of the first epoch's first sequences."""
    sequences: list[list[int]] = []
    for number in range(stream.num_packs(0)):
        pack = stream.pack(number)
        true_T = pack.ids_T.long()
        true_T[pack.predicted_rows_M] = pack.labels_M
        lengths = pack.cu_seqlens.diff().tolist()
        sequences += [ids.tolist() for ids in true_T.split(lengths)]
        if len(sequences) >= limit:
            break
    return sequences[:limit]


def _measure_plan() -> Rows:
    rng = np.random.default_rng(0)
    cluster_starts = np.concatenate([[0], np.cumsum(rng.integers(1, 4, PLAN_CLUSTERS))])
    lengths_nt = rng.integers(20, 960, cluster_starts[-1], dtype=np.int32)

    def plan():
        return plan_epoch(
            cluster_starts,
            lengths_nt,
            pack_tokens=PACK_TOKENS,
            sampling=SamplingConfig(),
            seed=0,
            epoch=0,
        )

    start = time.perf_counter()
    epoch = plan()
    seconds = time.perf_counter() - start
    kept = (epoch.records.nbytes + epoch.boundaries.nbytes) / 1e9
    del epoch
    tracemalloc.start()
    plan()
    peak = tracemalloc.get_traced_memory()[1] / 1e9
    tracemalloc.stop()
    facts = (("seconds", "s", seconds), ("kept_memory", "GB", kept), ("peak_memory", "GB", peak))
    return [("plan-17M-clusters", name, unit, {"ours": [value]}) for name, unit, value in facts]


if __name__ == "__main__":
    main()
