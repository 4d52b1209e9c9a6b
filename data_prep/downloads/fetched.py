"""Sources fetched to a folder: their current releases, what lies there, and what it is."""

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..rna_types import AnnotationConfig
from ..steps import exclusive
from .sources import (
    SOURCES,
    SourcesConfig,
    check_names,
    download_file,
    find_release,
    iter_remote_files,
)
from .transfer import NotFoundError, read_json

logger = logging.getLogger(__name__)

FETCHED_NAME = "sources.json"
MAX_MISSING_FAMILIES = 0.01
MOST_BARS = 10
RETRIES_IF_HELD = 2  # of the question for the release: what is held serves as well
ASKED = "asked"  # what decides which files are taken: for `fetch_sources`, not for a manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchedSources:
    """What lies in a folder of fetched sources."""

    inputs: tuple[Path, ...]
    annotations: AnnotationConfig
    facts: list[dict[str, Any]]
    """For each source: name, release, licence, files with their SHA-256, families without any."""


def fetch_sources(
    names: Sequence[str], folder: Path, config: SourcesConfig | None = None
) -> FetchedSources:
    """Bring the current releases of some sources to `folder/<name>-<release>/`; a rerun goes on.

    One file after another, so one connection. `folder/sources.json` says what there is. Of a
    source that cannot be asked for its release, the one that the same settings brought is kept.
    """
    check_names(names)
    config = config or SourcesConfig()
    with exclusive(folder):
        held = {fact["name"]: fact for fact in read_json(folder / FETCHED_NAME) or []}
        facts = [_fetch_or_keep(name, folder, config, held.get(name)) for name in names]
        scratch = folder / f"{FETCHED_NAME}.partial"
        scratch.write_text(json.dumps(facts, indent=2) + "\n")
        scratch.replace(folder / FETCHED_NAME)
    return read_fetched(folder)


def _fetch_or_keep(
    name: str, folder: Path, config: SourcesConfig, held: dict[str, Any] | None
) -> dict[str, Any]:
    """Bring a source's current release; `held` is what an earlier call said of the source."""
    if held is None or held.get(ASKED) != config.describe_choice(name):
        return _fetch_one(name, find_release(name, folder, config), folder, config)
    retries = min(config.download.max_retries, RETRIES_IF_HELD)
    patience = dataclasses.replace(config.download, max_retries=retries)
    try:
        release = find_release(name, folder, dataclasses.replace(config, download=patience))
    except ConnectionError as error:
        logger.warning("%s", error)
        logger.warning("%s: going on with release %s, fetched before", name, held["release"])
        return held
    return _fetch_one(name, release, folder, config)


def _fetch_one(name: str, release: str, folder: Path, config: SourcesConfig) -> dict[str, Any]:
    place = folder / f"{name}-{release}"
    place.mkdir(exist_ok=True)
    files, missing = [], []
    quiet = dataclasses.replace(config.download, show_progress=False)
    for number, file in enumerate(
        tqdm(list(iter_remote_files(name, release, place, config)), desc=place.name, disable=None)
    ):
        # Families are thousands of small files: the bar over all of them is enough.
        single = dataclasses.replace(config, download=quiet) if number >= MOST_BARS else config
        try:
            path = download_file(file, name, place, single)
        except NotFoundError as error:
            if not file.may_be_missing:
                raise
            logger.warning("%s", error)
            missing.append(file.address)
            continue
        described = json.loads(path.with_name(f"{path.name}.json").read_text())
        entry = {"file": f"{place.name}/{path.name}", "annotation": file.annotation}
        files.append(entry | {key: described[key] for key in ("url", "bytes", "sha256")})
    if len(missing) > MAX_MISSING_FAMILIES * len(files):
        raise ValueError(
            f"{len(missing)} of {len(files) + len(missing)} files of {place.name} are missing, "
            f"the first is {missing[0]}: the source's layout has changed"
        )
    if (now := find_release(name, folder, config)) != release:
        raise ValueError(f"{name} went from release {release} to {now} meanwhile: run again")
    licence = SOURCES[name].licence
    return {
        "name": name, "release": release, "licence": licence, "files": files, "missing": missing,
        ASKED: config.describe_choice(name),
    }  # fmt: skip


def read_fetched(folder: Path) -> FetchedSources:
    """Return what `fetch_sources` brought to a folder; refuse one that is not whole."""
    path = folder / FETCHED_NAME
    if not path.is_file():
        raise ValueError(f"{path} is missing: run `python data_prep/fetch.py … --out {folder}`")
    facts = json.loads(path.read_text())
    for source in facts:
        source.pop(ASKED, None)
    inputs: list[Path] = []
    annotations: dict[str, Path] = {}
    for file in (file for source in facts for file in source["files"]):
        local = folder / file["file"]
        if not local.is_file() or local.stat().st_size != file["bytes"]:
            raise ValueError(f"{local} is missing or cut short: fetch the sources again")
        if file["annotation"]:
            annotations.setdefault(file["annotation"], local)
        else:
            inputs.append(local)
    return FetchedSources(
        inputs=tuple(inputs), annotations=AnnotationConfig(**annotations), facts=facts
    )
