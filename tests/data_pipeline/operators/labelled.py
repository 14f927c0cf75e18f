"""Text with known personal data in it, by seed: Chinese and English prose, tables, JSON, code; and near misses."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from tests.data_pipeline.operators import labelled_values as values
from tests.data_pipeline.operators.labelled_misses import MISSES

HOLE = "{x}"
ANYWHERE = [
    "Write down {x} before you go.",
    "Her details ({x}) were on the page.",
    "It said: {x}.",
    "As of Monday, {x}; nothing else has changed.",
    "The form still shows {x}, which was wrong.",
    'He typed "{x}" and waited.',
    "- {x}",
    "* Anna Brown, {x}",
    "| Anna | {x} | open |",
    "name,detail\nLi,{x}\nKim,none",
    "Anna\t{x}\tBerlin",
    "<td>{x}</td>",
    "<li>Anna: {x}</li>",
    '{"id": 7, "value": "{x}", "ok": true}',
    "row = {'name': 'Anna', 'detail': '{x}'}",
    'record("{x}")  # from the form',
    "    # was {x}",
    "value: {x}",
    "`{x}`",
    "请记下{x}再走。",
    "资料如下：{x}，请核对。",
    "张三（{x}）已经登记。",
    "【{x}】",
    "他写的是{x}和别的内容。",
    "王五、{x}、北京",
    "登记为：{x}",
    "表格里有“{x}”这一项",
    "见附件,{x},谢谢!",
]
PLACES: dict[str, list[str]] = {
    "email": ["Mail me at {x}.", "<{x}>", "mailto:{x}", "邮箱{x}有事联系", "邮箱：{x}。", "Author: Anna Brown <{x}>",
        "Email:{x}", "from={x}&to=all"],
    "phone": ["Call {x} after six.", "Tel: {x}", "Tel. {x}, Fax none", "电话：{x}。", "手机号{x}已注册",
        '"phone": "{x}"', "tel:{x}", "联系电话　{x}", "☎ {x}"],
    "id_number": ["身份证号{x}已核验", "身份证：{x}", "ID card {x}, valid", '"id_card": "{x}"', "公民身份号码{x}。"],
    "bank_card": ["卡号{x}，请转账", "Card: {x}", "card number {x} expires soon", '"card": "{x}"', "银行卡号：{x}"],
    "ip": ["The server at {x} is down.", "IP地址：{x}。", "来自{x}的访问", "from {x} port 22", "nameserver {x}",
        "[{x}]", "Accepted publickey for root from {x}"],
    "secret": ["export KEY={x}", "key = '{x}'", "密钥是{x}请保管", "curl -H 'Authorization: Bearer {x}'",
        "--token={x}", "token: {x}", '"apiKey": "{x}"'],
}  # fmt: skip
BARE_PHONE = [
    "Tel: {x}",
    "Phone {x}.",
    "Call me at {x}.",
    '"phone": "{x}"',
    "WhatsApp: {x}",
    "mobile = {x}",
    "电话：{x}。",
    "电话{x}",
    "联系电话:{x}",
]
ASSIGNED = [
    'password = "{x}"', "DB_PASSWORD={x}", "api_key: {x}", '"secret": "{x}"', "密码：{x}", "passwd='{x}'",
    'const apiKey = "{x}";',
    "export AWS_SECRET_ACCESS_KEY={x}", '{"client_secret": "{x}"}', "auth_token = '{x}'",
    "spring.datasource.password={x}",
    'SECRET_KEY = "{x}"', "Password: {x}", "mysql://root:{x}@db.internal/shop", '"access_token":"{x}"',
    "登录密码是{x}，别外传",
]  # fmt: skip

NAMED = [
    ("Yesterday Mr. {x} went home.", "en"), ("Dear Mrs. {x},", "en"), ("Dr. {x} said so.", "en"),
    ("Prof. Dr. {x} lehrt in Bonn.", "de"), ("Sehr geehrte Frau {x},", "de"), ("Herr {x} kommt.", "de"),
    ("according to Professor {x}, who wrote it", "en"), ("Madame {x} est partie.", "fr"), ("(Ms {x})", "en"),
    ("请问{x}先生在吗？", "zh"), ("昨天{x}女士来过。", "zh"), ("主治的是{x}医生。", "zh"), ("感谢{x}教授的指导", "zh"),
    ("我和{x}老师谈过", "zh"), ("“{x}律师，您好”", "zh"), ("记者采访了{x}博士", "zh"), ("由{x}主任负责", "zh"),
]  # fmt: skip
UNNAMED = """数学老师;家庭医生说;各位老师好;女士们先生们;她是班主任老师;大学教授;那位先生;主治医生;感谢老师
英语老师;外科医生;青年教授;白衣女士;年轻医生;实习律师;一位女士;对方律师;这位先生;乡村医生;中学老师;客座教授
小学老师;Mr. President;the doctor said;Dr. of the house;Miss Universe;my professor;Mr. and Mrs.""".replace(
    "\n", ";"
).split(";")

Place = tuple[str, int, int]


@dataclass(frozen=True)
class Labelled:
    """A text, and what is to be found in it: (kind, start, end) in characters."""

    text: str
    places: tuple[Place, ...]


def fill(template: str, value: str, kind: str | None) -> Labelled:
    if "\n" in value and template.lstrip().startswith(("{", '"', "|")):
        value = json.dumps(value)[1:-1]
    start = template.index(HOLE)
    text = template.replace(HOLE, value)
    return Labelled(text, () if kind is None else ((kind, start, start + len(value)),))


def positive(rng: Random, kind: str) -> Labelled:
    """One place of a kind, in a format and surroundings drawn by chance."""
    if kind == "phone" and rng.random() < 0.15:
        return fill(rng.choice(BARE_PHONE), values.bare_phone(rng), kind)
    if kind == "secret" and rng.random() < 0.5:
        return _assigned(rng)
    template = rng.choice(PLACES[kind] if rng.random() < 0.4 else ANYWHERE)
    value = values.MAKERS[kind](rng)
    if kind == "ip" and ":" not in value and rng.random() < 0.3:
        template = template.replace(HOLE, rng.choice(["http://{x}/index.html", "{x}:8080", "https://{x}:443/"]))
    return fill(template, value, kind)


def _assigned(rng: Random) -> Labelled:
    template, value = rng.choice(ASSIGNED), values.password(rng)
    if "://" in template:
        value = "".join(filter(str.isalnum, value))
    return fill(template, value, "secret")


def named(seed: int, count: int = 300) -> list[Labelled]:
    """Names behind titles, and as often titles without a name."""
    rng = Random(seed)
    pieces = []
    for _ in range(count):
        template, language = rng.choice(NAMED)
        pieces += [fill(template, values.name(rng, language), "name"), fill("前天。{x}。", rng.choice(UNNAMED), None)]
    return pieces


def near_miss(rng: Random) -> Labelled:
    return fill(rng.choice(ANYWHERE), rng.choice(MISSES)(rng), None)


def labelled(seed: int, each: int = 300, kinds: Iterable[str] = tuple(values.MAKERS)) -> list[Labelled]:
    """`each` positives of every kind and as many near misses as positives, mixed into documents of some lines."""
    rng = Random(seed)
    kinds = list(kinds)
    pieces = [positive(rng, kind) for kind in kinds for _ in range(each)]
    pieces += [near_miss(rng) for _ in range(len(pieces))]
    rng.shuffle(pieces)
    documents = []
    while pieces:
        taken, pieces = pieces[: (size := rng.randint(1, 6))], pieces[size:]
        documents.append(joined(taken))
    return documents


def joined(pieces: list[Labelled]) -> Labelled:
    text, places = "", []
    for piece in pieces:
        places += [(kind, start + len(text), end + len(text)) for kind, start, end in piece.places]
        text += piece.text + "\n"
    return Labelled(text, tuple(places))


@dataclass(frozen=True)
class Score:
    """Counts of one kind; a place counts as found where kind, start and end are all right."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)


def score(documents: Iterable[Labelled], find: Callable[[str], Iterable[Place]]) -> dict[str, Score]:
    """How well `find` finds what was put in, by kind."""
    right, wrong, missed = Counter[str](), Counter[str](), Counter[str]()
    for document in documents:
        found, wanted = set(find(document.text)), set(document.places)
        for counts, places in (right, found & wanted), (wrong, found - wanted), (missed, wanted - found):
            counts.update(kind for kind, _, _ in places)
    return {kind: Score(right[kind], wrong[kind], missed[kind]) for kind in right | wrong | missed}
