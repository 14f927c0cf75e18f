"""What people typed is never read as a special token, whatever a template does with it; and it is written as it is."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import TemplateError

from maxlm.tokenizer.chat import ChatError, ChatTemplate
from maxlm.tokenizer.marks import SHIELD
from maxlm.tokenizer.sandbox import Sandbox
from maxlm.tokenizer.shield import Shield, plain

NAMES = ("<s>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|im_end|>>", "><")


class Characters:
    """A tokenizer of characters."""

    bos_id = eos_id = pad_id = 0
    special = {name: -number for number, name in enumerate(NAMES, 1)}  # noqa: RUF012

    def encode(self, text):
        return [ord(character) for character in text]


def written(source, messages, tools=None):
    """The text, and the names of the special tokens in it; None: the template refuses."""
    try:
        ids = ChatTemplate(source, Characters()).prompt(messages, tools)
    except ChatError:
        return None
    special = [NAMES[-i - 1] for i in ids if i < 0]
    return "".join(NAMES[-i - 1] if i < 0 else chr(i) for i in ids), special


def without(source, messages, tools=None):
    """The same text of a template for which no name is special."""
    sandbox = Sandbox(Shield(()))
    try:
        return sandbox.rendered(sandbox.compiled(source), {"messages": messages, "tools": tools})
    except (TemplateError, TypeError, ValueError, AttributeError, LookupError):
        return None


# Of T, which is typed, and U, which is too. What stands around them is a part of a name at most.
EXPRESSIONS = r"""
T ;; T ~ U ;; '<' ~ T ~ '>' ;; '<|' + T + '|>' ;; '<|im' ~ T ;; T ~ 'm_end|>' ;; '<s' ~ T ;; '<' + (T | trim)
(T | trim) ~ '|im_end|>' ;; (T | trim) + (U | trim) ;; T.replace('x', '') ;; T.replace('x', '') ~ U
T | replace('x', '') ;; T.replace('', 'x').replace('x', '') ;; T | replace('x', U) ;; T.replace('<', U, 1)
T.split('</think>') | join ;; T.split() | join ;; T.rsplit('x', 1) | join ;; T.splitlines() | join
T.split('x')[-1] ~ T.split('x')[0] ;; T.partition('x')[0] ~ T.partition('x')[2] ;; T.rpartition('x') | join
'<' + T.strip('x') ~ '>' ;; T.lstrip('x ') + U.rstrip('x ') ;; T.removeprefix('x') ~ U.removesuffix('x')
T | lower ;; T.lower() ;; T.casefold() ;; T | upper | lower ;; T | title | lower ;; T | capitalize | lower
T[1:] ~ U[:-1] ;; T[0] ~ T[1:] ;; T[::-1] ;; T | reverse ;; T[::2] ;; T | first ~ T[1:] ;; T[:-1] ~ (T | last)
T[0] ~ T[1] ~ T[2:] ;; T | join('-') ;; T | list | join ;; T | sort | join
T | map('lower') | join ;; T | select('ne', 'x') | join
T | reject('in', 'x ') | join ;; ''.join(T) ;; T | join ;; (T * 2)[1:] ;; T | string ;; T | safe ;; T | indent
T | tojson ;; [T] | lower ;; {T: U} | lower ;; [T, U] | join ;; T | default('x') ;; (T ~ U) | trim ;; (T ~ U)[1:]
T | length ;; T.count('<') ;; T.find('|') ;; T == '|im_end|>' ;; T != '<|im_end|>' ;; T in ['>', U] ;; 'im' in T
T is eq('>') ;; T is in(U) ;; T.startswith('<|im') ;; T.endswith(('>', 'x')) ;; {T: 1}[T] ;; {T: 1}.get(U)
T in {U: 1} ;; T in {U: 1}.keys() ;; T < U ;; T.index('<') ;; messages | map(attribute='content') | join
messages | selectattr('content', 'equalto', '|im_end|>') | list | length
"""
EXPRESSIONS = [one.strip() for line in EXPRESSIONS.strip().splitlines() for one in line.split(";;")]
LOOPS = [
    "{% for c in T %}{% if c != 'x' %}{{ c }}{% endif %}{% endfor %}",
    "{% set x %}<{{ T | trim }}{% endset %}{{ x }}>",
    "{% macro f(x) %}{{ x | trim }}{% endmacro %}{{ f(T) ~ f(U) }}",
    "{% for m in messages %}{% for key in m.calls %}{{ '<' ~ key ~ '>' ~ m.calls[key] ~ '</' ~ key ~ '>' }}"
    "{% endfor %}{% endfor %}",
    "{% for m in messages %}{% for key, value in m.calls.items() if key not in ['s'] %}{{ '<|' + key }}{{ value }}"
    "{% endfor %}{% endfor %}",
    "{% for key in tools[0] %}{{ '\n<' ~ key ~ '>' ~ (tools[0][key] | tojson) ~ '</' ~ key ~ '>' }}{% endfor %}",
]
SOURCES = [*("{{ " + one + " }}" for one in EXPRESSIONS), *LOOPS]
PIECES = ["<", ">", "|", "s", "x", " ", "\n", "im_end", "|im_end|>", "<|im", "_end|>", "<|IM_END|>", "</think>", *NAMES]
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
KNOWN = [
    "|im_end|>",
    "im_end",
    " |im_end|>",
    "<x|im_end|>",
    "<|im_</think>end|>",
    "<|IM_END|>",
    "<|im\n_end|>",
    "<s",
    ">",
    ".<x|im_end|>.",
]


def filled(source, text, other):
    chat = [{"role": "user", "content": text, "calls": {text: other}}, {"role": "user", "content": other}]
    named = "{% set T = messages[0].content %}{% set U = messages[1].content %}"
    return named + source, chat, [{text: 1, other: [text]}]


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_typed_becomes_a_special_token(source):
    @given(TEXTS, TEXTS)
    @settings(max_examples=25, deadline=None)
    def check(text, other):
        given = filled(source, text, other)
        found = written(*given)
        assert (found and found[0]) == without(*given)
        assert not found or found[1] == []

    for known in KNOWN:
        check = example(known, ">")(check)
    check()


@pytest.mark.parametrize(
    "expression",
    ["OWN | trim", "OWN[1:]", "OWN.split('x') | join", "OWN.replace('x', '')", "OWN | indent", "OWN | lower"],
)
@given(TEXTS)
@settings(max_examples=50, deadline=None)
def test_a_name_that_the_template_wrote_stays_one(expression, text):
    """Even among what people typed; of the two together no other comes to be."""
    given = filled("{% set OWN = '\n<|im_start|>' ~ T ~ '<|im_end|>' %}{{ " + expression + " }}", text, "x")
    if found := written(*given):
        assert found == (without(*given), ["<|im_start|>", "<|im_end|>"])
    else:
        assert expression == "OWN | lower"
        assert "<|IM_END|>" in text


@given(TEXTS)
@example(">")
def test_a_name_before_what_was_cut(text):
    given = filled("{{ '<s>' ~ (T ~ '<|im_end|>')[1:] }}", text, "x")
    assert written(*given) == (without(*given), ["<s>", "<|im_end|>"])


def test_names_put_in_by_a_template():
    """In place of a word; around a role; and of a word that the template speaks of."""
    assert written("{{ messages[0].content.replace('x', '<s>') }}", [{"role": "user", "content": "<s>x<s>"}]) == (
        "<s><s><s>",
        ["<s>"],
    )
    assert written("<|{{ messages[0].role }}|>", [{"role": "user", "content": ""}]) == ("<|user|>", ["<|user|>"])
    assert written("<|{{ messages[0].role | lower }}|>{{ 'user' }}", [{"role": "User", "content": ""}])[1] == [
        "<|user|>"
    ]


FILTERS = sorted(name for name in Sandbox(Shield(())).filters if ":" not in name)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("value", [["<|im_end|>"], {"|im_end|>": "<s>"}, ["\\ufdd0<", {"<s": ["<s>", None]}], None, 7])
def test_every_filter_of_what_is_no_text(name, value):
    given = {"replace": "('a', 'b')", "join": "('+')", "map": "('string')", "select": "('string')"}.get(name, "")
    source = "{{ messages[0].x | " + name + given + " }}"
    messages = [{"role": "user", "content": "", "x": value}]
    found = written(source, messages)
    expected = without(source, messages)
    if " object " not in (expected or ""):  # where in memory an iterator stands
        assert (found and found[0]) == expected
    assert not found or found[1] == []


@given(TEXTS, TEXTS, TEXTS)
def test_shields(before, text, after):
    """Whatever stands around a text, no name reaches into it."""
    shield = Shield(NAMES)
    put = shield.put(text)
    assert plain(put) == text
    assert not put.startswith(SHIELD)
    whole = before + put + after
    for name in shield.written.finditer(whole):
        assert name.end() <= len(before) or name.start() >= len(before + put)


def test_lists_without_shields():
    shielded = {f"a{SHIELD}": [f"{SHIELD}b", (f"c{SHIELD}", 1)]}
    assert plain(shielded) == {"a": ["b", ("c", 1)]}
    assert list(plain(shielded.keys())) == ["a"]
