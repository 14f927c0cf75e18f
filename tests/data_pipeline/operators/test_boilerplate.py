import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.base import Draft
from data_pipeline.operators.boilerplate import Boilerplate, BoilerplatePage, References
from maxlm.errors import ConfigError
from tests.data_pipeline.operators.drafts import edit, reason

LINES = [
    ("repost", "转载自：新浪网"),
    ("repost", "（本文转自人民日报客户端）"),
    ("repost", "转载请注明出处，谢谢"),
    ("repost", "未经授权，任何媒体不得转载、摘编或以其他方式使用。"),
    ("repost", "本文来自微信公众号“某某”"),
    ("repost", "This article was originally published on Example News."),
    ("repost", "Originally appeared in the Daily Example, March 3"),
    ("repost", "Republished with permission from The Example."),
    ("source", "来源：新华社"),
    ("source", "（来源：中国新闻网）"),
    ("source", "原文链接：https://example.com/a/1.html"),
    ("source", "图片来源于网络"),
    ("source", "Source: Example Wire"),
    ("source", "Photo credit: Jane Doe"),
    ("editor", "责任编辑：李四"),
    ("editor", "(责编：张三、李四)"),
    ("editor", "编辑：王五"),
    ("editor", "Edited by John Smith"),
    ("editor", "Posted on March 3, 2019"),
    ("more", "点击查看更多"),
    ("more", "阅读全文>>"),
    ("more", "【延伸阅读】"),
    ("more", "猜你喜欢"),
    ("more", "Read more »"),
    ("more", "Click here to read the full story"),
    ("more", "You may also like:"),
    ("more", "Related Articles"),
    ("navigation", "上一篇：秋天的故事"),
    ("navigation", "返回顶部"),
    ("navigation", "您现在的位置：首页 > 新闻 > 国内"),
    ("navigation", "首页 | 关于我们 | 联系我们"),
    ("navigation", "Home | About | Contact"),
    ("navigation", "Skip to main content"),
    ("navigation", "You are here: Home > News"),
    ("subscribe", "扫描下方二维码关注我们"),
    ("subscribe", "欢迎关注我们的微信公众号：某某"),
    ("subscribe", "Sign up for our free newsletter"),
    ("subscribe", "Follow us on Twitter and Facebook"),
    ("share", "分享到：微信 微博 QQ空间"),
    ("share", "点赞 收藏 转发"),
    ("share", "Share this article"),
    ("share", "Facebook Twitter Pinterest Email"),
    ("copyright", "版权所有 © 2020 某某网"),
    ("copyright", "京ICP备12345678号-1"),
    ("copyright", "© 2019 Example Media. All rights reserved."),
    ("copyright", "Powered by WordPress"),
    ("comments", "发表评论"),
    ("comments", "阅读量：1234"),
    ("comments", "Leave a comment"),
    ("comments", "12 comments"),
    ("cookie", "We use cookies to improve your experience on our site."),
    ("cookie", "Accept all cookies"),
    ("browser", "Please enable JavaScript to view this page."),
    ("advert", "Advertisement"),
    ("date", "发布时间：2020-01-02 10:00"),
]
PROSE = [
    "他把信转给了我，我又把它转载在校刊上，后来很多人都读到了这篇文章。",
    "黄河的来源：古人以为它出自昆仑。今天我们知道不是这样。",
    "编辑部里只剩下他一个人，桌上的稿子堆得比人还高。",
    "点击这个按钮之后，程序会弹出一个窗口，让你输入文件的名字。",
    "记者：您怎么看这个问题？",
    "她返回首页那一章，又从头读了起来。",
    "首页上印着作者的照片。",
    "软件会自动扫描系统中的编译器，也可以手动添加。",
    "关注民生是政府的责任。",
    "版权法规定了作者的权利，也规定了读者的权利。",
    "分享是一种快乐。",
    "We use the word cookie for a small piece of data that a server sends.",
    "The source: a spring below the hill. It never ran dry.",
    "Read more books, he used to say, and talk less about them.",
    "She was home about noon.",
    "More from habit than from hunger, he ate.",
    "See all the people who came, and how they laughed!",
    "It was published in 1851 and sold badly at first.",
    "Share the bread among you.",
    "learn more about unions in the reference, whose chapter on them is short",
    "Follow the road until you see a church, then turn left.",
    "By continuing in this way one sees that the series converges.",
    "Home is where the heart is.",
    "The advertisement in the paper promised a room with a view.",
    "Next, chapter two treats of whales.",
    "I accept all that you say.",
    "“We don't want any store-bought cookies,” he said.",
    "(C) 4000, 28000",
    "文章标题：生活中的小事",
]


@pytest.mark.parametrize(("kind", "line"), LINES)
def test_lines_go_and_are_counted_by_kind(kind, line):
    before, after = "First paragraph of a text.", "最后一段文字。"
    assert edit(Boilerplate(), f"{before}\n{line}\n{after}") == (f"{before}\n{after}", {kind: 1})
    assert edit(Boilerplate(), f"{before}\n\n  {line} ") == (f"{before}\n\n", {kind: 1})


@pytest.mark.parametrize("line", PROSE)
def test_prose_stays(line):
    assert edit(Boilerplate(), line) == (line, {})


def test_neighbours_all_go():
    text = "\n".join(line for _, line in LINES)
    made, counts = edit(Boilerplate(), f"Text.\n{text}\n文字。")
    assert made == "Text.\n文字。"
    assert sum(counts.values()) == len(LINES)


def test_a_paragraph_is_no_line_of_boilerplate():
    text = "We use cookies on this site. " + "And then the story goes on as stories do. " * 20
    assert edit(Boilerplate(), text) == (text, {})


def test_lists_of_ones_own(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("# ours\nhouse: end of …\n", encoding="utf-8")
    operator = Boilerplate(lists=(str(file),))
    assert edit(operator, "Text\nEnd of chapter\nend of days. Or not.") == ("Text\nend of days. Or not.", {"house": 1})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no kind here", "line 1: expected `kind: pattern`"),
        ("a: (", "line 1: no pattern of RE2"),
        (None, "there are en, zh"),
    ],
)
def test_mistakes_in_lists_are_named(tmp_path, content, message):
    file = tmp_path / "list.txt"
    if content:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        Boilerplate(lists=(str(file),))


def test_a_page_of_nothing_else():
    page = "Home | About | Contact\nAccept all cookies\nShare this article\nAn odd line.\n© 2020 Example"
    finding = BoilerplatePage().check(Draft(page))
    assert finding is not None
    assert (finding.reason, finding.value) == ("mostly_boilerplate", 0.8)
    assert page[finding.start : finding.end] == "Home | About | Contact\n"
    assert reason(BoilerplatePage(max_share=0.8), page) is None
    assert reason(BoilerplatePage(), "Share this article\nA text.") is None  # too few lines to speak of most


ENDS = [
    "References\n\n[1] A. Author. A title. Journal, 2001.\n[2] B. Author et al. Another, pp. 3-4.\n",
    "## References\nAuthor, A. (2001). A title. Press.\nAuthor, B. (2002). Another title. Press.",
    "参考文献：\n[1] 张三. 论某事[J]. 某学报, 2001.\n[2] 李四. 某书[M]. 北京: 某出版社, 2002.",
    "Bibliography\n- https://example.com/a\n- doi:10.1000/1",
]


@pytest.mark.parametrize("end", ENDS)
def test_references_at_the_end_go(end):
    assert edit(References(), f"A text.\n\n{end}") == ("A text.", {"list": 1})


@pytest.mark.parametrize(
    "text",
    [
        f"{ENDS[0]}\n\nAppendix\n" + "The text goes on here, in a sentence or two.\n" * 5,
        "References\nare what a letter of application needs, and nobody likes to give them.",
        "See the references below.\n[1] is one of them.",
        "References",
    ],
)
def test_other_ends_stay(text):
    made, counts = edit(References(), text)
    assert made == text
    assert not any(counts.values())


PIECES = st.sampled_from([line for _, line in LINES] + PROSE + ENDS + ["", " ", "text"])


@pytest.mark.parametrize("operator", [Boilerplate(), References()])
@given(st.text() | st.lists(PIECES | st.text(max_size=5)).map("\n".join))
def test_once_is_enough(operator, text):
    once = edit(operator, text)[0]
    twice, counts = edit(operator, once)
    assert twice == once
    assert not any(counts.values())
