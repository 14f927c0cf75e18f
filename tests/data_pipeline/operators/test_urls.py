import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.base import Draft
from data_pipeline.operators.urls import UrlBlocklist, UrlShare, url_of
from maxlm.errors import ConfigError
from tests.data_pipeline.operators.drafts import reason

URL = "https://example.com/a/long/path?with=query"


def test_share_of_addresses():
    text = f"é {URL} " + "w" * 100
    share = len(URL) / len(text)
    finding = UrlShare(max_share=share - 0.001).check(Draft(text))
    assert finding is not None
    assert finding.value == pytest.approx(share)
    assert text[finding.start : finding.end] == URL
    assert UrlShare(max_share=share + 0.001).check(Draft(text)) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("见http://example.com/页。其余的字都不是地址", "too_many_urls"),
        ("WWW.EXAMPLE.COM", "too_many_urls"),
        ("a://b and www and http and example.com", None),
        ("", None),
    ],
)
def test_what_is_an_address(text, expected):
    assert reason(UrlShare(), text) == expected


def from_url(url, key="url"):
    return Draft("text", metadata=json.dumps({"title": "x", key: url}, ensure_ascii=False))


@pytest.mark.parametrize(
    ("url", "blocked"),
    [
        ("https://bad.example/x", True),
        ("http://www.deep.bad.example:8080/?q=1", True),
        ("//BAD.Example./", True),
        ("bad.example/path", True),
        ("https://user:secret@bad.example/", True),
        ("https://notbad.example/", False),
        ("https://bad.example.org/", False),
        ("https://fine.example/?to=bad.example", False),
        ("https://half.example/", False),
        ("https://half.example/ads", True),
        ("https://www.half.example/ads/1?x", True),
        ("https://half.example/adsorption", False),
        ("https://例子.测试/页", True),
        ("https://xn--fsqu00a.xn--0zwm56d/", True),
        ("https://hosts.example/", True),
        ("mailto:", False),
        ("https://[::1]/", False),
        ("", False),
    ],
)
def test_hosts_and_all_below_them(tmp_path, url, blocked):
    file = tmp_path / "hosts.txt"
    file.write_text(
        "# ours\nBad.example # so it is\nhttps://half.example/ads/\n0.0.0.0 hosts.example\n", encoding="utf-8"
    )
    operator = UrlBlocklist(lists=(str(file),), hosts=("例子.测试",))
    found = operator.check(from_url(url))
    assert (found.reason if found else None) == ("blocked_host" if blocked else None)


def test_words_of_an_address():
    operator = UrlBlocklist(lists=(), words=("casino",))
    assert operator.check(from_url("https://best-CASINO-now.example/")) is not None
    assert operator.check(from_url("https://example.com/casinos")) is None


def test_where_the_address_stands():
    assert url_of(json.dumps({"WARC-Target-URI": "https://a.example/"})) == "https://a.example/"
    assert url_of(json.dumps({"url": 3, "link": "https://a.example/"})) == "https://a.example/"
    assert url_of(json.dumps({"title": "url"})) == url_of(None) == url_of("{}") == ""
    assert UrlBlocklist().check(Draft("https://pornhub.com")) is None  # the text is not the address


def test_the_built_in_list_is_read():
    assert UrlBlocklist().check(from_url("https://www.pornhub.com/")) is not None


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.txt"):
        UrlBlocklist(lists=(str(tmp_path / "gone.txt"),))


@given(st.text())
def test_any_address_is_borne(url):
    UrlBlocklist(lists=(), hosts=("a",)).check(from_url(url))
