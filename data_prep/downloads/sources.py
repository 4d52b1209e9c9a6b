"""Public sources of RNA: where their current releases are, what is taken of them, on what terms.

Layouts as public documents and scripts show them in November 2026; nothing here was ever run
against the servers. Seen in several of those: the addresses of RNAcentral's FASTA, mapping, Rfam
annotations and release notes; of Rfam's per-family FASTA, family table and README; of Ensembl's
VERSION, species table and per-species `ncrna` folders with `CHECKSUMS`. Not seen, so checked when
used: that every family of the table has a FASTA, and the exact words of the release notes.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..rna_types import read_rfam_types
from .checksums import Checksum, find_checksum
from .download import download, read_text
from .transfer import DownloadConfig

FAMILY_ADDRESS = "Rfam/CURRENT/database_files/family.txt.gz"
MIN_BYTES = {
    "rnacentral_active.fasta.gz": 10**9,
    "id_mapping.tsv.gz": 10**8,
    "rfam_annotations.tsv.gz": 10**7,
    "family.txt.gz": 10**4,
}
"""Far less than what they have: a smaller one is no release, whatever its server says."""
LOCAL_ONLY = {
    "nt": "NCBI's nt is hundreds of gigabytes of mostly no RNA: give your own selection of it as a "
    "FASTA file",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One public source; addresses are relative to its root in `SourcesConfig`."""

    about: str
    licence: str
    release_file: str
    release_pattern: str


SOURCES = {
    "rnacentral": Source(
        about="all active sequences, and their RNA types; about 14 GB",
        licence="CC0 1.0; EMBL-EBI's terms of use ask for credit",
        release_file="RNAcentral/current_release/release_notes.txt",
        release_pattern=r"(?i)\brelease\s+v?(\d+(?:\.\d+)*)",
    ),
    "rfam": Source(
        about="all regions of every family, a file each, and the families' RNA types; some GB",
        licence="CC0 1.0",
        release_file="Rfam/CURRENT/README",
        release_pattern=r"(?im)^\s*release\s+(\d+(?:\.\d+)*)",
    ),
    "ensembl": Source(
        about="non-coding RNAs of chosen species; some MB each",
        licence="no restrictions; cite Ensembl",
        release_file="VERSION",
        release_pattern=r"\A\s*(\d+)\s*\Z",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcesConfig:
    """What is taken of each source, and from where."""

    ebi_url: str = "https://ftp.ebi.ac.uk/pub/databases"
    """Roots: a mirror serves as well."""
    ensembl_url: str = "https://ftp.ensembl.org/pub"
    ensembl_species: tuple[str, ...] = (
        "homo_sapiens",
        "mus_musculus",
        "rattus_norvegicus",
        "bos_taurus",
        "gallus_gallus",
        "xenopus_tropicalis",
        "danio_rerio",
        "drosophila_melanogaster",
        "caenorhabditis_elegans",
        "saccharomyces_cerevisiae",
    )
    rfam_families: tuple[str, ...] = ()
    """By default all families of the release."""
    download: DownloadConfig = field(default_factory=DownloadConfig)

    def find_root(self, name: str) -> str:
        """Return the address that a source's files are relative to."""
        return (self.ensembl_url if name == "ensembl" else self.ebi_url).rstrip("/")

    def describe_choice(self, name: str) -> list[str]:
        """Return what decides, with the release, which files of a source are taken."""
        chosen = {"rfam": self.rfam_families, "ensembl": self.ensembl_species}.get(name, ())
        return [self.find_root(name), *chosen]


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """One file of a source: an input, or the annotation of that name (`AnnotationConfig`)."""

    address: str
    annotation: str | None = None
    checksum: Checksum | None = None
    may_be_missing: bool = False


def check_names(names: Sequence[str]) -> None:
    """Refuse a source that is not in the table, with what to do instead."""
    for name in names:
        if name in LOCAL_ONLY:
            raise ValueError(f"{name} is not downloaded: {LOCAL_ONLY[name]}")
        if name not in SOURCES:
            raise ValueError(f"no source {name!r}; there are {', '.join(SOURCES)}")
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"name each source once: {', '.join(SOURCES)}")


def find_release(name: str, folder: Path, config: SourcesConfig) -> str:
    """Ask a source for the number of its current release."""
    source = SOURCES[name]
    url = f"{config.find_root(name)}/{source.release_file}"
    text = read_text(url, folder / f".{name}-release", config=config.download)
    match = re.search(source.release_pattern, text)
    if not match:
        raise ValueError(f"{url} names no release: it begins with {text[:60]!r}")
    return match[1]


def iter_remote_files(
    name: str, release: str, folder: Path, config: SourcesConfig
) -> Iterator[RemoteFile]:
    """Yield what is taken of a source; lists that say so are read on the way, into `folder`."""
    plan = {"rnacentral": _plan_rnacentral, "rfam": _plan_rfam, "ensembl": _plan_ensembl}[name]
    yield from plan(release, folder, config)


def _plan_rnacentral(release: str, folder: Path, config: SourcesConfig) -> Iterator[RemoteFile]:
    base = "RNAcentral/current_release"
    yield RemoteFile(address=f"{base}/sequences/rnacentral_active.fasta.gz")
    yield RemoteFile(address=f"{base}/id_mapping/id_mapping.tsv.gz", annotation="id_mapping")
    yield RemoteFile(address=f"{base}/rfam/rfam_annotations.tsv.gz", annotation="rfam_annotations")
    yield RemoteFile(address=FAMILY_ADDRESS, annotation="family")  # the types of those families


def _plan_rfam(release: str, folder: Path, config: SourcesConfig) -> Iterator[RemoteFile]:
    table = RemoteFile(address=FAMILY_ADDRESS, annotation="family")
    yield table
    path = download_file(table, "rfam", folder, config)
    families = read_rfam_types(path)
    if unknown := set(config.rfam_families) - set(families):
        raise ValueError(f"Rfam {release} has no family {', '.join(sorted(unknown))}")
    for family in sorted(config.rfam_families or families):
        address = f"Rfam/CURRENT/fasta_files/{family}.fa.gz"
        yield RemoteFile(address=address, may_be_missing=not config.rfam_families)


def _plan_ensembl(release: str, folder: Path, config: SourcesConfig) -> Iterator[RemoteFile]:
    root, base = config.find_root("ensembl"), f"release-{release}"
    scratch = folder / ".ensembl-list"
    url = f"{root}/{base}/species_EnsemblVertebrates.txt"
    rows = [
        line.split("\t") for line in read_text(url, scratch, config=config.download).split("\n")
    ]
    if "species" not in rows[0]:
        raise ValueError(f"{url}: no column 'species' among {', '.join(rows[0])}")
    column = rows[0].index("species")
    known = {row[column] for row in rows[1:] if len(row) > column}
    if unknown := [name for name in config.ensembl_species if name not in known]:
        raise ValueError(
            f"Ensembl {release} has no species {', '.join(unknown)}: take them from {url}"
        )
    for species in config.ensembl_species:
        place = f"{base}/fasta/{species}/ncrna"
        listing = read_text(f"{root}/{place}/CHECKSUMS", scratch, config=config.download)
        names = re.findall(r"\S+\.ncrna\.fa\.gz", listing)
        if len(names) != 1:
            raise ValueError(f"{root}/{place}/CHECKSUMS lists {len(names)} ncRNA files, not one")
        yield RemoteFile(address=f"{place}/{names[0]}", checksum=find_checksum(listing, names[0]))


def download_file(file: RemoteFile, name: str, folder: Path, config: SourcesConfig) -> Path:
    """Bring one file of a source to a folder, under its own name, if it is not there yet."""
    path = folder / file.address.rsplit("/", 1)[1]
    download(
        f"{config.find_root(name)}/{file.address}",
        path,
        checksum=file.checksum,
        min_bytes=MIN_BYTES.get(path.name, 0),
        config=config.download,
    )
    return path
