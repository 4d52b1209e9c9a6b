"""Made-up task reports: every kind of content, seeded."""

from types import ModuleType, SimpleNamespace

import numpy as np

from openrinalmo.pipeline.downstream.structures.dot_bracket import build_dot_bracket
from openrinalmo.pipeline.downstream.task_report import (
    Curve,
    PairedGain,
    PublishedScore,
    Score,
    StructureCase,
    TaskReport,
)

SYSTEMS = {
    "pretrained": "frozen",
    "random encoder": "frozen",
    "one-hot": "frozen",
    "k-mer": "frozen",
    "ViennaRNA": "none",
    "LinearPartition": "none",
    "CONTRAfold (LinearPartition-C)": "none",
    "SQUARNA": "none",
}
FAMILIES = ("5S rRNA", "SRP", "tRNA", "tmRNA", "RNase P", "group I intron", "telomerase")
MEANS = ("mean of families", "mean of sequences", "pooled pairs")
PSEUDOKNOT = (
    "GGGGAAACUUCCCCAAAGAAGUUUCGGCUAAAGCCG",
    "((((...[[[))))....]]]...((((....))))",
)


def build_layout(place):
    """A stand-in for ViennaRNA that puts base i at `place(i)`."""
    module = ModuleType("RNA")

    def lay_out(dot_bracket):
        places = [place(number) for number in range(len(dot_bracket))]
        return [SimpleNamespace(X=x, Y=y) for x, y in places]

    vars(module)["naview_xy_coordinates"] = lay_out
    return module


def build_score(value, *, system="pretrained", **more):
    settings = {"regime": SYSTEMS.get(system, "none"), "part": "all", "metric": "F1", "units": 10}
    return Score(**{**settings, "system": system, "value": value, **more})


def build_report(*scores, task="toy", **more):
    settings = {"title": f"Task {task}", "signature": f"benchmark:{task}|seed:0|ckpt:aa|v:0.1.0"}
    return TaskReport(**{**settings, "task": task, "scores": scores, **more})


def build_structure_report(seed=0):
    """Everything a structure task reports, with made-up numbers."""
    draws = np.random.default_rng(seed)
    scores, gains = [], []
    metrics = ("F1 relaxed", "F1 strict", "precision strict", "recall strict", "MCC strict")
    for part in (*FAMILIES, *MEANS):
        units = int(draws.integers(15, 1300))
        for metric in metrics:
            values = {
                name: float(draws.uniform(0.15, 0.5) + 0.35 * (name == "pretrained"))
                for name in SYSTEMS
            }
            for system, value in values.items():
                scores.append(
                    build_score(
                        value,
                        system=system,
                        part=part,
                        metric=metric,
                        low=max(0.0, value - 0.06),
                        high=value + 0.04,
                        units=units,
                        unit="families" if part == "mean of families" else "sequences",
                        is_primary=metric == "F1 relaxed" and part == "mean of families",
                    )
                )
            for other in ("random encoder", "one-hot", "ViennaRNA"):
                gain = values["pretrained"] - values[other]
                gains.append(
                    PairedGain(
                        system="pretrained",
                        baseline=other,
                        part=part,
                        metric=metric,
                        gain=gain,
                        low=gain - 0.05,
                        high=gain + 0.05,
                        p_value=float(draws.choice([0.0004, 0.03, 0.4])),
                    )
                )
    published = [
        PublishedScore(
            system=system,
            part=part,
            metric="F1 relaxed",
            value=0.8 - 0.05 * place,
            source="table 1 of the paper; fine-tuned on the other eight families",
        )
        for place, part in enumerate((*FAMILIES, "mean of families", "23S rRNA"))
        for system in ("RiNALMo 650 M", "AIDO.RNA 1.6 B", "RNA-FM")
    ]
    edges = np.linspace(0.05, 0.95, 10)
    curves = []
    for place, system in enumerate(("pretrained", "random encoder", "one-hot")):
        bent = edges ** (1 + 0.4 * place)
        curves.append(
            Curve(
                kind="reliability",
                system=system,
                part="all families",
                x=tuple(edges),
                y=tuple(bent),
                sizes=tuple(1e5 * 0.3 ** np.arange(10)),
            )
        )
        recall = np.linspace(0, 1, 50)
        curves.append(
            Curve(
                kind="precision-recall",
                system=system,
                part="all families",
                x=tuple(recall),
                y=tuple((1 - 0.2 * place) * (1 - recall**3)),
            )
        )
    return build_report(
        *scores,
        task="inter-family",
        title="Secondary structure, inter-family",
        signature="benchmark:archiveii-fam|data:db296e5b|folds:7|threshold:val-f1|seed:0|"
        "config:d882c880|ckpt:1671e400|v:0.1.0",
        gains=tuple(gains),
        published=tuple(published),
        notes=(
            "Held out: no structure of the held-out family is used to fit the head.",
            "515 RNAs of the fit are copies of others and were left out.",
        ),
        cases=build_cases(seed),
        curves=tuple(curves),
        costs={"embed_seconds": 83.2, "fit tRNA seconds": 1234.5, "embeddings_bytes": 4.1e9},
        settings={"fit": {"steps": 7000, "peak_lr": 5e-4}, "seed": 0},
        checkpoint={"run": "giga", "step": "120000", "sha256": "1671e400aabbccdd" * 4},
    )


def build_cases(seed=0):
    """A pseudoknot, a hairpin, and a long made-up structure with mistakes."""
    draws = np.random.default_rng(seed)
    sequence, known = PSEUDOKNOT
    cases = [
        StructureCase(
            id="knot",
            part="SRP",
            system="pretrained",
            label="best",
            sequence=sequence,
            known=known,
            predicted=known.replace("[", ".").replace("]", "."),
            metric="F1 relaxed",
            f1=0.87,
        )
    ]
    for label, length in (("median", 74), ("worst", 310)):
        known_pairs = draw_nested(draws, length)
        kept = [pair for pair in known_pairs if draws.random() < 0.6]
        free = sorted(set(range(length)) - {base for pair in kept for base in pair})
        draws.shuffle(free)
        extra = [tuple(sorted(pair)) for pair in zip(free[0:12:2], free[1:12:2], strict=True)]
        cases.append(
            StructureCase(
                id=f"rna-{length}",
                part="SRP" if length < 100 else "tmRNA",
                system="pretrained",
                label=label,
                sequence="".join(draws.choice(list("ACGU"), length)),
                known=build_dot_bracket(known_pairs, length),
                predicted=build_dot_bracket(kept + extra, length),
                metric="F1 relaxed",
                f1=0.41,
            )
        )
    return tuple(cases)


def draw_nested(draws, length):
    """Pairs of a made-up structure: hairpins in a row inside one closing stem."""
    pairs = [(place, length - 1 - place) for place in range(5)]
    start = 8
    while start + 24 < length - 8:
        stem = int(draws.integers(4, 9))
        end = start + 2 * stem + int(draws.integers(3, 7))
        if end >= length - 6:
            break
        pairs += [(start + place, end - 1 - place) for place in range(stem)]
        start = end + int(draws.integers(0, 4))
    return pairs


def build_regression_report():
    """Negative and hopeless numbers, NaN, an error to be made small, no control."""
    return build_report(
        build_score(0.61, metric="R2", part="Random7600", low=0.59, high=0.63, is_primary=True),
        build_score(-41.0, metric="R2", part="Random7600", system="one-hot", is_primary=True),
        build_score(float("nan"), metric="R2", part="Human7600", system="one-hot"),
        build_score(0.2, metric="MSE", part="Random7600"),
        build_score(1.9, metric="MSE", part="Random7600", system="one-hot"),
        task="ribosome-loading",
        title="Mean ribosome loading",
        checkpoint={"run": "giga", "step": "120000", "sha256": "1671e400aabbccdd" * 4},
    )


def build_map_report(seed=0):
    """Maps of points in twelve families, for two systems."""
    draws = np.random.default_rng(seed)
    names = [f"family {letter}" for letter in "ABCDEFGHIJKL"]
    labels = [names[place] for place in range(12) for _ in range(120 - 8 * place)]
    curves = []
    for system, spread in (("pretrained", 1.0), ("random encoder", 6.0)):
        centres = draws.normal(size=(12, 2)) * 8
        points = [centres[names.index(label)] + draws.normal(size=2) * spread for label in labels]
        x, y = zip(*points, strict=True)
        curves.append(
            Curve(
                kind="scatter",
                system=system,
                part="Rfam seeds",
                x=tuple(map(float, x)),
                y=tuple(map(float, y)),
                labels=tuple(labels),
            )
        )
    scores = [
        build_score(
            value,
            system=system,
            part="Rfam seeds",
            metric="accuracy",
            regime="zero-shot",
            is_primary=True,
            low=value - 0.02,
            high=value + 0.02,
        )
        for system, value in (("pretrained", 0.91), ("random encoder", 0.55), ("k-mer", 0.84))
    ]
    return build_report(
        *scores,
        task="embeddings",
        title="Embeddings: nearest neighbours",
        curves=tuple(curves),
        checkpoint={"run": "giga", "step": "120000", "sha256": "1671e400aabbccdd" * 4},
    )
