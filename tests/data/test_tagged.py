"""Readers of tagged texts: CoNLL, SkillSpan, ESCO, resumes and occupations."""

import gzip
import itertools
import json
import zipfile

import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import (
    Span,
    TaggedText,
    read_conll,
    read_linked_sentences,
    read_occupations,
    read_resumes,
    read_skill_labels,
    read_skillspan,
    word_places,
)


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_conll_is_read_by_its_columns(tmp_path):
    text = "-DOCSTART- O\n\nAn X B-PER\nB Y I-PER\r\n\n\n\nC Z O\n"
    found = read_conll(write(tmp_path, "a.conll", text))
    assert found.texts == (
        TaggedText(("An", "B"), (Span(0, 2, "per"),)),
        TaggedText(("C",), ()),
    )
    tabs = write(tmp_path, "b.conll", "B-K\tNew York\nO\tcity\n")
    assert read_conll(tabs, word_column=1, tag_column=0).texts[0].words == ("New York", "city")
    packed = tmp_path / "c.conll.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_conll(packed) == found
    full = write(tmp_path, "d.conll", "a S-K\nb O\n")
    assert read_conll(full, scheme="BIOES").texts[0].spans == (Span(0, 1, "k"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a O\n\nb O\nc I-K\n", ["line 4", "I-k after O", "no legal BIO"]),
        ("a O\nb\n", ["line 2", "no word and tag"]),
        ("a\tO\n\tO\n", ["line 2", "no word and tag"]),
        ("a O\nb E-K\n", ["line 2", "no tag of BIO"]),
        ("\n \n", ["holds no texts"]),
    ],
)
def test_errors_of_conll_name_file_and_line(text, words, tmp_path):
    with pytest.raises(DataError) as error:
        read_conll(write(tmp_path, "bad.conll", text))
    assert all(word in str(error.value) for word in ("bad.conll", *words))


def test_an_illegal_end_is_named_by_the_last_line(tmp_path):
    path = write(tmp_path, "bad.conll", "a O\nb B-K\n\nc O\n")
    with pytest.raises(DataError, match=r"line 2: token 2: B-k at the end"):
        read_conll(path, scheme="BIOES")


def test_illegal_tags_are_repaired_and_counted_if_that_is_asked_for(tmp_path):
    found = read_conll(write(tmp_path, "a.conll", "a O\nb I-K\nc I-K\n"), illegal="repair")
    assert found.texts[0].spans == (Span(1, 3, "k"),) and found.repaired == 1


def rows(folder, *records):
    return write(folder, "rows.json", "\n".join(json.dumps(record) for record in records))


def record(tokens, skill, knowledge):
    return {"tokens": tokens, "tags_skill": skill, "tags_knowledge": knowledge, "source": "tech"}


def test_the_layers_of_skillspan_may_overlap(tmp_path):
    path = rows(tmp_path, record(["use", "Java", "now"], ["B", "I", "O"], ["O", "B", "O"]))
    (text,) = read_skillspan(path).texts
    assert text.spans == (Span(0, 2, "skill"), Span(1, 2, "knowledge")) and text.source == "tech"
    assert text.tags("skill") == ["B-skill", "E-skill", "O"]
    assert read_skillspan(path, ["knowledge"]).texts[0].spans == (Span(1, 2, "knowledge"),)
    with pytest.raises(ConfigError, match="must be named"):
        read_skillspan(path, [])


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (record(["a"], ["O"], ["I"]), ["record 1", "I-knowledge after O"]),
        (record(["a"], ["O"], ["O", "O"]), ["record 1", "1 words and 2 tags", "tags_knowledge"]),
        (record([], [], []), ["record 1", "no words"]),
        (record(["a", " "], ["O", "O"], ["O", "O"]), ["record 1", "'tokens'", "not empty"]),
        (record(["a"], "O", ["O"]), ["record 1", "'tags_skill' must be a list"]),
        (record(["a"], ["X"], ["O"]), ["record 1", "'X-skill' is no tag of BIO"]),
        ({"tokens": ["a"]}, ["record 1", "'tags_skill' must be a list"]),
    ],
)
def test_errors_of_skillspan_name_the_record(bad, words, tmp_path):
    with pytest.raises(DataError) as error:
        read_skillspan(rows(tmp_path, record(["a"], ["O"], ["O"]), bad))
    assert all(word in str(error.value) for word in ("rows.json", *words))


def test_overlapping_spans_of_one_kind_are_no_text():
    with pytest.raises(DataError, match="overlaps another span at token 1"):
        TaggedText(("a", "b", "c"), (Span(0, 2, "k"), Span(1, 3, "k")))


def test_an_empty_list_of_skills_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"none.txt holds no skills"):
        read_skill_labels(write(tmp_path, "none.txt", "\n  \n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sentence,label\n,x\n", ["line 2", "a sentence and a label"]),
        ("sentence,label\na,b\na,b,c\n", ["line 3", "as many fields"]),
        ("sentence,span\na,b\n", ["no column 'label'"]),
        ("sentence,label\n", ["no annotations"]),
    ],
)
def test_errors_of_annotations_name_the_line(text, words, tmp_path):
    with pytest.raises(DataError) as error:
        read_linked_sentences(write(tmp_path, "bad.csv", text))
    assert all(word in str(error.value) for word in ("bad.csv", *words))


def test_labels_of_a_resume_become_spans_of_words(tmp_path):
    body = (
        'A &amp; B <label type="K">  C++, </label>and <label type="L">Ja</label>va '
        '<label type="K"> - </label><label type="K">x</label>'
    )
    write(tmp_path, "1.xml", f"<cv>{body}</cv>")
    (resume,) = read_resumes(tmp_path)
    assert resume.text == "A & B   C++, and Java  - x"
    assert [resume.text[s.start : s.end] for s in resume.labels] == ["  C++, ", "Ja", " - ", "x"]
    text = resume.tagged()
    assert text.words == ("A", "&", "B", "C++", ",", "and", "Java", "-", "x")
    assert text.spans == (Span(3, 4, "K"), Span(6, 7, "L"), Span(8, 9, "K"))


def test_resumes_come_from_a_zip_file_too_without_what_macos_adds(tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cvs/2.xml", "<cv>two</cv>")
        archive.writestr("cvs/1.xml", "<cv>one</cv>")
        archive.writestr("__MACOSX/cvs/._1.xml", b"\0\1")
    assert [(r.name, r.text) for r in read_resumes(path)] == [("1", "one"), ("2", "two")]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<cv>\n<label></cv>", ["1.xml", "line 2"]),
        ("<cv><label>x</label></cv>", ["1.xml", "<label type=...>"]),
        ('<cv><label type="a"><label type="b">x</label></label></cv>', ["with text alone"]),
        ("<cv> </cv>", ["has no text"]),
    ],
)
def test_errors_of_resumes_name_the_file(body, words, tmp_path):
    write(tmp_path, "1.xml", body)
    with pytest.raises(DataError) as error:
        read_resumes(tmp_path)
    assert all(word in str(error.value) for word in words)


def test_folders_and_zip_files_without_resumes_are_errors(tmp_path):
    with pytest.raises(DataError, match="holds no resumes"):
        read_resumes(tmp_path)
    with pytest.raises(DataError, match="cannot be read as a zip file"):
        read_resumes(write(tmp_path, "bad.zip", "no zip"))
    with pytest.raises(DataError, match=r"absent\.zip"):
        read_resumes(tmp_path / "absent.zip")


def test_words_cover_every_letter_and_mark():
    for text in ("C++/C# and .NET, e-mail me@x.org!", "naïve (café) – 5%", ""):
        places = word_places(text)
        assert "".join(text[a:b] for a, b in places) == "".join(text.split())
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(places))


def test_an_occupation_without_description_names_its_line(tmp_path):
    path = write(tmp_path, "o.txt", "Title\tDescription\nBakers\tBake.\nNobody\t\n")
    with pytest.raises(DataError, match="line 3 has no Title or no Description"):
        read_occupations(path)
    with pytest.raises(DataError, match="holds no occupations"):
        read_occupations(write(tmp_path, "e.txt", "Title\tDescription\n"))


def test_the_real_skillspan_has_as_many_spans_as_its_b_tags(real_data):
    path = real_data("skillspan") / "dev.json.gz"
    found = read_skillspan(path)
    raw = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    for kind in ("skill", "knowledge"):
        begun = sum(row[f"tags_{kind}"].count("B") for row in raw)
        assert sum(len(text.of_kind(kind)) for text in found.texts) == begun > 1000
    assert found.repaired == 0 and len(found) == 3174


def test_the_real_sayfullina_has_illegal_tags_that_are_counted(real_data):
    path = real_data("sayfullina") / "sayfullina_test.conll"
    with pytest.raises(DataError, match="I-skill after O"):
        read_conll(path)
    found = read_conll(path, illegal="repair")
    # 1,849 begin with B, and 8 more with an I after O.
    assert sum(len(text.spans) for text in found.texts) == 1857 and found.repaired == 8


def test_the_other_real_sets_are_read_completely(real_data):
    sentences = read_linked_sentences(real_data("esco-skills") / "tech_validation_annotations.csv")
    assert sentences[0].links == (
        ("javascript", "JavaScript"),
        ("reactjs", ""),
        ("java", "Java (computer programming)"),
    )
    assert len(read_skill_labels(real_data("esco-skills") / "skills_en_label.txt.gz")) == 13896
    resumes = read_resumes(real_data("resume-ner-dotin") / "set_aside_test_v2_50cvs.zip")
    assert len(resumes) == 50 and sum(len(resume.labels) for resume in resumes) == 2543
    assert sum(len(resume.tagged().spans) for resume in resumes) > 2500
    assert len(read_occupations(real_data("onet-occupations") / "Occupation Data.txt")) == 1110
