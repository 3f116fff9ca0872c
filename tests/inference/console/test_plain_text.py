import json

import pytest

from argus_inference.console.plain_text import plain, plain_lines, printable_json

HOSTILE = {
    "colour": ("a\x1b[31mb", "a\\x1b[31mb"),
    "8-bit escape": ("a\x9b31mb", "a\\x9b31mb"),
    "line end": ("a\nb\r", "a\\nb\\r"),
    "backwards": ("scan\u202egz.iin", "scan\\u202egz.iin"),
    "isolate and mark": ("\u2066a\u200f", "\\u2066a\\u200f"),
    "separator": ("a\u2028b", "a\\u2028b"),
    "not UTF-8": ("a\udcffb", "a\\udcffb"),
    "delete": ("a\x7f", "a\\x7f"),
    "tag": ("a\U000e0041", "a\\U000e0041"),
}


@pytest.mark.parametrize(("hostile", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_what_could_act_on_a_terminal_is_written_out(hostile, shown):
    assert plain(hostile) == shown and shown.isprintable()
    assert json.loads(printable_json({"scan": hostile})) == {"scan": hostile}
    assert printable_json({"scan": hostile}).isprintable()


def test_letters_of_all_languages_and_line_ends_of_text_stay():
    letters = "Größe 5 µm, 肺, رئة, a\u00a0b"
    assert plain(letters) == letters
    assert plain_lines("one\n\ttwo\x07\n") == "one\n\ttwo\\x07\n"
    assert printable_json({"a": "é 肺"}, indent=2) == '{\n  "a": "é 肺"\n}'
