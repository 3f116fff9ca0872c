import hashlib

import pytest

from argus_processing.storage.file_hash import hash_file, hash_joined, hash_named


@pytest.mark.parametrize(
    ("content", "sha256"),
    [  # FIPS 180-4's own examples
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
)
def test_a_file_has_the_published_hash(tmp_path, content, sha256):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert hash_file(path) == sha256


def test_joined_files_have_the_hash_of_their_bytes_in_order(tmp_path):
    paths = [tmp_path / "z", tmp_path / "a"]
    for path, content in zip(paths, (b"ab", b"c"), strict=True):
        path.write_bytes(content)
    assert hash_joined(paths) == hashlib.sha256(b"abc").hexdigest()
    assert hash_joined(paths[::-1]) == hashlib.sha256(b"cab").hexdigest()


def test_named_files_have_the_hash_of_names_sizes_and_bytes(tmp_path):
    (tmp_path / "sub").mkdir()
    paths = [tmp_path / "config.json", tmp_path / "sub" / "weights"]
    paths[0].write_bytes(b"{}")
    paths[1].write_bytes(b"abc")
    known = hashlib.sha256(b"config.json\0" + b"2\0{}" + b"sub/weights\0" + b"3\0abc").hexdigest()
    assert hash_named(tmp_path, paths) == known
    # The same bytes, cut between the files in another place.
    paths[0].write_bytes(b"{}a")
    paths[1].write_bytes(b"bc")
    assert hash_named(tmp_path, paths) != known
