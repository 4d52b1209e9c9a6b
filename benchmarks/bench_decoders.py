"""Decoding and the 29-threshold search against the published procedure on the same matrices.

`greedy` and `published` must find the same threshold and the same F1. The other decoders are timed
for one structure.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openrinalmo.pipeline.downstream.decoders.thresholds import TunedThreshold, tune_threshold
from openrinalmo.pipeline.downstream.structure import (
    THRESHOLD_GRID,
    DecoderConfig,
    Pairs,
    build_contact_map,
    decode,
    rank_pairs,
)
from rows import append_rows, measure_interleaved

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.published_decoding import tune_as_published  # pyright: ignore[reportMissingImports]

LENGTHS_NT = (120, 300, 500)
CANDIDATES_PER_NT = 20
"""Allowed pairs above the lowest threshold, of which at most half a pair a base can be taken."""
REPEATS = 5


def make_case(length: int) -> tuple[str, Pairs, NDArray[np.float32]]:
    """A random sequence, a random structure, and probabilities that know it in part."""
    generator = np.random.default_rng(length)
    sequence = "".join(generator.choice(list("ACGU"), length))
    known = rank_pairs(generator.random((length, length)), sequence, 0.9).pairs_P2
    known = known[: int(0.3 * length)]
    logits = generator.normal(0, 2, (length, length))
    logits[known[:, 0], known[:, 1]] += 4
    # Of all pairs 3 of 8 are allowed.
    share = CANDIDATES_PER_NT * length / (3 / 8 * length * (length - 1) / 2)
    upper = np.triu_indices(length, 1)
    logits += np.log(0.01 / 0.99) - np.quantile(logits[upper], 1 - share)
    probabilities = np.triu(1 / (1 + np.exp(-logits)), 1)
    return sequence, known, (probabilities + probabilities.T).astype(np.float32)


def tune(sequence: str, known: Pairs, probabilities_LL: NDArray[np.float32]) -> TunedThreshold:
    """Rank once, score every threshold of the grid."""
    return tune_threshold([rank_pairs(probabilities_LL, sequence, THRESHOLD_GRID[0])], [known])


def main() -> None:
    """Measure and append rows."""
    for length in LENGTHS_NT:
        sequence, known, probabilities_LL = make_case(length)
        contact_map_LL = build_contact_map(known, length)
        published = partial(tune_as_published, [probabilities_LL], [sequence], [contact_map_LL])
        ours = partial(tune, sequence, known, probabilities_LL)
        found, expected = ours(), published()
        if found.value != expected[0] or abs(found.f1 - expected[1]) > 1e-12:
            raise ValueError(f"{length} nt: {found} differs from the published {expected}")
        seconds = measure_interleaved({"published": published, "greedy": ours}, repeats=REPEATS)
        append_rows("decoders", f"tune-29-{length}nt", "time_ms", "ms", _to_ms(seconds))
        ratios = [
            slow / fast for slow, fast in zip(seconds["published"], seconds["greedy"], strict=True)
        ]
        append_rows("decoders", f"tune-29-{length}nt", "speedup", "x", {"greedy": ratios})

        configs = {
            "greedy": DecoderConfig(threshold=0.1),
            "matching": DecoderConfig(name="matching", threshold=0.1),
            "matching-nested": DecoderConfig(name="matching-nested", threshold=0.1),
            "mea": DecoderConfig(name="mea", threshold=0.1),
            "mea+energy": DecoderConfig(name="mea", threshold=0.1, use_energy=True),
        }
        runs = {
            name: partial(decode, probabilities_LL, sequence, config)
            for name, config in configs.items()
        }
        seconds = measure_interleaved(runs, repeats=REPEATS)
        append_rows("decoders", f"decode-{length}nt", "time_ms", "ms", _to_ms(seconds))


def _to_ms(seconds: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [1e3 * value for value in values] for name, values in seconds.items()}


if __name__ == "__main__":
    main()
