"""Personal names that stand behind a title: Dr. Jane Smith, Frau von der Leyen, 王小明先生.

Rules of thumb, for those who ask for them: a name is what looks like one in that place. Names without a title stay.
"""

from collections.abc import Iterator

from data_pipeline.operators.redaction.view import Span, View, pattern

_TITLE = (
    rb"(?:(?:Mr|Mrs|Ms|Mx|Dr|Prof|Sra|Mme|Mlle|Hr)\.?|Miss|Professor|Doctor|Herrn?|Frau|Monsieur|Madame|Doktor|Dott\.)"
)
_TITLED = pattern(rb"\b" + _TITLE + rb"(?:[ ]" + _TITLE + rb"| med\.| rer\. nat\.| h\. ?c\.)*[ ]{1,2}")
_WORD = pattern(rb"(?:[A-Z]\.)+(?:-[A-Z]\.)?|[A-Z\xe1](?:['\-]?[A-Za-z\xe1])+")
_PARTICLE = pattern(rb"(?:von|van|de|der|den|del|della|di|da|la|le|du|zu|bin|al|ten)\b")
_NO_NAMES = frozenset(
    b"""President Speaker Chairman Chairwoman Chair Secretary Minister Mayor Ambassador Justice Vice Prime General
    Universe World America Right Wrong Perfect The A An And Or But If In On At Of Is Was Who What When Why How I You He
    She We They It Says Said Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April
    June July August September October November December Doktor Professor""".split()
)
_MAX_WORDS = 4

_TITLES_ZH = (
    "先生",
    "女士",
    "小姐",
    "医生",
    "大夫",
    "教授",
    "老师",
    "同学",
    "律师",
    "博士",
    "院士",
    "主任",
    "经理",
    "师傅",
)
_SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖萧田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪"
    "范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂"
    "章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳管柴蒙鲍华喻祁蒲房滕屈饶"
    "傅阎赖常解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇"
    "劉陳楊黃趙吳馬鄭謝許韓馮鄧蕭蔣餘葉蘇魏呂盧鍾譚陸賈韋鄒閻龍陶顧龔萬錢嚴湯溫歐龐顏聶魯關蘭紀單駱藍遊"
)
_COMPOUND = """欧阳 上官 司马 诸葛 皇甫 尉迟 公孙 慕容 令狐 司徒 夏侯
    端木 长孙 宇文 独孤 南宫 轩辕 澹台 濮阳 淳于 申屠 钟离 鲜于""".split()
# Words whose last character is a surname, too: in 感谢李先生 the name is 李.
_NO_SURNAMES = frozenset(
    """感谢 多谢 谢谢 致谢 对方 地方 官方 双方 警方 校方 院方 军方 一方 关于 对于 由于 属于 位于 在于 终于 等于
    至于 任何 如何 为何 提高 最高 说明 证明 完成 组成 经常 非常 通常 平常 上周 本周 下周 一周 历史 论文 语文
    英文 中文 作文 外文 明白 了解 主任 担任 责任 信任 前任 现任 时任 历任 继任 当时 同时 这时 那时 有时 平时
    小时 及时 准时 随时 实时 方向 走向 一向 公司 上司 数万 千万 百万 应和 附和 温和 暖和 总和 平和 饱和 共和
    不和 我和 你和 他和 她和 和和 面向 导向 倾向 志向 以及 年华 中华 才华 精华 老师 律师 教师 工程 课程 过程
    广州 城关 有关 相关 机关 海关 高兴 平安 公安 治安 保安 西安 黄金 资金 奖金 北京 南京 一路 道路 公路 铁路
    汽车 火车 开车 包车 江湖 白衣 金牌 高级 高中 文学 万能 单身 古典 华人 全科 全体 全职 时尚 商业 路人 连任
    应届 老年 安全 方便 成年 年轻 马上 关注 项目 田径 石油 常务 于是 和蔼 严格 严厉 温柔 龙头 包括 解剖 简单
    应该 游泳 管理 连续 边上 席上 单位 车间 商务 荣誉 景区 华裔 农业 房产 古代 麦当 米勒 万一 白人 黑白 时候
    乐于 便于 急于 勇于 善于 处于 基于 鉴于""".split()
)
# What often goes right before a bare surname; behind other characters it is more likely the end of a word.
_LEADS = frozenset(
    "的是和与跟对向给请问找叫让把被了着说位名见到在由为以及谢访听据但这那该同随替帮陪诉比像如因后前时候起从天日年月午晚早里上中且或邀而将使聘"
)


def find(view: View) -> Iterator[Span]:
    """Names, in order, without their titles."""
    spans = [*_western(view), *_chinese(view)]
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            yield start, stop
            end = stop


def _western(view: View) -> Iterator[Span]:
    raw = view.raw
    for title in _TITLED.finditer(raw):
        start = at = end = title.end()
        words = 0
        while words < _MAX_WORDS:
            particle = _PARTICLE.match(raw, at)
            if particle is not None and raw[particle.end() : particle.end() + 1] == b" ":
                at = particle.end() + 1
                continue
            word = _WORD.match(raw, at)
            if word is None or word.group() in _NO_NAMES or _TITLED.match(raw, at) is not None:
                break
            end, words = word.end(), words + 1
            if word.group().endswith(b"'s"):
                end -= 2
                break
            if raw[end : end + 1] != b" ":
                break
            at = end + 1
        if words:
            yield start, end


def _chinese(view: View) -> Iterator[Span]:
    text = view.text
    if text.isascii():
        return
    for title in _TITLES_ZH:
        at = text.find(title)
        while at >= 0:
            start = _name_start(text, at)
            if start is not None:
                yield start, at
            at = text.find(title, at + len(title))


def _name_start(text: str, end: int) -> int | None:
    """Where a name begins that ends there: a surname and none to two characters more, the longest that fits."""
    for length in (4, 3, 2):
        start = end - length
        if start >= 0 and text[start : start + 2] in _COMPOUND and _is_han(text[start:end]):
            return start
    for length in (3, 2, 1):
        start = end - length
        if start < 0 or text[start] not in _SURNAMES or not _is_han(text[start:end]):
            continue
        lead = text[start - 1 : start]
        if lead + text[start] in _NO_SURNAMES or text[start : start + 2] in _NO_SURNAMES:
            continue
        if length == 1 and lead and _is_han(lead) and lead not in _LEADS:
            continue
        return start
    return None


def _is_han(text: str) -> bool:
    return all("\u4e00" <= sign <= "\u9fff" for sign in text)
