"""`argus audit`: a folder and an address, files that are whole, a card that tells it, refusals of one line."""

import json

import pytest
from writer_server import WriterServer

from argus_evaluation.audit.audit_verdict import DOES_NOT_READ

FAST = ("--phantoms", 2, "--max-new-tokens", 8, "--spacing", 12, 8, 8)
FOUR = [
    word for label in ("Lung nodule", "Pleural effusion", "Emphysema", "Cardiomegaly") for word in ("--finding", label)
]


@pytest.fixture
def audited(argus, model_dir, tmp_path):
    out = tmp_path / "out"
    return argus("audit", model_dir, out, *FAST, *FOUR), out


def test_a_models_folder_is_audited_and_its_card_tells_it(argus, audited, model_dir):
    (code, printed, _), out = audited
    assert code == 0 and "paired effect" in printed
    assert sorted(path.name for path in out.iterdir()) == ["answers.sqlite", "audit.html", "audit.png", "results.json"]
    results = json.loads((out / "results.json").read_text())
    assert set(results["paired_effect"]) >= {"value", "low", "high", "n"} and results["verdict"]
    code, card, _ = argus("card", model_dir, "--audit", out / "results.json")
    assert code == 0 and "### Audit on phantoms: 2 phantoms" in card and "| paired effect |" in card


def test_an_address_is_audited(argus, serving, tmp_path):
    server = WriterServer(lambda hu: "There is a nodule in the left lung.")
    with serving(server.app()) as address:
        code, printed, stderr = argus("audit", address, tmp_path / "out", "--phantoms", 8, "--spacing", 12, 8, 8, *FOUR)
    assert code == 0 and json.loads((tmp_path / "out" / "results.json").read_text())["verdict"] == DOES_NOT_READ
    assert "This model does not read the image." in printed.replace("\n", " ")


def test_scans_without_a_report_give_exit_code_2(argus, serving, tmp_path):
    answers = iter([*["A nodule."] * 5, *[400] * 2, *["A nodule."] * 1000])
    with serving(WriterServer(lambda hu: next(answers)).app()) as address:
        code, _, stderr = argus("audit", address, tmp_path / "out", *FAST[:2], *FAST[4:], *FOUR, "--requests", 1)
    assert code == 2 and "2 of" in stderr and "400 Bad Request" in stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("no/such",), "no such model folder"),
        (("http://127.0.0.1:9",), "no connection"),
        (("http://",), "is no address"),
        (("{model}", "--finding", "Gallstone"), "no finding of phantoms"),
        (("{model}", "--finding", "Lung nodule"), "4 findings or more"),
        (("{model}", "--scans", "{model}"), "--scans and --boxes go together"),
        (("{model}", "--scans", "{model}", "--boxes", "none.csv"), "none.csv"),
        (("{model}", "--spacing", "0", "1", "1"), "spacing_mm must be"),
    ],
)
def test_what_a_user_can_put_right_is_one_line(argus, model_dir, tmp_path, arguments, reason):
    first, *rest = (argument.format(model=model_dir) for argument in arguments)
    code, stdout, stderr = argus("audit", first, tmp_path / "out", *rest)
    lines = [line for line in stderr.splitlines() if "not a medical device" not in line]
    assert (code, stdout, len(lines)) == (2, "", 1) and reason in lines[0]
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_card_takes_no_audit_of_another_model(argus, audited, model_dir, tmp_path):
    _, out = audited
    results = json.loads((out / "results.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps(results | {"model_hash": "0" * 64}))
    code, _, stderr = argus("card", model_dir, "--audit", tmp_path / "other.json")
    assert code == 2 and "is of another model" in stderr
    (tmp_path / "broken.json").write_text(json.dumps({"format": 9}))
    assert "not written by this version" in argus("card", model_dir, "--audit", tmp_path / "broken.json")[2]
