import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.ingest.language import domain_of, identify, identify_surely

SENTENCES = [
    line.split(": ", 1)
    for line in Path(__file__).with_name("languages.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
TEXTS = defaultdict(list)
for code, sentence in SENTENCES:
    TEXTS[code].append(sentence)

PYTHON = '''
import os

def sizes(folder):
    """The size of each file."""
    found = {}
    for name in os.listdir(folder):
        found[name] = os.path.getsize(os.path.join(folder, name))
    return found
'''


def test_the_sample_has_zh_en_and_more_than_twenty_others():
    assert {"zh", "en"} < TEXTS.keys()
    assert len(TEXTS) > 30


@pytest.mark.parametrize("language", TEXTS)
def test_a_few_sentences_are_enough(language):
    found = identify_surely(" ".join(TEXTS[language]))
    assert found.language == language
    assert found.confidence > 0.65  # FineWeb's limit


def test_single_sentences_are_nearly_always_right():
    wrong = [(code, identify(sentence)) for code, sentence in SENTENCES if identify(sentence) != code]
    assert len(wrong) <= 0.02 * len(SENTENCES), wrong


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("安装 TensorFlow 之后导入 NumPy 即可开始训练模型", "zh"),
        ("我们可以用 `git commit -m message` 提交，见 https://git-scm.com/docs/git-commit 的说明。", "zh"),
        ("日本の漢字と仮名", "ja"),
        ("THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG, SAYS THE BOOK", "en"),
        ("See https://example.org/das/ist/ein/haus and /usr/share/doc/und/garten for what this is about.", "en"),
        ("12345 + 678", "other"),
        ("It rained so hard th", "other"),  # too little to be sure of
        ("", "other"),
        (PYTHON, "code"),
    ],
)
def test_mixed_and_odd_texts(text, language):
    assert identify(text) == language


def test_the_middle_and_the_end_of_a_long_text_count():
    english, german = " ".join(TEXTS["en"]), " ".join(TEXTS["de"])
    assert identify(english + "\n" + german * 50) == "de"


def test_few_domains():
    assert [domain_of(x) for x in ("zh", "en", "code", "de", "other", "python")] == [
        "zh", "en", "code", "other", "other", "other",
    ]  # fmt: skip


@given(st.text())
def test_any_text_has_an_answer(text):
    found = identify_surely(text)
    assert found.language
    assert 0 <= found.confidence <= 1


def test_nothing_is_fetched_printed_or_warned_of():
    script = """
import socket
def refuse(*_):
    raise OSError("no network here")
socket.socket.connect = socket.getaddrinfo = refuse
from data_pipeline.ingest.language import identify
assert identify("Das Buch erzählt von einem Fischer und seiner Tochter.") == "de"
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
