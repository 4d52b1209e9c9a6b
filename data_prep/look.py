"""Entry that looks at prepared data: prints single things, checks all of it, draws its report."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from openrinalmo.data_prep.inspection.inspect_data import (
        describe_cluster,
        describe_record,
        describe_shard,
        describe_type,
    )
except ModuleNotFoundError as error:
    sys.exit(f"cannot import {error.name}: install this checkout first, with `make install`")
from openrinalmo.data_prep.inspection.find_records import find_cluster_number
from openrinalmo.data_prep.inspection.verify import format_checks, verify_folder
from openrinalmo.data_prep.reports.report import write_report


def main(argv: Sequence[str] | None = None) -> None:
    """Look at what the command line names; exit with 1 if something is wrong."""
    arguments = _parse(argv)
    folder: Path = arguments.folder
    try:
        match arguments.what:
            case "record":
                text = describe_record(folder, arguments.name)
            case "cluster":
                text = describe_cluster(folder, find_cluster_number(folder, arguments.name))
            case "shard":
                text = describe_shard(folder, arguments.name)
            case "type":
                text = describe_type(folder, arguments.name)
            case "report":
                text = f"{write_report(folder)}\n"
            case _:
                checks = verify_folder(folder)
                sys.stdout.write(format_checks(checks))
                sys.exit(1 if any(check.faults for check in checks) else 0)
        sys.stdout.write(text)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="look.py", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of prepared data")
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    record = what.add_parser("record", help="one record, its cluster and its sequence")
    record.add_argument("name", metavar="ID|NUMBER", help="its identifier, or train:17, or 17")
    cluster = what.add_parser("cluster", help="the members of one cluster, aligned")
    cluster.add_argument("name", metavar="NAME|NUMBER", help="its name, or eight digits of it")
    shard = what.add_parser("shard", help="what one shard holds")
    shard.add_argument("name", metavar="FILE")
    rna_type = what.add_parser("type", help="what there is of one RNA type")
    rna_type.add_argument("name", metavar="NAME")
    what.add_parser("verify", help="hash every file again and check what it says")
    what.add_parser("report", help="write report.html and its pictures beside the manifest")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
