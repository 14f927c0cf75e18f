import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.redact import Redact
from tests.data_pipeline.operators.drafts import edit

EMAILS = [
    "jane.doe@example.com",
    "j_d+news@mail.example.co.uk",
    "JANE@EXAMPLE.COM",
    "123@163.com",
    "a@b.io",
]
PHONES = [
    "13812345678",
    "138-1234-5678",
    "138 1234 5678",
    "+86 138 1234 5678",
    "+8613812345678",
    "86-13812345678",
    "010-62345678",
    "0755-86543210",
    "021-6234 5678",
    "(010) 62345678",
    "0571-88888888-123",
    "(555) 234-5678",
    "555-234-5678",
    "555.234.5678",
    "1-800-555-0199",
    "+1 555 234 5678",
    "+44 20 7946 0958",
    "+44 (0)20 7946 0958",
    "+33 1 23 45 67 89",
    "+49.30.12345678",
]
NOT_EMAILS = [
    "@property",
    "user@localhost",
    "a @ b.com",
    "x = A@B.T",
    "logo@2x.png",
    "git@github.com:owner/repository",
    "https://user@example.com/path",
    "ssh://git@host.org/repository",
]
NOT_PHONES = [
    "version 3.11.7 and 10.0.19045.3803",
    "2024-01-15 and 2024/01/15 and 15.01.2024",
    "20240115103000",
    "1700000000",  # seconds since 1970
    "1700000000123",  # milliseconds
    "192.168.100.100",
    "d41d8cd98f00b204e9800998ecf8427e",
    "5e8848983813812345678af",
    "6222021234567890123",  # a bank card
    "110101199003077758",  # an identity card
    "138123456789",  # a digit too many
    "1381234567",  # a digit too few
    "ISBN 978-7-115-42802-8",
    "ISBN 0-306-40615-2",
    "ISBN 7111407016",
    "RFC 2822, pages 1234-5678",
    "$13812345678$",
    "x=13812345678",
    "13812345678.25",
    "SN-13812345678",
    "item_13812345678",
    "C++11 and 7+14+4",
    "+1.25 +2.5 -3.75",
    "12:30:45.123456",
    "1,381,234,567",
]


@pytest.mark.parametrize("email", EMAILS)
def test_email(email):
    text, counts = edit(Redact(), f"Write to {email}, please.")
    assert text == "Write to <email>, please."
    assert counts == {"email": 1, "phone": 0}


@pytest.mark.parametrize("phone", PHONES)
def test_phone(phone):
    text, counts = edit(Redact(), f"Call {phone}, or: {phone}.")
    assert text == "Call <phone>, or: <phone>."
    assert counts["phone"] == 2


@pytest.mark.parametrize("text", [*NOT_EMAILS, *NOT_PHONES])
def test_near_misses_stay(text):
    new, counts = edit(Redact(), f"See {text} there.")
    assert new == f"See {text} there."
    assert not any(counts.values())


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("电话：13812345678，邮箱：li@example.com。", "电话：<phone>，邮箱：<email>。"),
        ("请联系mail@shop.cnQQ群", "请联系<email>QQ群"),
        ("13812345678/13912345678", "<phone>/<phone>"),
        ("Tel.010-62345678", "Tel.<phone>"),
        ("Tel:13812345678", "Tel:<phone>"),
        ("<jane@example.com>", "<<email>>"),
        ("mailto:jane@example.com", "mailto:<email>"),
    ],
)
def test_what_stands_beside(text, redacted):
    assert edit(Redact(), text)[0] == redacted


def test_kinds_are_chosen():
    text = "jane@example.com 13812345678"
    assert edit(Redact(kinds=("email",)), text)[0] == "<email> 13812345678"
    assert edit(Redact(kinds=("phone",)), text)[0] == "jane@example.com <phone>"


@given(st.text())
def test_redacting_twice_changes_nothing_more(text):
    once = edit(Redact(), text)[0]
    twice, counts = edit(Redact(), once)
    assert twice == once
    assert not any(counts.values())
