"""Personal data and secrets as their specifications have them: `MAKERS[kind](rng)` gives one, as somebody wrote it.

Made from the plans and formats themselves and not from what the redactor looks for: numbering plans of the regulators
(MIIT, NANPA, Ofcom, Bundesnetzagentur, ARCEP, DoT, MIC), GB 11643, ISO/IEC 7812, RFC 5322, 5952 and 6890, and the
issuers' descriptions of their tokens. Nobody's data: all digits and letters are drawn by chance.
"""

import base64
import ipaddress
import json
import string
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from random import Random

ALNUM = string.ascii_letters + string.digits
FULL_WIDTH = {ord(sign): ord(sign) + 0xFEE0 for sign in string.digits + "@+-()"}


def digits(rng: Random, count: int, first: str = string.digits) -> str:
    return rng.choice(first) + "".join(rng.choices(string.digits, k=count - 1))


def chars(rng: Random, count: int, alphabet: str = ALNUM) -> str:
    return "".join(rng.choices(alphabet, k=count))


# --- e-mail -----------------------------------------------------------------------------------------------------------

_FIRST = (
    "anna john wei li.na hiroshi marie priya klaus o.neill xiaoming sara tom jean-luc mike yuki ravi zhang.san".split()
)
_LAST = "smith mueller wang tanaka dupont patel brown garcia chen kim novak rossi lee singh weber martin".split()
_HOSTS = """gmail.com outlook.com qq.com 163.com 126.com sina.com.cn foxmail.com yahoo.co.jp web.de gmx.net orange.fr
    btinternet.co.uk rediffmail.co.in proton.me tsinghua.edu.cn cs.stanford.edu uni-heidelberg.de ox.ac.uk u-tokyo.ac.jp
    mail.example.org acme-tools.io deepmind.ai mit.edu nasa.gov cnrs.fr startup.dev firma24.at shop.online
    ministry.gov.in x.org""".split()


def email(rng: Random) -> str:
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    local = rng.choice(
        [
            f"{first}.{last}",
            f"{first}_{last}",
            f"{first[0]}{last}{rng.randint(1, 99)}",
            digits(rng, rng.randint(6, 11), "123456789"),
            f"{first}+{last}",
            f"{first}-{last}",
            f"{last}{rng.randint(1950, 2010)}",
            first.title() + "." + last.title(),
            f"{first}%{last}",
        ]
    )
    address = f"{local}@{rng.choice(_HOSTS)}"
    change = rng.random()
    return address.upper() if change < 0.04 else address.replace("@", "＠") if change < 0.08 else address


# --- telephone --------------------------------------------------------------------------------------------------------

# MIIT: the segments of the three carriers, the broadcaster and the virtual ones.
_MOBILE_CN = """130 131 132 133 134 135 136 137 138 139 145 147 149 150 151 152 153 155 156 157 158 159 166 170 171 172
    173 175 176 177 178 180 181 182 183 184 185 186 187 188 189 191 193 195 198 199""".split()
_AREAS_CN = {  # area code -> digits of a subscriber's number
    8: "010 020 021 022 023 024 025 027 028 029 0311 0371 0411 0451 0512 0531 0532 0571 0574 0755 0769 0591".split(),
    7: "0971 0951 0891 0854 0310 0759".split(),
}
_AREAS_US = "212 415 650 312 206 617 713 202 305 404 503 702 808 907 646 718 213 310 512 919".split()


def phone_cn_mobile(rng: Random) -> str:
    a, b, c = rng.choice(_MOBILE_CN), digits(rng, 4), digits(rng, 3) + rng.choice("123456789")
    number = rng.choice([f"{a}{b}{c}", f"{a}{b}{c}", f"{a} {b} {c}", f"{a}-{b}-{c}"])
    number = rng.choice(["", "", "", "+86 ", "+86", "+86-", "86-", "0086", "(+86)"]) + number
    return number.translate(FULL_WIDTH) if rng.random() < 0.1 else number


def phone_cn_landline(rng: Random) -> str:
    length = rng.choice([8, 8, 8, 7])
    area, number = rng.choice(_AREAS_CN[length]), digits(rng, length - 1, "25678") + rng.choice("123456789")
    head, tail = number[:-4], number[-4:]
    written = rng.choice(
        [
            f"{area}-{number}",
            f"{area}-{number}",
            f"({area}){number}",
            f"({area}) {head} {tail}",
            f"{area} {head} {tail}",
            f"{area}-{head}-{tail}",
            f"+86 {area[1:]} {head} {tail}",
            f"+86-{area[1:]}-{number}",
        ]
    )
    if "+" not in written and rng.random() < 0.15:
        written += rng.choice(["-", "转", " 转 ", " ext. "]) + digits(rng, rng.randint(3, 4), "123456789")
    return written.translate(FULL_WIDTH) if rng.random() < 0.1 else written


def phone_us(rng: Random) -> str:
    a, c = rng.choice(_AREAS_US), digits(rng, 3) + rng.choice("123456789")
    b = digits(rng, 1, "23456789") + rng.choice("023456789") + rng.choice("23456789")  # not N11
    forms = (
        "({a}) {b}-{c};{a}-{b}-{c};{a}.{b}.{c};+1 {a} {b} {c};+1-{a}-{b}-{c};1-{a}-{b}-{c};+1{a}{b}{c};({a}){b}-{c};"
    )
    forms += "{a} {b} {c};+1 ({a}) {b}-{c};{a}-{b}-{c} x" + digits(rng, 3) + ";({a}) {b}-{c} ext. " + digits(rng, 2)
    return rng.choice(forms.split(";")).format(a=a, b=b, c=c)


def phone_gb(rng: Random) -> str:
    groups = rng.choice(
        [
            ("20", rng.choice("378") + digits(rng, 3), digits(rng, 4)),
            (rng.choice("121 131 141 151 161 113 114 117".split()), digits(rng, 3, "23"), digits(rng, 4)),
            (rng.choice("1223 1865 1904 1273 1603".split()), digits(rng, 6, "23456789")),
            ("7" + rng.choice("4579") + digits(rng, 2, "123456"), digits(rng, 6, "123456789")),
            ("7" + rng.choice("4579") + digits(rng, 2, "123456"), digits(rng, 3, "123456789"), digits(rng, 3)),
        ]
    )
    area, rest = groups[0], " ".join(groups[1:])
    forms = [f"0{area} {rest}", f"0{area} {rest}", f"+44 {area} {rest}", f"+44 (0){area} {rest}", f"0044 {area} {rest}"]
    forms += [f"+44{area}{rest.replace(' ', '')}"]
    return rng.choice(forms if area.startswith("7") else [*forms, f"(0{area}) {rest}"])


def phone_de(rng: Random) -> str:
    if rng.random() < 0.4:
        area = rng.choice("151 152 157 160 162 163 170 171 172 173 174 175 176 177 178 179".split())
        rest = digits(rng, 8 if area[:2] == "15" else 7, "23456789")
    else:
        area = rng.choice("30 40 89 69 221 711 211 351 341 511 6221 761 931 7071".split())
        rest = digits(rng, rng.randint(6, 8), "23456789")
    forms = [f"0{area} {rest}", f"0{area} {rest}", f"0{area}/{rest}", f"0{area}-{rest}", f"+49 {area} {rest}"]
    forms += [f"+49 (0){area} {rest}", f"(0{area}) {rest}", f"0049 {area} {rest}", f"+49{area}{rest}"]
    return rng.choice(forms)


_OVERSEAS_FR = "262 263 590 594 596 690 691 692 693 694 696 697".split()  # countries of their own behind a +


def phone_fr(rng: Random) -> str:
    area, pairs = rng.choice("12345679"), [digits(rng, 2) for _ in range(4)]
    if area in "12345" and int(pairs[0]) < 20:
        pairs[0] = str(rng.randint(30, 69))
    if area + pairs[0] in _OVERSEAS_FR:
        pairs[0] = "33"
    if area == "9":
        pairs[0] = str(rng.choice([50, 51, 52, 53, 54, 70, 72, 77, 80, 81, 83]))
    if area == "7":
        pairs[0] = str(rng.randint(50, 89))
    sign = rng.choice("  .-")
    rest = sign.join(pairs)
    forms = [
        f"0{area}{sign}{rest}",
        f"0{area}{sign}{rest}",
        f"+33 {area} {' '.join(pairs)}",
        f"0033 {area} {' '.join(pairs)}",
    ]
    return rng.choice([*forms, f"+33 (0){area} {' '.join(pairs)}", f"+33{area}{''.join(pairs)}"])


def phone_in(rng: Random) -> str:
    if rng.random() < 0.65:
        a, b = rng.choice("98 97 99 94 93 81 70 88 90 77 63 96".split()) + digits(rng, 3), digits(rng, 5)
        return rng.choice([f"{a} {b}", f"+91 {a} {b}", f"+91-{a}{b}", f"+91{a}{b}", f"+91 {a}{b}", f"0{a} {b}"])
    area, a, b = rng.choice("11 22 33 40 44 80".split()), digits(rng, 4, "234"), digits(rng, 4)
    return rng.choice(
        [f"0{area}-{a}{b}", f"0{area} {a} {b}", f"+91 {area} {a} {b}", f"0{area}-{a} {b}", f"+91-{area}-{a}{b}"]
    )


def phone_jp(rng: Random) -> str:
    area, a, b = rng.choice(
        [
            ("3", digits(rng, 4, "356"), digits(rng, 4)),
            ("6", "6" + digits(rng, 3), digits(rng, 4)),
            (rng.choice("45 52 11 75 78 92".split()), digits(rng, 3, "23456789"), digits(rng, 4)),
            (rng.choice("90 80 70".split()), digits(rng, 4, "123456789"), digits(rng, 4)),
        ]
    )
    forms = [f"0{area}-{a}-{b}", f"0{area}-{a}-{b}", f"+81 {area}-{a}-{b}", f"+81-{area}-{a}-{b}", f"0{area} {a} {b}"]
    number = rng.choice(
        forms if len(area) == 2 and area[1] == "0" else [*forms, f"(0{area}) {a}-{b}", f"0{area}({a}){b}"]
    )
    return number.translate(FULL_WIDTH) if rng.random() < 0.1 else number


def phone_elsewhere(rng: Random) -> str:
    d = rng.choice("23456789")
    forms = [
        f"+39 06 {digits(rng, 4, '3456')} {digits(rng, 4)}",
        f"+34 6{digits(rng, 2)} {digits(rng, 3)} {digits(rng, 3)}",
        f"+55 11 9{digits(rng, 4, '6789')}-{digits(rng, 4)}",
        f"+82 10-{digits(rng, 4, '2345678')}-{digits(rng, 4)}",
        f"+61 4{digits(rng, 2, '012')} {digits(rng, 3)} {digits(rng, 3)}",
        f"+65 9{digits(rng, 3, '12345')} {digits(rng, 4)}",
        f"+852 9{digits(rng, 3, '12345')} {digits(rng, 4)}",
        f"+7 9{d}{rng.choice('0123456')} {digits(rng, 3)}-{digits(rng, 2)}-{digits(rng, 2)}",
        f"+41 44 {digits(rng, 3, '2345')} {digits(rng, 2)} {digits(rng, 2)}",
    ]
    return rng.choice(forms)


PHONES: tuple[Callable[[Random], str], ...] = (
    phone_cn_mobile, phone_cn_landline, phone_us, phone_gb, phone_de, phone_fr, phone_in, phone_jp, phone_elsewhere,
)  # fmt: skip


def bare_phone(rng: Random) -> str:
    """National digits with nothing between them: only a word before them tells what they are."""
    make = rng.choice([phone_us, phone_gb, phone_fr, phone_in, phone_cn_landline])
    while True:
        written = make(rng)
        plain = "".join(filter(str.isdigit, written.translate({full: ascii for ascii, full in FULL_WIDTH.items()})))
        if not set(written) & set("+(xe转") and not written.startswith(("00", "1-")) and len(plain) <= 12:
            return plain


# --- numbers with a check ---------------------------------------------------------------------------------------------


def id_number(rng: Random) -> str:
    area = rng.choice(
        "110101 310104 440305 510107 330106 420111 610113 120103 320102 350203 230102 530102 650102".split()
    )
    born = date(1930, 1, 1) + timedelta(days=rng.randrange(80 * 365))
    stem = f"{area}{born:%Y%m%d}{digits(rng, 3)}"
    # GB 11643: the check digit makes the sum of digit times 2^(place from the right) one modulo 11.
    value = (1 - sum(int(digit) * 2 ** (17 - place) for place, digit in enumerate(stem))) % 11
    number = stem + ("X" if value == 10 else str(value))
    change = rng.random()
    if change < 0.1:
        return f"{number[:6]} {number[6:14]} {number[14:]}"
    return number.lower() if change < 0.2 else number.translate(FULL_WIDTH) if change < 0.3 else number


_CARDS = [
    "4:16",
    "4:16",
    "51:16",
    "55:16",
    "2221:16",
    "2720:16",
    "34:15",
    "37:15",
    "6011:16",
    "65:16",
    "3530:16",
    "3589:16",
]
_CARDS += ["36:14", "305:14", "62:16", "62:19", "622848:19", "621700:19", "2202:16"]


def luhn_digit(stem: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(stem)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def bank_card(rng: Random) -> str:
    prefix, length = rng.choice(_CARDS).split(":")
    stem = prefix + digits(rng, int(length) - len(prefix) - 1)
    number = stem + luhn_digit(stem)
    if rng.random() < 0.5:
        return number.translate(FULL_WIDTH) if rng.random() < 0.1 else number
    sizes = {14: (4, 6, 4), 15: (4, 6, 5), 16: (4, 4, 4, 4), 19: (4, 4, 4, 4, 3)}[len(number)]
    places = [sum(sizes[:at]) for at in range(len(sizes) + 1)]
    return rng.choice(" -").join(number[a:b] for a, b in pairwise(places))


# --- addresses --------------------------------------------------------------------------------------------------------

# First octets with nothing of RFC 6890 or multicast in them.
_PUBLIC = [first for first in range(1, 224) if first not in (10, 100, 127, 169, 172, 192, 198, 203)]
_PREFIXES = "2001:4860 2400:cb00 2606:4700 2a00:1450 240e:00d9 2408:8000 2a02:06b8 2607:f8b0".split()


def ip(rng: Random) -> str:
    if rng.random() < 0.7:
        return f"{rng.choice(_PUBLIC)}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    tail = [rng.choice(["0", "0", f"{rng.randrange(65536):x}"]) for _ in range(5)] + [f"{rng.randrange(1, 65536):x}"]
    address = ipaddress.IPv6Address(":".join([rng.choice(_PREFIXES), *tail]))
    return rng.choice([address.compressed, address.compressed, address.exploded, address.compressed.upper()])


# --- secrets ----------------------------------------------------------------------------------------------------------


def _url64(rng: Random, count: int) -> str:
    return chars(rng, count, ALNUM + "-_")


def _jwt(rng: Random) -> str:
    def part(values: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")

    claims = {"sub": digits(rng, 10), "name": rng.choice(_FIRST), "iat": rng.randint(1500000000, 1800000000)}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{_url64(rng, 43)}"


def pem(rng: Random, label: str) -> str:
    body = base64.b64encode(rng.randbytes(rng.randint(200, 1200))).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----"


def token(rng: Random) -> str:
    """A secret that shows by itself what it is."""
    return rng.choice(
        [
            lambda: rng.choice(["AKIA", "ASIA"]) + chars(rng, 16, string.ascii_uppercase + "234567"),
            lambda: rng.choice(["ghp_", "gho_", "ghs_"]) + chars(rng, 36),
            lambda: f"github_pat_{chars(rng, 22)}_{chars(rng, 59)}",
            lambda: f"xoxb-{digits(rng, 12)}-{digits(rng, 12)}-{chars(rng, 24)}",
            lambda: "AIza" + _url64(rng, 34) + rng.choice(ALNUM),
            lambda: "sk-" + chars(rng, 48),
            lambda: "sk-proj-" + _url64(rng, 73) + rng.choice(ALNUM),
            lambda: "hf_" + chars(rng, 34, string.ascii_letters),
            lambda: "sk_live_" + chars(rng, 24),
            lambda: "glpat-" + _url64(rng, 19) + rng.choice(ALNUM),
            lambda: "npm_" + chars(rng, 36),
            lambda: _jwt(rng),
            lambda: pem(rng, rng.choice(["RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"])),
        ]
    )()


def password(rng: Random) -> str:
    """A secret that only the name before it tells: a password of a manager, a key in hex or base64."""
    made = rng.choice(
        [
            lambda: chars(rng, rng.randint(10, 20), ALNUM + "!#%*+-.=?@^_~"),
            lambda: chars(rng, rng.choice([32, 40, 64]), "0123456789abcdef"),
            lambda: chars(rng, rng.choice([24, 32, 40])),
            lambda: base64.b64encode(rng.randbytes(rng.choice([24, 30, 33]))).decode(),
        ]
    )()
    return rng.choice(string.ascii_letters) + made[1:-1] + rng.choice(string.digits)


# --- names ------------------------------------------------------------------------------------------------------------

# The commonest surnames by the census of 2020, two compound ones, and characters often given.
_SURNAMES_ZH = "王 李 张 刘 陈 杨 黄 赵 吴 周 徐 孙 马 朱 胡 郭 何 林 罗 高 郑 梁 谢 宋 唐 韩 冯 董".split()
_SURNAMES_ZH += "程 曹 袁 邓 许 傅 欧阳 诸葛".split()
_GIVEN_ZH = "伟芳娜敏静丽强磊军洋勇艳杰娟涛超霞平刚桂英华玉萍红玲建国明志海燕雪梅文斌欣怡子涵浩宇轩梓晨思"
_NAMES = {
    "en": (
        "James Mary Robert Linda Aisha Emily Noah J. M.",
        "Smith Johnson O'Brien Lee Brown-Hill McDonald Okafor Patel",
    ),
    "de": ("Hans Petra Jürgen Sabine Käthe", "Müller Schmidt Weiß Schäfer von Bülow Krüger"),
    "fr": ("Élise Jean Zoé Pierre", "Dupont Lefèvre Moreau de Gaulle Garnier"),
}


def name(rng: Random, language: str) -> str:
    if language == "zh":
        return rng.choice(_SURNAMES_ZH) + "".join(rng.choices(_GIVEN_ZH, k=rng.choice([0, 1, 2, 2])))
    first, last = (part.split() for part in _NAMES[language])
    last = [f"{a} {b}" if a in ("von", "de") else b for a, b in pairwise(["", *last]) if b not in ("von", "de")]
    return rng.choice([rng.choice(last), f"{rng.choice(first)} {rng.choice(last)}"])


MAKERS: dict[str, Callable[[Random], str]] = {
    "email": email,
    "phone": lambda rng: rng.choice(PHONES)(rng),
    "id_number": id_number,
    "bank_card": bank_card,
    "ip": ip,
    "secret": token,
}
