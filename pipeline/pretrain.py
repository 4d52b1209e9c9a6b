"""Pretrain an encoder: `deepspeed pipeline/pretrain.py --preset tiny data=runs/data`."""

import argparse
import json
import logging
import sys

try:
    from openrinalmo.pipeline.overrides import apply_overrides, describe
    from openrinalmo.pipeline.pretraining.presets import PRESETS
    from openrinalmo.pipeline.pretraining.train import pretrain
    from openrinalmo.pipeline.ranks import read_ranks, set_up_logging
except ModuleNotFoundError as error:
    sys.exit(f"pretrain.py: {error}. Run `make install`, then use .venv/bin/deepspeed")

logger = logging.getLogger("openrinalmo")


def main() -> None:
    """Parse, build, run; settings are `path=value`, listed by --dry-run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", required=True, choices=sorted(PRESETS))
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument(
        "--allow-other-data", action="store_true", help="resume though the data is not the same"
    )
    parser.add_argument("--dry-run", action="store_true", help="print every setting and stop")
    parser.add_argument("--local_rank", type=int, help="set by launchers; not used")
    parser.add_argument("settings", nargs="*", metavar="path=value")
    arguments = parser.parse_intermixed_args()

    try:
        config = apply_overrides(PRESETS[arguments.preset](), arguments.settings)
        if arguments.dry_run:
            sys.stdout.write(json.dumps(describe(config), indent=1) + "\n")
            return
        ranks = read_ranks()
        set_up_logging(ranks)
        pretrain(
            config,
            ranks,
            resume=arguments.resume,
            allow_other_data=arguments.allow_other_data,
        )
    except (ValueError, OSError, FloatingPointError) as error:
        logger.debug("refused", exc_info=True)
        sys.exit(f"pretrain.py: {error}")


if __name__ == "__main__":
    main()
