"""The line under a table: everything that decides its numbers, in one string."""

from collections.abc import Iterable, Iterator, Mapping

from ..scoring import EMPTY_POLICY, TRUTH_POLICY, EmptyPolicy, TruthPolicy
from ..structure import MIN_PAIR_DISTANCE, DecoderConfig
from ..structure_folds.fold_results import build_key
from .bootstrap import BootstrapConfig

WITHOUT_INFLUENCE = (
    *("systems", "regimes", "conventions", "projection", "max_map_points"),
    *("workers", "device", "max_tokens_per_pack"),
    *("save_every_steps", "save_every_seconds", "require_unseen"),
)
"""Settings, by the last word of their path, that decide no number: which rows and points there are,
how fast they come, what is refused. What `auto` means on a device is a fact of its own,
`precision`."""


def build_signature(facts: Mapping[str, object]) -> str:
    """`name:value|name:value`, in the order given; two tables compare where these are equal."""
    for name, value in facts.items():
        if "|" in f"{name}{value}" or ":" in name:
            raise ValueError(f"signature: {name}={value} must not hold | (nor a name a colon)")
    return "|".join(f"{name}:{value}" for name, value in facts.items())


def parse_signature(signature: str) -> dict[str, str]:
    """Facts of a signature line by name."""
    parts = (part.partition(":") for part in signature.split("|") if part)
    return {name: value for name, _, value in parts}


def describe_scorer(
    bootstrap: BootstrapConfig,
    *,
    truth: TruthPolicy = TRUTH_POLICY,
    empty: EmptyPolicy = EMPTY_POLICY,
) -> dict[str, object]:
    """Facts of the scorer: which known pairs count, what an empty structure scores, intervals."""
    return {"truth": truth.replace(" ", "-"), "empty": empty, **describe_bootstrap(bootstrap)}


def describe_bootstrap(bootstrap: BootstrapConfig) -> dict[str, object]:
    """Fact of the intervals."""
    return {"bs": f"{bootstrap.num_resamples}@{bootstrap.level:g},seed{bootstrap.seed}"}


def parse_bootstrap(signature: str) -> BootstrapConfig:
    """How the intervals of a signed report were made; the defaults where it does not say."""
    fact = parse_signature(signature).get("bs")
    if fact is None:
        return BootstrapConfig()
    try:
        num_resamples, level, seed = fact.replace("@", ",").replace("seed", "").split(",")
        return BootstrapConfig(num_resamples=int(num_resamples), level=float(level), seed=int(seed))
    except ValueError as error:
        raise ValueError(f"signature: bs:{fact} is no bootstrap ({error})") from error


def describe_levels(signatures: Iterable[str]) -> str:
    """The levels of the intervals of several signatures, in words: `95 %`."""
    facts = (parse_signature(one).get("bs", "") for one in signatures)
    levels = dict.fromkeys(one.partition("@")[2].partition(",")[0] for one in facts if one)
    return " or ".join(f"{100 * float(level):g} %" for level in levels) or "bootstrap"


def describe_decoder(
    decoder: DecoderConfig, *, threshold: str, energy: str = ""
) -> dict[str, object]:
    """Facts of the decoder; `threshold` says what it is, or what it is tuned on.

    `energy` is the version of the program whose energies the scores are weighed against.
    """
    name = decoder.name
    if decoder.use_energy:
        name += f"+energy,w{decoder.score_weight:g},{energy or 'unknown'}"
    allowed = "canonical+wobble" if decoder.canonical_only else "any"
    return {
        "decoder": name,
        "pairs": f"{allowed},>={MIN_PAIR_DISTANCE}",
        "threshold": threshold,
    }


def describe_programs(versions: Mapping[str, str]) -> dict[str, object]:
    """Fact of the programs whose rows stand in a table, by row; none without any."""
    if not versions:
        return {}
    return {"programs": ";".join(f"{label}={version}" for label, version in versions.items())}


def parse_programs(fact: str) -> dict[str, str]:
    """Versions by row, of what `describe_programs` says."""
    parts = (part.partition("=") for part in fact.split(";") if part)
    return {label: version for label, _, version in parts}


def hash_settings(settings: Mapping[str, object]) -> str:
    """8 hex digits that change with every setting that may decide a number."""
    return build_key(select_deciding(settings))[:8]


def select_deciding(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings by dotted path, without those that decide no number."""
    return {
        path: value
        for path, value in flatten(settings)
        if path.rpartition(".")[2] not in WITHOUT_INFLUENCE
    }


def flatten(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield every setting of a nested mapping by its dotted path."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
