import random

import pytest

from data_pipeline.ingest import encodings
from data_pipeline.ingest.lines import as_utf8, chunks_of

ZH = "今天天气很好，我们一起去公园散步。路边的花都开了，孩子们在草地上跑来跑去，笑声传得很远。"
TW = "這是一個關於臺灣歷史與文化的網頁，介紹各地的風景名勝與傳統節慶，歡迎您的到來。"
FR = "L'été dernier, nous sommes allés à la plage avec nos élèves ; c'était très agréable, malgré la météo.\n"
JA = "これは日本語の文章です。漢字も仮名も含まれています。今日はとても天気がよいので散歩に行きました。"
KO = "오늘은 날씨가 아주 좋아서 친구들과 함께 공원에 갔습니다. 꽃이 많이 피어 있었습니다."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(ZH, "gb18030"), (TW, "big5"), (FR, "cp1252"), (JA, "shift_jis"), (JA, "euc_jp"), (KO, "euc_kr")],
)
def test_long_enough_text_of_an_encoding_is_told(text, encoding):
    assert encodings.guess(text.encode(encoding)) == encoding


@pytest.mark.parametrize(
    "raw",
    [
        "早上好".encode("gb18030"),  # too short
        "Привет, как дела?".encode("koi8_r"),  # none of those that are told
        FR.encode() * 5 + b"caf\xe9",  # UTF-8 with a damage
        bytes(random.Random(1).choices(range(128, 256), k=2000)),
        ZH.encode("utf-16-le"),
        b"\xff\xd8\xff\xe0\x00\x10JFIF" + random.Random(2).randbytes(2000),
    ],
)
def test_what_is_not_sure_is_not_guessed(raw):
    assert encodings.guess(raw) == ""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_name_the_encoding(encoding):
    raw = ZH.encode(encoding)
    assert raw.decode(encodings.by_mark(raw)) == ZH
    assert encodings.by_mark(ZH.encode()) == ""


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_sample_may_end_within_a_character(cut):
    raw = f"{ZH}\n{ZH}".encode("gb18030")
    assert encodings.tell(raw[:-cut], whole=False) == "gb18030"
    assert encodings.tell(ZH.encode()[:-cut], whole=False) == "utf-8"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030", "big5"])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_text_comes_out_as_utf8_however_it_is_cut(encoding, size):
    text = TW.replace("，", "\n")
    raw = text.encode(encoding)
    given = "" if encoding in ("utf-8", "utf-16") else encoding
    chunks = (raw[i : i + size] for i in range(0, len(raw), size))
    name, recoded = as_utf8(chunks, given) if size > 1 else as_utf8(chunks, encoding)
    assert b"".join(recoded).decode() == text
    assert name == encoding


def test_what_is_no_text_in_its_encoding_is_none_in_utf8(tmp_path):
    (tmp_path / "a").write_bytes(ZH.encode("gb18030") + b"\n\xff\xff\n" + ZH.encode("gb18030"))
    with open(tmp_path / "a", "rb") as stream:
        name, chunks = as_utf8(chunks_of(stream), "gb18030")
        first, bad, last = b"".join(chunks).split(b"\n")
    assert (name, first.decode(), last.decode()) == ("gb18030", ZH, ZH)
    with pytest.raises(UnicodeDecodeError):
        bad.decode()
