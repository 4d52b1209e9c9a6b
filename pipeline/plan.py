"""Plan a run: `python pipeline/plan.py --preset giga --gpu h100 --ranks 8 data=runs/rnacentral`."""

import argparse
import json
import sys
from pathlib import Path

try:
    from openrinalmo.pipeline.overrides import apply_overrides
    from openrinalmo.pipeline.pretraining.planning.hardware import find_gpu
    from openrinalmo.pipeline.pretraining.planning.plan import build_plan
    from openrinalmo.pipeline.pretraining.planning.plan_stages import Machine
    from openrinalmo.pipeline.pretraining.planning.plan_table import render_plan
    from openrinalmo.pipeline.pretraining.presets import PRESETS
except ModuleNotFoundError as error:
    sys.exit(f"plan.py: {error}. Run `make install`, then use .venv/bin/python")

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results.csv"


def main() -> None:
    """Parse, build, print: memory, speed, time and cost of a run; nothing is run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", required=True, choices=sorted(PRESETS))
    parser.add_argument("--gpu", required=True, help="such as h100, or what PyTorch calls it")
    parser.add_argument("--ranks", type=int, default=1, help="GPUs in all")
    parser.add_argument("--ranks-per-node", type=int, default=8, help="GPUs of a machine")
    parser.add_argument(
        "--network-gbit", type=float, default=400, help="a GPU's share of the network, each way"
    )
    parser.add_argument("--price-per-gpu-hour", type=float, help="in any currency")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="measured rows (benchmarks/results.csv)"
    )
    parser.add_argument("--json", action="store_true", help="every figure, in bytes and seconds")
    parser.add_argument("settings", nargs="*", metavar="path=value")
    arguments = parser.parse_intermixed_args()

    try:
        config = apply_overrides(PRESETS[arguments.preset](), arguments.settings)
        machine = Machine(
            gpu=find_gpu(arguments.gpu),
            ranks=arguments.ranks,
            ranks_per_node=arguments.ranks_per_node,
            network_gbit_per_gpu=arguments.network_gbit,
            price_per_gpu_hour=arguments.price_per_gpu_hour,
        )
        plan = build_plan(
            config,
            machine,
            preset=arguments.preset,
            recompute_every_blocks=config.execution.recompute_every_blocks,
            results=arguments.results,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"plan.py: {error}")
    if arguments.json:
        sys.stdout.write(json.dumps(plan.as_json(), indent=1) + "\n")
    else:
        sys.stdout.write(render_plan(plan, preset=arguments.preset))


if __name__ == "__main__":
    main()
