import os

import pytest

from argus_processing.storage.foreign_files import ForeignFileError, read_json_object, read_yaml_object


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a":' + "[" * 50_000 + "]" * 50_000 + "}", "nested too deep"),
        ('{"a":' + "[" * 100 + "]" * 100 + "}", "nested deeper than 64"),
        ("[1]", "mapping"),
        ("{", "damaged"),
        ('{"a": ' + "9" * 5000 + "}", "damaged"),
        ('{"a": [' + "1," * 200_000 + "1]}", "more than 200,000 values"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_json_that_no_honest_program_wrote_is_refused_in_a_line(tmp_path, text, said):
    path = tmp_path / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ForeignFileError, match=said) as error:
        read_json_object(path)
    assert one_line(error).startswith(str(path))


def test_a_sparse_gigabyte_is_not_read(tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ForeignFileError, match="1,073,741,824 bytes"):
        read_json_object(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ForeignFileError, match="named pipe"):
        read_json_object(tmp_path / "config.json")


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "more than 200,000 values"),
        ("a: &a [*a]", "nested deeper"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("a: " + "{b: " * 100 + "1" + "}" * 100, "nested deeper"),
        ("a: !!python/object/apply:os.system ['true']", "constructor"),
        ("a: [", "YAML"),
        ("- a", "mapping"),
        ("? [a]\n: b\n? {c: d}\n: e", "YAML"),
        ("x" * 300_000, "bytes"),
    ],
    ids=str.split("aliases itself deep deeper object cut list keys long"),
)
def test_yaml_that_no_honest_person_wrote_is_refused_in_a_line(tmp_path, text, said):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ForeignFileError, match=said) as error:
        read_yaml_object(path)
    assert one_line(error).startswith(str(path))


def test_honest_yaml_is_read_with_its_aliases(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("base: &base {a: 1, b: [2, x]}\nother:\n  <<: *base\n  a: 3\n")
    assert read_yaml_object(path) == {"base": {"a": 1, "b": [2, "x"]}, "other": {"a": 3, "b": [2, "x"]}}
    path.write_text("")
    assert read_yaml_object(path) == {}
