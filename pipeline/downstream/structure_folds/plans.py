"""What is to be fitted and scored, each under a key that changes with all that it depends on."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from ..baselines import FOLDER_SYSTEMS, find_folder
from ..decoders.energy_prior import import_viennarna
from ..devices import choose_device
from ..fitting.regime_config import Regime, describe_regime
from ..representations.embed import Checkpoint
from ..structures.records import hash_file
from .fold_results import build_key
from .folds import Benchmark, Fold, hash_records
from .saved_heads import HeadFacts, find_head
from .structure_config import StructureConfig, SystemName

VERSION_OF_NUMBERS = 3
"""Raised when a change of code changes scores, or what fold results hold: those of an earlier one
are not reused."""
ENCODERS = ("pretrained", "random")


def choose_precision(config: StructureConfig) -> str:
    """What the encoder computes in, with `auto` resolved; one that does not train is in fp32."""
    if not config.regime.trains_encoder:
        return "fp32"
    dtype = config.regime.choose_dtype(choose_device(config.device))
    return "bf16" if dtype == torch.bfloat16 else "fp32"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """One system on one fold, before it is known whether it has been done."""

    system: SystemName
    fold: Fold
    key: str
    """Of the result."""
    facts: HeadFacts
    head: Path
    """Of the fit; folds that share it share this path."""
    given_head: str
    """sha256 of a head that is not fitted here; empty for others."""
    program: str
    """Version of the program that folds, or whose energies the decoder weighs; empty for none."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Planner:
    """Makes the plans of an evaluation; whatever cannot be fitted is refused here, before work."""

    benchmark: Benchmark
    checkpoint: Checkpoint
    config: StructureConfig
    out: Path

    def plan(self, system: SystemName, heads: Path | None) -> Iterator[Plan]:
        """A plan for each fold; none where a program is not installed."""
        identity = self._identify(system)
        if identity is None:
            return
        identity_of_fit: dict[str, object] = {
            "version": VERSION_OF_NUMBERS,
            "system": system,
            "identity": identity,
        }
        program = identity
        if system not in FOLDER_SYSTEMS:
            identity_of_fit["precision"] = choose_precision(self.config)
            program = self._identify_energy()
        for fold in self.benchmark.folds:
            if system not in FOLDER_SYSTEMS:
                _refuse_empty(fold)
            facts = self._build_facts(system, identity, fold)
            fit = {**identity_of_fit, "fit": self._identify_fit(program), "rnas": facts.fit_sha256}
            fit |= {"num_train": len(fold.train)}
            head = self.out / "heads" / f"{system}.{build_key(fit)}.safetensors"
            given_head = ""
            if heads and system == "pretrained":
                head = find_head(heads, facts, json.dumps(describe_regime(self.config.regime)))
                given_head = hash_file(head)
                fit = {**identity_of_fit, "head": given_head}
            tested = hash_records([self.benchmark.records[index] for index in fold.test])
            of_result = {"test": tested, "part": fold.part}
            if system in FOLDER_SYSTEMS:
                of_result |= identity_of_fit
            else:
                of_result |= fit | self._identify_decoder(program)
            yield Plan(
                system=system,
                fold=fold,
                key=build_key(of_result),
                facts=facts,
                head=head,
                given_head=given_head,
                program=program,
            )

    def _identify(self, system: SystemName) -> str | None:
        """What a system's rows or structures depend on; None where it cannot run here."""
        if system in FOLDER_SYSTEMS:
            folder = find_folder(system)
            return None if folder is None else folder.version
        if system == "pretrained":
            return self.checkpoint.sha256
        if system == "random":
            sizes = asdict(self.checkpoint.encoder.config)
            return build_key({"sizes": sizes, "seed": self.config.seed})
        return system

    def _identify_energy(self) -> str:
        """Version of the program whose energies the decoder weighs; empty where it weighs none."""
        if not self.config.decoder.use_energy:
            return ""
        return f"viennarna {import_viennarna().__version__}"

    def _identify_decoder(self, energy: str) -> dict[str, object]:
        # The threshold is an outcome.
        return {"decoder": asdict(replace(self.config.decoder, threshold=0.0)), "energy": energy}

    def _identify_fit(self, energy: str) -> dict[str, object]:
        regime = self.config.regime
        facts = {"fit": describe_regime(regime), "held_as": self.config.embed.dtype}
        if regime.choose == "best-validation":
            # What is validated are structures, which the decoder makes.
            facts |= self._identify_decoder(energy)
        return facts

    def _name_regime(self, system: SystemName) -> Regime:
        """The regime, or `frozen` where it would train an encoder and there is none."""
        regime = self.config.regime
        has_none = regime.trains_encoder and system not in ENCODERS
        return "frozen" if has_none else regime.regime

    def _build_facts(self, system: SystemName, identity: str, fold: Fold) -> HeadFacts:
        records = self.benchmark.records
        fitted = [records[index] for index in (*fold.train, *fold.validation)]
        together = {
            other.held_out_family
            for other in self.benchmark.folds
            if (other.train, other.validation) == (fold.train, fold.validation)
        }
        return HeadFacts(
            system=system,
            encoder=identity,
            regime=self._name_regime(system),
            held_out=tuple(sorted(together - {""})),
            fitted_families=tuple(sorted({record.family for record in fitted})),
            fit_sha256=hash_records(fitted),
            data=f"{self.benchmark.name} {self.benchmark.sha256[:12]}",
        )


def _refuse_empty(fold: Fold) -> None:
    for rnas, what in ((fold.train, "train on"), (fold.validation, "tune the threshold on")):
        if not rnas:
            raise ValueError(
                f"no RNA to {what} for {fold.part}: raise fit.max_fit_length_nt, or give more data"
            )
