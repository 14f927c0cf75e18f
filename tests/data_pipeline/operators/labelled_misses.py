"""What looks like personal data or a secret and is none: `MISSES` are functions of a generator, each a family."""

import base64
import string
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from tests.data_pipeline.operators.labelled_values import chars, digits, id_number, luhn_digit, pem

HEX = "0123456789abcdef"


def moment(rng: Random) -> datetime:
    return datetime(1990, 1, 1) + timedelta(seconds=rng.randrange(35 * 365 * 86400))


def version(rng: Random) -> str:
    a, b, c, d = (rng.randint(0, high) for high in (20, 30, 30, 250))
    return rng.choice(
        [
            f"{a}.{b}.{c}",
            f"v{a}.{b}.{c}.{d}",
            f"version {a}.{b}.{c}.{d}",
            f"Version: {a}.{b}.{c}.{d}",
            f"版本号：{a}.{b}.{c}.{d}",
            f"10.0.{rng.randint(10000, 22631)}.{rng.randint(1, 4000)}",
            f"Chrome/{rng.randint(60, 140)}.0.{rng.randint(3000, 7000)}.{d}",
            f"Chrome/{rng.randint(60, 140)}.0.0.0",
            f"numpy=={a}.{b}.{c}.{d}",
            f"lib-{a}.{b}.{c}.{d}.tar.gz",
            f"{a}.{b}.{c}-rc.{d}",
            f"{a}.{b}.{c}.{d}-beta1",
            f"section {rng.randint(1, 12)}.{rng.randint(1, 9)}.{rng.randint(1, 9)}.{rng.randint(1, 9)}",
            f"OID 1.3.6.1.4.1.{rng.randint(1, 60000)}.{rng.randint(1, 20)}",
            f"libstdc++.so.6.0.{rng.randint(1, 33)}",
        ]
    )


def isbn(rng: Random) -> str:
    stem = rng.choice(["978", "979"]) + digits(rng, 9)
    thirteen = stem + str(-sum(int(d) * (1, 3)[at % 2] for at, d in enumerate(stem)) % 10)
    nine = digits(rng, 9)
    check = -sum(int(d) * (10 - at) for at, d in enumerate(nine)) % 11
    ten = nine + ("X" if check == 10 else str(check))
    issn = f"{digits(rng, 4, '012')}-{digits(rng, 4)}"
    t = thirteen
    hyphens = f"{t[:3]}-{t[3]}-{t[4:7]}-{t[7:12]}-{t[12]}"
    return rng.choice(
        [hyphens, f"ISBN {hyphens}", f"ISBN {hyphens.replace('-', ' ')}", f"ISBN {thirteen}", f"ISBN-13: {thirteen}",
         f"ISBN {ten}", f"ISBN {ten[0]}-{ten[1:4]}-{ten[4:9]}-{ten[9]}", f"ISSN {issn}"]
    )  # fmt: skip


def digest(rng: Random) -> str:
    size = rng.choice([7, 10, 32, 40, 64])
    value = chars(rng, size, HEX)
    return rng.choice(
        [value, value, f"commit {value}", f"sha256:{chars(rng, 64, HEX)}", str(uuid.UUID(int=rng.getrandbits(128))),
         f'integrity = "sha512-{base64.b64encode(rng.randbytes(64)).decode()}"', f"md5sum = {chars(rng, 32, HEX)}",
         f'etag: "{chars(rng, 32, HEX)}"', f"0x{chars(rng, 16, HEX)}", f"cache_key-{chars(rng, 8, HEX)}"]
    )  # fmt: skip


def when(rng: Random) -> str:
    at = moment(rng)
    forms = """%Y-%m-%d;%Y/%m/%d;%d.%m.%Y;%m/%d/%Y;%d-%m-%Y;%Y%m%d;%Y%m%d%H%M%S;%Y-%m-%d %H:%M:%S;%Y-%m-%dT%H:%M:%SZ;
    %Y年%m月%d日;%d-%m-%Y %H:%M;%d.%m.%Y %H.%M;%H:%M:%S;%Y.%m.%d;%Y-%m-%d-%H-%M;%m-%d-%Y 10;%d %m %Y;%y-%m-%d"""
    stamp = int(at.replace(tzinfo=UTC).timestamp())
    shape = rng.choice([*forms.split(";"), "s", "ms", "range"]).strip()
    if shape == "range":
        return f"{at.year}-{at.year + 3}"
    return str(stamp) if shape == "s" else f"{stamp}{digits(rng, 3)}" if shape == "ms" else at.strftime(shape)


def price(rng: Random) -> str:
    whole, cents = rng.randint(1, 9_999_999), digits(rng, 2)
    return rng.choice(
        [f"${whole:,}.{cents}", f"¥{whole}.{cents}", f"{whole * 1000}元", f"EUR {whole:,}.{cents}", f"£{whole}",
         f"{rng.randint(13, 19)}{digits(rng, 9)}元", f"{rng.randint(130, 199)}00000000", f"{whole:,}",
         f"USD {whole}.{cents}"]
    )  # fmt: skip


def reference(rng: Random) -> str:
    return rng.choice(
        [f"10.{rng.randint(1000, 9999)}/s{digits(rng, 5)}-{digits(rng, 3)}-{digits(rng, 4)}-{digits(rng, 1)}",
         f"doi:10.{rng.randint(1000, 9999)}/{digits(rng, 8)}",
         f"arXiv:{digits(rng, 2)}{rng.randint(10, 12)}.{digits(rng, 5)}v2",
         f"{rng.randint(18, 25)}{rng.randint(10, 12)}.{digits(rng, 5)}", f"PMID {digits(rng, 8)}",
         f"pp. {digits(rng, 4, '1')}-{digits(rng, 4, '2')}",
         f"https://example.com/item/{digits(rng, 11)}", f"https://t.example/status/{digits(rng, 19, '1')}",
         f"RFC {digits(rng, 4)}",
         f"CAS {digits(rng, 4, '1')}-18-{digits(rng, 1)}",
         f"US patent {digits(rng, 1)},{digits(rng, 3)},{digits(rng, 3)}"]
    )  # fmt: skip


def hardware(rng: Random) -> str:
    mac = ":".join(chars(rng, 2, HEX) for _ in range(6))
    return rng.choice(
        [mac, mac.replace(":", "-"), mac.upper(), f"{rng.uniform(-90, 90):.6f}, {rng.uniform(-180, 180):.6f}",
         f"{rng.uniform(10, 60):.7f}", f"0.{digits(rng, 16)}", f"3.14159265358979{digits(rng, 8)}",
         f"+1.{digits(rng, 10, '23')}",
         f"{rng.random():.16f}", f"1e-{rng.randint(2, 9)}", " ".join(digits(rng, 4) for _ in range(6)),
         " ".join(str(rng.randint(1900, 2030)) for _ in range(4)), "std::vector<int>", "x[2048::64]", "a::b",
         "C++11 and 7+14+4",
         f"{rng.randint(20, 99)}:{digits(rng, 2)}:{digits(rng, 2)}", "12:30:45.123456",
         ":".join(chars(rng, 2, HEX) for _ in range(16))]
    )  # fmt: skip


def order(rng: Random) -> str:
    """Numbers without a valid check, or of no such kind."""
    person = id_number(rng)
    stem = rng.choice(["4", "51", "62", "37"]) + digits(rng, 13)
    wrong = stem + str((int(luhn_digit(stem)) + rng.randint(1, 9)) % 10)
    turned = (
        "".join(filter(str.isalnum, person))[:17] + "0123456789X"[(("0123456789X".find(person[-1].upper()) + 3) % 11)]
    )
    return rng.choice(
        [wrong, f"order {wrong}", f"单号{wrong}", turned, f"编号{turned}", f"1234567890{digits(rng, 8)}",
         f"Order {digits(rng, 10)}", f"订单号{digits(rng, 10, '23')}", f"SF{digits(rng, 13)}",
         f"SN-{digits(rng, 11, '1')}",
         f"SKU {digits(rng, 4)}-{digits(rng, 4)}", f"item_{digits(rng, 11)}", f"AB-{digits(rng, 4)}-{digits(rng, 4)}",
         f"{digits(rng, 5, '123')}-{digits(rng, 4)}", f"No. {digits(rng, 9)}", f"#{digits(rng, 6)}",
         f"{digits(rng, 12, '123')}", f"QQ {digits(rng, 9)}"]
    )  # fmt: skip


def at_sign(rng: Random) -> str:
    a, b = chars(rng, 5, string.ascii_lowercase), chars(rng, 6, string.ascii_lowercase)
    return rng.choice(
        [f"git@github.com:{a}/{b}", f"git@{a}.com:{b}/{a}.git", f"ssh://git@{a}.org/{b}", f"https://{a}@{b}.com/path",
         f"{a}@2x.png",
         f"{a}@3x.jpg", f"@{a}.{b}", f"@app.route('/{a}')", f"@{a}", f"{a}@localhost", f"{a} @ {b}",
         f"lodash@4.17.{rng.randint(1, 30)}",
         f"@{a}/{b}@^1.2.3", f"{a}@{b}.T", "q @ k.transpose(-2, -1)", f"{a}@{b}", f"{a}@{b}.to(device)", "w@x.mean()",
         f"img@sha256:{chars(rng, 12, HEX)}"]
    )  # fmt: skip


def quiet_address(rng: Random) -> str:
    """Addresses that name nobody: RFC 1918, 3927, 4193, 4291, 5737, 3849, loopback, masks."""
    a, b, c = (rng.randint(1, 254) for _ in range(3))
    return rng.choice(
        [f"10.{a}.{b}.{c}", f"192.168.{a}.{b}", f"172.{rng.randint(16, 31)}.{a}.{b}", f"127.0.0.{a}", "0.0.0.0",
         "255.255.255.0",
         f"169.254.{a}.{b}", f"192.0.2.{a}", f"198.51.100.{a}", f"203.0.113.{a}",
         f"{rng.randint(224, 239)}.{a}.{b}.{c}", f"300.{a}.{b}.{c}",
         f"{a}.{b}.{c}.256", f"fe80::{chars(rng, 4, '123456789abcdef')}", f"fd12:3456:789a::{a:x}",
         f"2001:db8::{a:x}", "::1", "::", f"ff02::{a:x}"]
    )  # fmt: skip


def no_secret(rng: Random) -> str:
    a = chars(rng, 6, string.ascii_lowercase)
    return rng.choice(
        ['password = os.environ["DB_PASSWORD"]', "password = getpass.getpass()", 'password = "your_password_here"',
         "api_key: ${API_KEY}",
         f"token = tokenizer.{a}(text)", f"token = tokens[{rng.randint(1, 99)}]", 'api_key = "<your-api-key>"',
         '"password": "string"',
         "password: str | None = None", f"max_tokens: {digits(rng, 5)}", f"token_id = {digits(rng, 6)}",
         "import sklearn; sk-learn", "secret: null",
         f"PASSWORD={{{{ {a}_password }}}}", 'key = "username"', f"self.token = {a}_token2",
         'token = "xxxxxxxxxxxxxxxx"', "passwords must have 8 characters",
         f'secret = "{a}"', f"task-{digits(rng, 12)}", pem(rng, "CERTIFICATE"), pem(rng, "PUBLIC KEY"),
         "token: Optional[str]", "the password is required",
         'type="password" name="password"', "Authorization: Bearer <token>", "postgres://user:password@localhost/db",
         f"revision = '{chars(rng, 12, HEX)}'",
         f"token_type = 'bearer-{a}'", "apiKey: process.env.API_KEY", "密码：请输入密码", "secretName: my-secret-1"]
    )  # fmt: skip


MISSES: tuple[Callable[[Random], str], ...] = (
    version, isbn, digest, when, price, reference, hardware, order, at_sign, quiet_address, no_secret,
)  # fmt: skip
