"""What YAML itself can get wrong, and the places that messages point at."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.problems import BatchFileError
from harness.tree import Position, prune
from harness.yaml_source import MAX_DEPTH, parse, read_source

PATH = Path("f.yaml")


def said(text: str) -> list[str]:
    with pytest.raises(BatchFileError) as caught:
        parse(PATH, text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml:1:1: the file is empty"),
        ("# nothing but a comment\n", "f.yaml:1:1: the file is empty"),
        ("- a\n- b\n", "f.yaml:1:1: expected keys and values such as `name: …`"),
        ("just text", "f.yaml:1:1: expected keys and values such as `name: …`"),
        ("a: 1\n\tb: 2\n", "f.yaml:2:1: not YAML: a tab can not indent YAML; use spaces"),
        ("a: b: c\n", "f.yaml:1:5: not YAML: unexpected ':'; check the indentation, or put the value in quotes"),
        ("a: 1\n b: 2\n", "f.yaml:2:3: not YAML: unexpected ':'; check the indentation, or put the value in quotes"),
        ("a:\n  - b\n c: 1\n", "f.yaml:3:2: not YAML: this does not line up with the lines above"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: not YAML: a second document begins here; a file holds one"),
        ("a: [1, 2\n", "not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: *b\n", "f.yaml:1:4: not YAML: found undefined alias 'b'"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: the key 'a' stands here a second time; first on line 1"),
        ("a:\n", "a key or list item without a value; give it one, or remove it"),
        ("a: [1, ~]\n", "f.yaml:1:8: a key or list item without a value"),
        ("a: &x {b: *x}\n", "this value contains itself"),
        (
            "a: !!python/name:os.system x\n",
            "f.yaml:1:4: the tag tag:yaml.org,2002:python/name:os.system has no meaning",
        ),
        ("? [a, b]\n: 1\n", "f.yaml:1:3: a key must be plain text"),
        ("a: \x07\n", "f.yaml:1:4: a character that YAML does not allow (U+0007)"),
        ('a: "\\0"\n', "f.yaml:1:4: a character that is no text"),
        ('a: "\\ud800"\n', "f.yaml:1:4: a character that is no text"),
        ('a: "\\UFFFFFFFF"\n', "not YAML:"),
        ("a: " + "9" * 5000, "f.yaml:1:4: not a usable int: '9999"),
        ("a: 1e999", "f.yaml:1:4: not a usable float: '1e999'"),
        ("a: " + "[" * (MAX_DEPTH + 1), "not YAML: nested too deeply"),
        ("a: {<<: 1}", "f.yaml:1:9: `<<` takes a mapping in, and this is none"),
    ],
)
def test_each_mistake_has_its_place_and_its_words(text, message):
    problems = said(text)
    assert len(problems) == 1
    assert message in problems[0]


def test_aliases_that_blow_up_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "values once aliases are expanded" in said("\n".join(lines))[0]


def test_a_file_that_is_not_utf8_is_named_with_the_place(tmp_path):
    path = tmp_path / "latin1.yaml"
    path.write_bytes("name: a\ndescription: für alle".encode("latin-1"))
    with pytest.raises(
        BatchFileError, match=r"latin1\.yaml:2:15: the file is not UTF-8 text \(byte 0xfc\); save it as"
    ):
        read_source(path)


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: a\n")
    assert read_source(path).root.plain() == {"name": "a"}


@pytest.mark.parametrize("text", ["24:06:14:00:00:01", "yes", "no", "on", "2024-01-31", "1_000", "1.2.0", "=", ".inf"])
def test_text_that_older_yaml_reads_as_something_else_stays_text(text):
    assert parse(PATH, f"a: {text}").root.plain() == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"), [("0x10", 16), ("0o17", 15), ("007", 7), ("-3", -3), ("1e3", 1000.0), ("True", True)]
)
def test_numbers_and_booleans_are_read_as_such(text, value):
    read = parse(PATH, f"a: {text}").root.plain()["a"]
    assert (read, type(read)) == (value, type(value))


def test_merged_keys_give_way_to_own_ones_and_to_earlier_merges():
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 0}\n"
    assert parse(PATH, text).root.plain()["z"] == {"a": 0, "b": 1, "c": 2}


def test_positions_are_those_of_the_text():
    source = parse(PATH, "a:\n  - b: 1\n    c: two\n")
    assert source.node(("a", 0, "c")).at == source.node(("a", 0, "not-there", "c")).at
    place = source.node(("a", 0, "c")).at
    assert (place.line, place.column) == (3, 8)
    assert (source.key_position(("a", 0, "c")).line, source.key_position(("a", 0, "c")).column) == (3, 5)


def test_what_is_left_after_pruning_still_knows_its_place():
    source = prune(parse(PATH, "a:\n  - 1\n  - 2\n  - 3\n"), [("a", 0), ("a", 1)])
    assert source.root.plain() == {"a": [3]}
    assert source.node(("a", 0)).at.line == 4


@given(st.text())
def test_any_text_is_a_tree_or_has_problems(text):
    try:
        places = [parse(PATH, text).root.at]
    except BatchFileError as error:
        places = [Position(problem.line, problem.column) for problem in error.problems]
    assert places
    assert all(1 <= place.line <= text.count("\n") + text.count("\r") + 2 and place.column >= 1 for place in places)
