"""Entry of `make data SOURCES=…`: bring public sources to a folder, or say what that would be."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

try:
    from openrinalmo.data_prep.downloads.fetched import fetch_sources
    from openrinalmo.data_prep.downloads.sources import (
        LOCAL_ONLY,
        SOURCES,
        SourcesConfig,
        check_names,
        find_release,
        iter_remote_files,
    )
except ModuleNotFoundError as error:
    sys.exit(f"cannot import {error.name}: install this checkout first, with `make install`")


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch the sources that the command line names, and print where they are."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = _parse(argv)
    config = SourcesConfig(
        ebi_url=arguments.ebi_url,
        ensembl_url=arguments.ensembl_url,
        ensembl_species=tuple(arguments.species),
        rfam_families=tuple(arguments.families),
    )
    try:
        if arguments.list:
            sys.stdout.write(_format_table())
        elif arguments.dry_run:
            check_names(arguments.sources)
            _print_plan(arguments.sources, config)
        else:
            fetched = fetch_sources(arguments.sources, arguments.out, config)
            for source in fetched.facts:
                size = sum(file["bytes"] for file in source["files"]) / 1e9
                sys.stdout.write(
                    f"{source['name']} {source['release']}: {len(source['files'])} files, "
                    f"{size:.2f} GB; licence: {source['licence']}\n"
                )
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; run again to go on from here")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    default = SourcesConfig()
    parser = argparse.ArgumentParser(prog="fetch.py", description=__doc__)
    add = parser.add_argument
    add("sources", nargs="*", metavar="SOURCE", help=", ".join(SOURCES))
    add("--out", type=Path, metavar="FOLDER", help="where the files go")
    add("--list", action="store_true", help="print the sources and their terms; asks nobody")
    add("--dry-run", action="store_true", help="print what would be brought; reads lists only")
    add("--species", nargs="+", default=default.ensembl_species, help="of Ensembl")
    add("--families", nargs="+", default=(), metavar="RF", help="of Rfam, by default all")
    add("--ebi-url", default=default.ebi_url, help="root of RNAcentral and Rfam, or a mirror's")
    add("--ensembl-url", default=default.ensembl_url, help="root of Ensembl, or a mirror's")
    arguments = parser.parse_args(argv)
    if not arguments.list and not arguments.sources:
        parser.error(f"name a source: {', '.join(SOURCES)}; --list tells about them")
    if not (arguments.list or arguments.dry_run or arguments.out):
        parser.error("--out FOLDER is needed")
    return arguments


def _format_table() -> str:
    rows = [f"{name:<12}{s.about}\n{'':<12}licence: {s.licence}\n" for name, s in SOURCES.items()]
    return "".join(rows + [f"{name:<12}{why}\n" for name, why in LOCAL_ONLY.items()])


def _print_plan(names: Sequence[str], config: SourcesConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            release = find_release(name, Path(folder), config)
            sys.stdout.write(f"{name} {release}\n")
            for file in iter_remote_files(name, release, Path(folder), config):
                sys.stdout.write(f"  {config.find_root(name)}/{file.address}\n")


if __name__ == "__main__":
    main()
