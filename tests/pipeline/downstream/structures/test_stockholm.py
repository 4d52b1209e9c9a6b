"""Stockholm: whose structure a member has."""

from openrinalmo.pipeline.downstream.structures.records import read_structures
from support.structure_files import read_one, write


def test_a_members_own_structure_goes_before_the_consensus(tmp_path):
    text = (
        "# STOCKHOLM 1.0\na     GA.AA\n#=GR a SS (.-..\nb     GAAAC\n\n"
        "a     AC\n#=GR a SS .)\nb     -C\n#=GC SS_cons ...(..)\n//\n"
    )
    records = read_structures(write(tmp_path, "a.sto", text))
    assert [(one.id, one.sequence, one.pairs_P2.tolist()) for one in records] == [
        ("a", "GAAAAC", [[0, 5]]),
        ("b", "GAAACC", [[3, 5]]),
    ]
    alone = "# STOCKHOLM 1.0\na GAAAC\n#=GR a SS (...)\n//\n"
    assert read_one(tmp_path, "b.sto", alone).pairs_P2.tolist() == [[0, 4]]


def test_headers_in_any_case_and_comments_between_alignments(tmp_path):
    text = "#stockholm 1.0\n# Stockholm is a town\na GAAAC\n#=GC SS_cons (...)\n//\n"
    text = "# made by x\n" + text + "\n# made by y\n" + text.replace("a ", "b ").upper()
    text = text.replace("SS_CONS", "SS_cons")
    records = read_structures(write(tmp_path, "a.txt", text))
    assert [(one.id, one.pairs_P2.tolist()) for one in records] == [
        ("a", [[0, 4]]),
        ("B", [[0, 4]]),
    ]


def test_lines_of_crossing_helices_are_merged(tmp_path, caplog):
    text = (
        "# STOCKHOLM 1.0\na GGCCAACCGGAA\n#=GC SS_cons (..)........\n"
        "#=GC SS_cons_10 ........<..>\n#=GC SS_cons2  ....<..>..<>\n"
        "#=GC SS_cons_pk ..<..>......\n#=GC SS_cons_tr_1 <....>......\n//\n"
    )
    record = read_one(tmp_path, "a.sto", text)
    # 10 names base 11, which 2 has paired.
    assert record.pairs_P2.tolist() == [[0, 3], [2, 5], [4, 7], [10, 11]]
    assert "1 pairs dropped" in caplog.text
