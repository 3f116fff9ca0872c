import pytest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "--model", "m", "--port", "abc"), ("'--port'", "integer", "'abc'")),
        (("serve", "--model", "m", "--port", "99999"), ("'--port'", "65535", "'99999'")),
        (("report", "scan.nii", "--model", "m", "--bits", "2"), ("'--bits'", "'2'", "'8', '4'")),
        (("report", "scan.nii", "--model", "m", "--stream=3"), ("'--stream'", "value")),
        (("report", "scan.nii", "--model"), ("'--model'", "argument")),
        (("report", "scan.nii"), ("'--model'", "argus report --help")),
        (("report", "--model", "m"), ("SCAN", "argus report --help")),
        (("demo", "one", "two"), ("two", "argus demo --help")),
        (("serve", "--modle", "m"), ("--modle", "--model", "--host", "argus serve --help")),
        (("evalute", "out"), ("'evalute'", "evaluate", "report", "argus --help")),
    ],
)
def test_wrong_arguments_are_told_in_one_line(argus, arguments, words):
    code, stdout, stderr = argus(*arguments)
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert stderr.startswith("argus: ") and all(word in stderr for word in words), stderr


def test_what_was_given_cannot_control_the_terminal(argus):
    _, _, stderr = argus("serve", "--model", "m", "--port", "1\x1b[31m\n2")
    assert stderr.count("\n") == 1 and "\x1b" not in stderr


def test_the_command_alone_shows_its_help(argus):
    code, stdout, stderr = argus()
    assert code == 2 and "evaluate" in stdout and stderr == ""
