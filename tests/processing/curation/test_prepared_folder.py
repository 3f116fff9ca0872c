import re

import pytest

from argus_processing.curation.prepared_folder import MANIFEST, read_manifest


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"counts": 3}', "\udcff"])
def test_a_damaged_manifest_is_one_line_that_says_what_to_do(tmp_path, content):
    (tmp_path / MANIFEST).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path / MANIFEST))}: damaged; run argus prepare again$"):
        read_manifest(tmp_path)


def test_a_folder_without_a_manifest_is_no_prepared_data_set(tmp_path):
    with pytest.raises(ValueError, match="this is no prepared data set; run argus prepare"):
        read_manifest(tmp_path)
