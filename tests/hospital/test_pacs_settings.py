"""Settings of the PACS and of the watcher: what is refused, and where secrets come from."""

from types import SimpleNamespace

import pytest

from argus_hospital.pacs.pacs_session import open_session
from argus_hospital.pacs.pacs_settings import PASSWORD_VARIABLE, TOKEN_VARIABLE, PacsAddress, load_settings

CONFIG = "pacs: {url: 'https://pacs.example/web'}\nmodel: model\nstate: state\n"


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch):
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def load(tmp_path, text: str):
    path = tmp_path / "watch.yaml"
    path.write_text(text)
    return load_settings(path)


def test_paths_count_from_the_folder_of_the_file(tmp_path):
    settings = load(tmp_path, CONFIG + "preferences: /etc/site.yaml\n")
    assert (settings.model, settings.state) == (str(tmp_path / "model"), str(tmp_path / "state"))
    assert settings.preferences == "/etc/site.yaml" and settings.pacs.password_file == ""


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("model: m\nstate: s\n", "has no pacs"),
        (CONFIG + "quite_s: 3\n", "unknown quite_s"),
        (CONFIG + "poll_s: 0\n", "poll_s: must be above 0"),
        (CONFIG + "structured: pdf\n", "comprehensive or basic, got 'pdf'"),
        (CONFIG + "metrics: nine\n", "expected host:port"),
        (CONFIG.replace("https", "ftp"), "url: expected an address"),
        (CONFIG.replace("pacs.example", "me:secret@pacs"), "url: holds a password"),
        (CONFIG.replace("web'", "web', password: x"), "unknown password"),
        (CONFIG.replace("https", "http").replace("web'", "web', user: me"), "secrets travel over https only"),
        (CONFIG.replace("web'", "web', client_key: k"), "go together"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path, text, cause):
    with pytest.raises(ValueError, match=cause) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "watch.yaml")) and "secret@" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_secrets_may_go_to_this_machine_without_tls(host):
    assert PacsAddress(f"http://{host}:8042/web", user="me").user == "me"


def test_a_password_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=f"no password for user me: set {PASSWORD_VARIABLE}"):
        open_session(PacsAddress("https://pacs/web", user="me"))
    monkeypatch.setenv(PASSWORD_VARIABLE, "one")
    assert open_session(PacsAddress("https://pacs/web", user="me")).auth.password == b"one"
    (tmp_path / "secret").write_text("two\n")
    address = PacsAddress("https://pacs/web", user="me", password_file=str(tmp_path / "secret"))
    assert open_session(address).auth.password == b"two"


def test_a_token_is_read_again_for_each_request(tmp_path):
    path = tmp_path / "token"
    path.write_text("first")
    session = open_session(PacsAddress("https://pacs/web", token_file=str(path)))
    path.write_text("second")
    assert session.auth(SimpleNamespace(headers={})).headers == {"Authorization": "Bearer second"}
    assert session.trust_env is False


def test_a_missing_certificate_is_told_before_anything_is_asked(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file of certificates"):
        open_session(PacsAddress("https://pacs/web", ca_file=str(tmp_path / "ca.pem")))


def test_a_pacs_that_cannot_be_reached_ends_the_command_in_one_line(argus, tmp_path):
    code, told, said = argus("pacs", "1.2.3", "--url", "http://127.0.0.1:9/web", "--model", tmp_path)
    assert (code, told) == (2, "") and "the PACS does not answer to QIDO-RS for series" in said


@pytest.mark.parametrize(
    "line, cause",
    [("fhir: inbox", "no such folder for FHIR documents"), ("evidence: true", "has no mean scan")],
)
def test_what_a_watcher_cannot_make_is_told_before_it_begins(argus, tmp_path, line, cause):
    path = tmp_path / "watch.yaml"
    path.write_text(f"{CONFIG}\n{line}\n")
    code, told, said = argus("watch", path, "--once")
    assert (code, told) == (2, "") and cause in said
