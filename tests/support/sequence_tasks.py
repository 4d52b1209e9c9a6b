"""Made-up benchmarks of whole sequences, small, in the layouts that the tasks read."""

import lzma

import numpy as np

LETTERS = list("ACGU")


def draw_sequence(generator, length):
    """Random RNA."""
    return "".join(generator.choice(LETTERS, length))


def write_table(path, rows, separator="\t"):
    """Write rows, compressed where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(separator.join(map(str, row)) + "\n" for row in rows)
    if path.suffix == ".xz":
        path.write_bytes(lzma.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def read_table(path):
    """Rows of a compressed table as lists of text."""
    text = lzma.decompress(path.read_bytes()).decode()
    return [line.split("\t") for line in text.splitlines()]


def draw_window(generator, length, letters):
    """DNA with `letters` in its middle."""
    half = draw_sequence(generator, length // 2 - 1), draw_sequence(generator, length // 2 - 1)
    return letters.join(half).replace("U", "T")


def write_splice(folder, num=8, seed=0):
    """Human and Arabidopsis windows of 602 nt, HS3D of 140 nt, introns of three species."""
    generator = np.random.default_rng(seed)
    rows: list[tuple] = [("species", "partition", "site", "label", "sequence")]
    for species in ("homo_sapiens", "arabidopsis_thaliana"):
        for partition in ("Train", "Test"):
            for site, letters in (("Donor", "GT"), ("Acceptor", "AG")):
                for number in range(2 * num):
                    window = draw_window(generator, 602, letters)
                    rows.append((species, partition, site, number % 2, window))
    for partition in ("Train", "Test"):
        for site, letters, cut in (
            ("Donor", "GT", slice(0, 140)),
            ("Acceptor", "AG", slice(2, 142)),
        ):
            for number in range(4):
                window = draw_window(generator, 142, letters)[cut]
                rows.append(("hs3d_bal", partition, site, number % 2, window))
    write_table(folder / "splice" / "human_arabidopsis_602nt_made_up.tsv.xz", rows)
    for species in ("at", "ce", "dm"):
        introns = []
        for gene in range(num):
            for count in (3, 9):
                left, right = (
                    draw_sequence(generator, 50).replace("U", "T").replace("GT", "GA")
                    for _ in range(2)
                )
                middle = draw_sequence(generator, 60).replace("U", "T")
                introns.append((left, f"GT{middle}GTAGCCAG", right, count, f"gene{gene}"))
        write_table(folder / "splice" / f"korf_eie.{species}.txt.xz", introns, separator=" ")
    return folder


def write_published_splice(folder, num=6, seed=1):
    """The published layout: windows of 600 nt, semicolons, four species."""
    generator = np.random.default_rng(seed)
    for site, letters in (("donor", "GT"), ("acceptor", "AG")):

        def draw_rows(length, num, letters=letters):
            return [
                (f"P{n:05d}_human", n, draw_window(generator, length, letters)) for n in range(num)
            ]

        training = folder / "Training_data"
        header = ("ID_uniprot", "POS", "sequence")
        positive, negative = draw_rows(600, num), draw_rows(600, num)
        write_table(
            training / "Positive" / "GS" / f"POS_{site}_600.csv", [header, *positive], separator=";"
        )
        write_table(
            training / "Negative" / "GS" / "GS_1" / f"NEG_600_{site}.csv", negative, separator=";"
        )
        for species in ("Danio", "Fly", "Thaliana", "Worm"):
            for name in ("positive", "negative"):
                write_table(
                    folder / "Benchmarks" / species / f"SA_sequences_{site}_400_Final_3.{name}.txt",
                    draw_rows(400, 3),
                    separator=";",
                )
    return folder


def write_published_split(folder, num=4, seed=2):
    """The ten-fold files that the published script makes, one of them."""
    generator = np.random.default_rng(seed)
    for site, letters in (("donor", "GT"), ("acceptor", "AG")):
        for name in ("Train", "Val"):
            rows = [
                ("human", draw_window(generator, 400, letters), number % 2) for number in range(num)
            ]
            write_table(folder / "GS_1" / "db_1" / f"{name}_{site}_400.csv", rows, separator=";")
    return folder


def compute_load(utr):
    """A made-up ribosome load: less where there is an AUG."""
    return 7.0 - 3.0 * ("AUG" in utr) + 0.01 * utr.count("C")


def write_loads(folder, num=40, seed=3):
    """The 50-mers and the two test sets; one UTR is both fitted on and tested."""
    generator = np.random.default_rng(seed)
    rows = [("set", "utr", "rl", "split_name")]
    utrs = {}
    for name, lengths in (
        ("MPA_U_test20000", [50]),
        ("MPA_H_25000", [50]),
        ("Random7600", range(25, 45)),
        ("Human7600", range(40, 60)),
        ("m1pseudo2_test20000", [50]),
    ):
        utrs[name] = [
            draw_sequence(generator, lengths[number % len(lengths)]) for number in range(num)
        ]
    utrs["Human7600"][0] = utrs["MPA_H_25000"][0]
    for name, listed in utrs.items():
        rows += [("x", utr.replace("U", "T"), compute_load(utr), name) for utr in listed]
    write_table(folder / "mrl" / "mrl_sample2019.tsv.xz", rows)
    return folder


def write_classes(folder, num=20, seed=4):
    """Three of the 13 classes, with two tested copies, and riboswitches of three families."""
    generator = np.random.default_rng(seed)
    rows = [("id", "partition", "class", "sequence")]
    first = {}
    for name, letters in (("tRNA", "GC"), ("miRNA", "AU"), ("IRES", "GA")):
        for number in range(num):
            partition = "test2600" if number % 4 == 0 else "train6320"
            sequence = "".join(generator.choice(list(letters * 3 + "ACGU"), 40))
            if number == 1:
                first[name] = sequence
            rows.append((f"{name}{number}", partition, name, sequence))
    for name in ("tRNA", "miRNA"):
        rows.append((f"{name}copy", "test2600", name, first[name]))
    write_table(folder / "classification" / "nrc_13class.tsv.xz", rows)
    return folder


def write_rfam(folder, num_families=12, num_members=11, seed=5):
    """Seeds of families of two types, a family of too few members, and a type of too few."""
    generator = np.random.default_rng(seed)
    rows = [("rfam_acc", "rfam_id", "type", "seq_id", "sequence", "structure")]

    def add(family, type_, num):
        ancestor = list(draw_sequence(generator, 50))
        for member in range(num):
            letters = ancestor.copy()
            for place in generator.integers(50, size=10):
                letters[place] = str(generator.choice(LETTERS))
            sequence = "".join(letters)
            rows.append((family, family, type_, f"s{member}", sequence, "." * len(sequence)))

    for number in range(num_families):
        add(f"RF{number:05d}", "Gene; sRNA", num_members)
        add(f"RF{number + 100:05d}", "Cis-reg; riboswitch", num_members)
    add("RF00500", "Gene; sRNA", 3)
    add("RF00600", "Gene; CRISPR", num_members)
    write_table(folder / "structure" / "rfam14.2_seed_with_structure.tsv.xz", rows)
    return folder
