"""Look into packs: `python pipeline/packs.py --preset giga data=runs/data show 1234`.

`show N` lists a pack's sequences, with --letters what is shown over what is true. `find ID` says
which pack of --epoch shows a record. `replay N --checkpoint RUN` computes a pack's loss, to find
what a spike was made of. Settings are those of the run.
"""

import argparse
import sys
from pathlib import Path

try:
    import torch

    from openrinalmo.data_prep.shards import open_split
    from openrinalmo.model.weights import load_masked_lm
    from openrinalmo.pipeline.overrides import apply_overrides
    from openrinalmo.pipeline.pretraining import pack_report
    from openrinalmo.pipeline.pretraining.batches import PackStream
    from openrinalmo.pipeline.pretraining.config import PretrainConfig
    from openrinalmo.pipeline.pretraining.presets import PRESETS
except ModuleNotFoundError as error:
    sys.exit(f"packs.py: {error}. Run `make install`, then use .venv/bin/python")

COMMANDS = ("show", "find", "replay")


def main() -> None:
    """Parse, look, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", required=True, choices=sorted(PRESETS))
    parser.add_argument("--letters", action="store_true", help="show: every sequence with its mask")
    parser.add_argument("--epoch", type=int, default=0, help="find: the epoch, from 0")
    parser.add_argument("--checkpoint", type=Path, help="replay: a run's folder or a weights file")
    parser.add_argument("words", nargs="*", metavar="path=value | show N | find ID | replay N")
    arguments = parser.parse_intermixed_args()
    try:
        command, subject, settings = _read_words(arguments.words)
        config = apply_overrides(PRESETS[arguments.preset](), settings)
        sys.stdout.write(_run(command, subject, config, arguments))
    except (ValueError, OSError) as error:
        sys.exit(f"packs.py: {error}")


def _read_words(words: list[str]) -> tuple[str, str, list[str]]:
    """Command, its number or id, and the settings around them."""
    places = [place for place, word in enumerate(words) if word in COMMANDS]
    if not places or places[0] + 1 == len(words):
        raise ValueError("say what to look at: show N, find ID or replay N --checkpoint RUN")
    place = places[0]
    return words[place], words[place + 1], [*words[:place], *words[place + 2 :]]


def _run(command: str, subject: str, config: PretrainConfig, arguments: argparse.Namespace) -> str:
    split = open_split(config.data, "train")
    stream = PackStream(
        split,
        pack_tokens=config.batches.micro_batch_tokens,
        sampling=config.sampling,
        masking=config.masking,
        seed=config.seed,
    )
    if command == "find":
        if arguments.epoch < 0:
            raise ValueError(f"--epoch counts from 0, got {arguments.epoch}")
        return pack_report.find_record(split, stream, subject, epoch=arguments.epoch)
    if not subject.isdecimal():
        raise ValueError(f"{command} takes a pack's number in the stream, from 0; got {subject!r}")
    if command == "show":
        return pack_report.describe_pack(split, stream, int(subject), letters=arguments.letters)
    if arguments.checkpoint is None:
        raise ValueError("replay needs --checkpoint: a run's folder or a weights file")
    pack_report.refuse_other_settings(config, arguments.checkpoint)
    model = load_masked_lm(arguments.checkpoint).model
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return pack_report.replay_pack(split, stream, int(subject), model, device)


if __name__ == "__main__":
    main()
