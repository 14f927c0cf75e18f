"""What counts as a dirty token, and what must not."""

import pytest

from data_pipeline.tokenizer import dirt
from data_pipeline.tokenizer.config import TokenizerConfig
from maxlm.errors import ConfigError

DIRTY = {
    "listed": ["免费观看视频", " pornstar", "VIAGRA", "天天彩票", "北京赛车"],
    "url": ["https://www", "http:/", "www.", "://cdn", ".com/", ".cn"],
    "markup": ["&nbsp;", "nbsp", "</div", "<span", "&#12", "&quot"],
    "run": ["aaaaa", "哈哈哈哈哈", "-" * 33, " " * 33, "xx" + "=" * 40],
    "number": ["13800138000", "1234567", "d41d8cd9", "DEADBEE5"],
}
CLEAN = [
    "http", " https", "url", "://", " com", ".net", ".info(", ".company", "<s", "a < b", "&", "&&", "哈哈哈", "aaaa",
    " " * 16, "\t\t\t\t", "-" * 32, "====", "123", "2024", "decade", "facade", "deadbeef", "赌", "人口",
    "中华人民共和国", "\n\n", "", "Sussex", "abcdefgh", "0x",
]  # fmt: skip


@pytest.mark.parametrize("rule", DIRTY)
def test_each_rule_finds_its_own(rule):
    why = dirt.finder(TokenizerConfig())
    alone = dirt.finder(TokenizerConfig(dirt=(rule,)))
    without = dirt.finder(TokenizerConfig(dirt=tuple(DIRTY.keys() - {rule})))
    for token in DIRTY[rule]:
        assert why(token).startswith(f"{rule}: "), token
        assert alone(token)
        assert not without(token), token


@pytest.mark.parametrize("token", CLEAN)
def test_ordinary_tokens_stay(token):
    assert dirt.finder(TokenizerConfig())(token) == ""


def test_lists_of_ones_own(tmp_path):
    (tmp_path / "mine.txt").write_text("# names\n张三丰\n\nSpam Word\n")
    why = dirt.finder(TokenizerConfig(dirt_lists=(str(tmp_path / "mine.txt"),)))
    assert (why("找张三丰"), why("spam WORDs"), why("天天彩票")) == ("listed: 张三丰", "listed: spam word", "")
    assert dirt.finder(TokenizerConfig(dirt_lists=()))("天天彩票") == ""
    with pytest.raises(ConfigError, match=r"dirt_lists: can't read the list nothing"):
        dirt.finder(TokenizerConfig(dirt_lists=("nothing",)))
