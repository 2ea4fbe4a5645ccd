"""A model is found by name or by path, and its absence says what to do."""

from pathlib import Path

import pytest

from interlock.errors import LocalError
from interlock.local import SMOLLM2, find


def test_a_name_is_found_in_the_data_directory(tmp_path: Path) -> None:
    place = SMOLLM2.path(tmp_path)
    place.parent.mkdir()
    place.touch()
    assert find(tmp_path, "smollm2-135m-instruct") == place


def test_a_model_that_was_not_fetched_says_how_to(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=rf"run: interlock local fetch --data {tmp_path}") as caught:
        find(tmp_path, SMOLLM2.name)
    assert caught.value.code == "not_ready"


def test_any_gguf_is_found_by_its_path_alone(tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.touch()
    assert find(tmp_path / "elsewhere", str(own)) == own
    with pytest.raises(LocalError, match="there is no model at") as caught:
        find(tmp_path, str(tmp_path / "other.gguf"))
    assert "fetch" not in caught.value.message


def test_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"'llama' is neither a \.gguf file nor one of smollm2-135m-instruct"):
        find(tmp_path, "llama")
