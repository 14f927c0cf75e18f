"""Errors name what is wrong and the way out."""

import errno

import pytest

from maxlm.errors import ConfigError, DataError, DiskFullError, UserError, did_you_mean, is_disk_full, naming_full_disk


def test_the_nearest_name_is_offered():
    assert did_you_mean("num_layer", ["num_layers", "embed"]) == "; did you mean 'num_layers'?"
    assert did_you_mean("zzz", ["b", "a"]) == "; known: a, b"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "quota"),
        RuntimeError("write() failed: No space left on device; writing /x"),
        ValueError("RESOURCE_EXHAUSTED: Disk quota exceeded"),
    ],
)
def test_a_full_disk_is_told_in_whatever_words_it_comes(error):
    with pytest.raises(DiskFullError, match="disk full while writing a block to /data") as caught:
        with naming_full_disk("a block", "/data"):
            raise error
    assert caught.value.__cause__ is error
    assert isinstance(caught.value, UserError)


def test_a_full_disk_is_found_below_other_errors():
    error = RuntimeError("could not save")
    assert not is_disk_full(error)
    error.__cause__ = OSError(errno.ENOSPC, "x")
    assert is_disk_full(error)


def test_other_errors_pass_as_they_are():
    for error in (ValueError("no"), DataError("damaged"), ConfigError("key"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, naming_full_disk("x", "y"):
            raise error
        assert caught.value is error
    assert not is_disk_full(None)
    assert not is_disk_full(PermissionError(errno.EACCES, "denied"))


def test_a_message_is_one_bounded_line_whatever_it_quotes():
    said = str(UserError("x.json: found '\x1b[2J\nerror: all is well\u202e' in 数据"))
    assert said == "x.json: found '\\x1b[2J\\nerror: all is well\\u202e' in 数据"
    said = str(DataError("x.json: " + "a" * 10**6 + " is no number"))
    assert len(said) < 1000
    assert said.startswith("x.json: aaa")
    assert said.endswith("aaa is no number")
    assert "characters)" in said
