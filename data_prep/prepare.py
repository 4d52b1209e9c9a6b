"""Entry of `make data`: FASTA files to clustered, split, memory-mapped shards, step by step."""

import logging
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from typing import Any

try:
    from openrinalmo.data_prep.arguments import parse_arguments
except ModuleNotFoundError as error:
    sys.exit(f"cannot import {error.name}: install this checkout first, with `make install`")
from openrinalmo.data_prep.audits.exclusion import list_benchmarks
from openrinalmo.data_prep.composition import check_caps, find_caps
from openrinalmo.data_prep.config import DataConfig
from openrinalmo.data_prep.earlier import read_earlier
from openrinalmo.data_prep.engine import Engine, open_engine
from openrinalmo.data_prep.facts import (
    collect_facts,
    format_summary,
    summarise_reports,
)
from openrinalmo.data_prep.inputs.formats import iter_blocks
from openrinalmo.data_prep.inputs.stdin import STDIN, spool_stdin
from openrinalmo.data_prep.mmseqs import find_mmseqs, read_version
from openrinalmo.data_prep.publish import build_shards, is_complete, publish
from openrinalmo.data_prep.records import build_records
from openrinalmo.data_prep.reports.report import write_report
from openrinalmo.data_prep.stages import build_clusters, build_split
from openrinalmo.data_prep.steps import exclusive, run_step, unwind_on_signals
from openrinalmo.data_prep.unique import build_unique

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the data that the command line asks for and print what came of it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    unwind_on_signals("stopped; run again to go on from here")
    try:
        config = parse_arguments(argv)
        manifest = prepare_data(config)
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; run again to go on from here")
    sys.stdout.write(format_summary(manifest, config.out))


def prepare_data(config: DataConfig) -> dict[str, Any]:
    """Run the steps that are not done, put the shards in place, return the manifest.

    A step's fingerprint is what its product depends on: parameters and products before it.
    """
    if config.engine.name != "local":
        config = config.absolute
    steps = config.out / "steps"
    with exclusive(steps), ExitStack() as stack:
        if STDIN in config.inputs:
            spooled = spool_stdin(steps)
            inputs = tuple(spooled if path == STDIN else path for path in config.inputs)
            config = replace(config, inputs=inputs)
        earlier = None
        if config.update:
            earlier = read_earlier(config.update, config, read_version(find_mmseqs()))
        engine = stack.enter_context(open_engine(config.engine, shared=steps, inputs=config.inputs))
        facts = collect_facts(config, steps, earlier)
        tools, parameters = facts["tools"], facts["parameters"]
        reports = {}
        reports["records"] = run_step(
            steps / "records",
            {key: parameters[key] for key in ("filter", "metadata", "annotations", "formats")}
            | {"inputs": facts["inputs"]},
            partial(
                build_records,
                config=config,
                read_blocks=partial(iter_blocks, config=config.formats),
                engine=engine,
            ),
        )
        rna_types = reports["records"]["rna_types"]
        find_caps(config.weights, rna_types)  # refuses a mistyped one before anything long
        reports["unique"] = run_step(
            steps / "unique",
            {
                "records": reports["records"]["sha256"],
                "rna_types": rna_types,
                **parameters["dedup"],
                **_describe_exclusion(config, facts),
            },
            partial(
                build_unique,
                steps=steps,
                config=config.dedup,
                exclude=config.exclude,
                rna_types=rna_types,
                engine=engine,
            ),
        )
        check_caps(config.weights, reports["unique"]["rna_types"])
        # The sequences alone, by their digests: other identifiers, types or orders of the files
        # leave the clusters as they are, and so do threads and memory.
        reports["clusters"] = run_step(
            steps / "clusters",
            {
                "sequences": reports["unique"]["sequences_sha256"],
                "mmseqs": tools["mmseqs"],
                **parameters["cluster"],
                "update": earlier and earlier.clusters_fingerprint,
            },
            partial(
                build_clusters,
                steps=steps,
                config=config.cluster,
                dedup=config.dedup,
                earlier=earlier,
            ),
        )
        products = {name: report["sha256"] for name, report in reports.items()}
        reports["split"] = run_step(
            steps / "split",
            {
                **products,
                "names": reports["clusters"]["names_sha256"],
                **parameters["split"],
                "update": earlier and earlier.split_fingerprint,
            },
            partial(build_split, steps=steps, config=config.split, earlier=earlier),
        )
        _make_shards(config, engine, facts, reports)
        manifest = publish(steps / "shards", config.out)
        write_report(config.out)
        return manifest


def _describe_exclusion(config: DataConfig, facts: dict[str, Any]) -> dict[str, Any]:
    """What decides what is left out; MMseqs2 only where it is asked."""
    exclude = facts["parameters"]["exclude"]
    searches = bool(config.exclude.benchmarks)
    return {"exclude": exclude, **({"mmseqs": facts["tools"]["mmseqs"]} if searches else {})}


def _make_shards(
    config: DataConfig, engine: Engine, facts: dict[str, Any], reports: dict[str, Any]
) -> None:
    """Run the last step; all that its manifest states is in its fingerprint, but for Python."""
    steps = config.out / "steps"
    folder = steps / "shards"
    if folder.exists() and not is_complete(folder, config.out):
        logger.info("shards: missing or damaged in %s", config.out)
        shutil.rmtree(folder)
    facts = {**facts, **summarise_reports(reports)}
    if facts["exclusion"]:  # by another name or format a file leaves out the same
        facts["exclusion"] = {"benchmarks": list_benchmarks(config.exclude), **facts["exclusion"]}
    records = reports["records"]
    run_step(
        folder,
        {
            "products": {name: report["sha256"] for name, report in reports.items()},
            "rna_types": records["rna_types"],
            "mmseqs": facts["tools"]["mmseqs"],
            "weights": asdict(config.weights),
            **{key: value for key, value in facts.items() if key != "tools"},
        },
        partial(
            build_shards,
            steps=steps,
            facts=facts,
            records_report=records,
            weights=config.weights,
            max_shard_nt=config.max_shard_nt,
            engine=engine,
        ),
    )


if __name__ == "__main__":
    main()
