"""Templates of others: what tries to get out, to go on for ever or to grow without bounds ends in an error."""

import json
import re
import time
import tracemalloc

import pytest
from jinja2 import TemplateError

from maxlm.tokenizer.marks import BEGIN, END
from maxlm.tokenizer.meter import UnsafeTemplateError
from maxlm.tokenizer.sandbox import Sandbox
from maxlm.tokenizer.shield import Shield, plain

# A list that holds itself twice, sixty times over: two of them, which are equal.
DOUBLED = (
    "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
    "{% for i in range(60) %}{% set n.y = [n.y, n.y] %}{% endfor %}"
)
# Tuples in tuples, too deep for Python to hash; a macro, and a great many named arguments.
NESTED = (
    "{% set n = namespace(x=(1,)) %}{% for i in range(4500) %}{% set n.x = "
    + "(" * 40 + "n.x" + ",)" * 40
    + " %}{% endfor %}"
)  # fmt: skip
MANY = (
    "{% macro f() %}{{ kwargs | length }}{% endmacro %}{% set d = {"
    + ",".join(f"'k{i}': 1" for i in range(500))
    + "} %}"
)
NAMES = [f"<|reserved_special_token_{number}|>" for number in range(256)] + ["<s>", "<|im_start|>", "<|im_end|>", "x>"]
MESSAGES = [{"role": "user", "content": "hello"}]


def rendered(source, **values):
    sandbox = Sandbox(Shield(NAMES))
    return plain(sandbox.rendered(sandbox.compiled(source), {"messages": MESSAGES, **values}))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for m in messages %}\n{{ m.role ~ ': ' ~ m['content'] }}\n{% endfor %}", "user: hello\n"),
        ("{%- for i in range(9) %}{% if i > 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "012"),
        ("{% set ns = namespace(n=1) %}{% for i in [1, 2] %}{% set ns.n = ns.n * 3 %}{% endfor %}{{ ns.n }}", "9"),
        ("{{ {'ü': [1, '<']} | tojson }}", '{"ü": [1, "<"]}'),
        ("{{ {'b': 1, 'a': [2]} | tojson(separators=(',', ':'), sort_keys=true) }}", '{"a":[2],"b":1}'),
        ("{{ '😀\x7f\u2028~ü' | tojson(ensure_ascii=true) }}", json.dumps("😀\x7f\u2028~ü")),
        ("{{ {'ü': [1]} | tojson(indent=1, ensure_ascii=true) }}", '{\n "\\u00fc": [\n  1\n ]\n}'),
        ("{{ messages[0].content | upper | trim }}{{ 7 % 4 }}", "HELLO3"),
        ("{{ 'a,b'.split(',') | join('+') }}{{ ['a', 1, 'b'] | join }}{{ '-'.join(['a', 'b']) }}", "a+ba1ba-b"),
        (
            "{{ 'aXbX'.replace('X', '--') }}{{ 'aXbX' | replace('X', '', 1) }}{{ 'ab'.replace('', '.') }}",
            "a--b--abX.a.b.",
        ),
        ("{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}{{ loop.last }}{% endfor %}", "x1True"),
        (
            "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(1) }}{{ messages | map(attribute='role') | list }}",
            "<1>['user']",
        ),
        ("{% for m in messages if m.role == 'tool' %}x{% else %}none{% endfor %}{{ missing }}", "none"),
        ("{{ 'a\nb' | indent }}{{ 'a\n\nb' | indent(1, first=true) }}", "a\n    b a\n\n b"),
        ("a{% generation %}{{ 'b' }}{% endgeneration %}c", f"a{BEGIN}b{END}c"),
    ],
)
def test_what_chat_templates_use(source, text):
    assert rendered(source) == text


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__init__.__globals__ }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ (messages | attr('__class__')).mro() }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% do messages.append(1) %}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum() }}",
        "{{ self._TemplateReference__context }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ open('/etc/passwd').read() }}",
        "{{ '{}'.format(messages) }}",
        "{{ '%s' % messages }}",
        "{{ messages | pprint }}",
        "{{ messages | map('attr', '__class__') | list }}",
    ],
)
def test_no_way_out(source):
    try:
        text = rendered(source)
    except (TemplateError, UnsafeTemplateError, AttributeError, TypeError, KeyError):
        return
    assert text == ""  # what the sandbox hides is undefined, and writes nothing


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% for x in [[]] recursive %}{{ loop([[], []]) }}{% endfor %}",
        "{% for a in messages * 900 %}{% for b in messages * 900 %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10**9 }}",
        "{{ [1] * 10**9 }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ 'x'.center(1000000000) }}",
        "{{ 'x'.ljust(width) }}",
        "{{ '%01000000000d' % 1 }}",
        "{{ '%01000000000d' | format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 9 ** (9 ** 9) }}",
        "{% set n = namespace(x=7) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x.replace('a', n.x) %}{% endfor %}",
        "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x | replace('a', n.x) %}{% endfor %}",
        "{% set x = 'x' * 3000 %}{{ x | list | join(x * 1000) }}",
        "{% set x = 'x' * 3000 %}{{ (x * 1000).join(x) }}",
        "{% for i in range(90000) %}{{ 'x' * 1000 }}{% endfor %}",
        "x" * 300_000,
        "{% for i in range(9) %}{{ range(99999) | map('string') | sort | join | length }}{% endfor %}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ ('%(a)999999d' * 100000) % {'a': 1} }}",
        "{{ '{:{w}}'.format(1, w=10**9) }}",
        "{{ ([text] * 1000) | join }}",
        "{{ ''.join([text] * 1000) }}",
        "{{ ('a\n' * 10**5) | indent(100000) }}",
        DOUBLED + "{{ n.x }}",
        DOUBLED + "{{ n }}",
        DOUBLED + "{{ n.x | string }}",
        DOUBLED + "{{ n.x | tojson }}",
        DOUBLED + "{{ n.x ~ '' }}",
        DOUBLED + "{{ n.x == n.y }}",
        DOUBLED + "{{ n.x in [n.y] }}",
        DOUBLED + "{{ [n.x, n.y] | sort }}",
        DOUBLED + "{{ [n.x, n.y] | select('==', n.x) | list }}",
        DOUBLED + "{{ [n.x].index(n.y) }}",
        DOUBLED.replace("[n.x, n.x]", "(n.x, n.x)") + "{{ {n.x: 1} }}",
        DOUBLED.replace("[n.x, n.x]", "(n.x, n.x)") + "{{ {}[n.x] }}",
        DOUBLED.replace("[n.x, n.x]", "(n.x, n.x)") + "{{ {}.get(n.x) }}",
        DOUBLED.replace("[n.x, n.x]", "(n.x, n.x)") + "{{ dict([(n.x, 1)]) }}",
        "{% for i in range(90000) %}{% set x = text[::-1] %}{% endfor %}",
        "{% for i in range(90000) %}{% set x = 'a' in text %}{% endfor %}",
        "{% for i in range(90000) %}{% set x = text.upper() %}{% endfor %}",
        "{% set x = [1] * 10**6 %}{% for i in range(90000) %}{% set y = 2 in x %}{% endfor %}",
        "{% set x %}{% for i in range(99999) %}" + "x" * 100_000 + "{% endfor %}{% endset %}",
        "{% for a in range(99999) %}" + "{% set b = a %}" * 9000 + "{% endfor %}",
        "{% macro f() %}" + "{% set b = 1 %}" * 9000 + "{% endmacro %}{% for a in range(9999) %}{% set c = f() %}"
        "{% endfor %}",
        "".join("{% for i in [" + "1," * 900 + "] %}" for _ in range(3)) + "{% endfor %}" * 3,
        "{{ 0 | counted(-9) }}{{ 0 | turns(-10**9) }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(300) %}{% set n.x = [n.x] %}{% endfor %}"
        "{{ ([n.x] * 99) | tojson(indent=16) }}",
        "{{ 1 | tojson(indent=' ' * 10**6) }}",
        "{{ [1, 2] | tojson(separators=(' ' * 10**6, ':')) }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(30000) %}{% set n.x = n.x | map('string') %}{% endfor %}"
        "{{ n.x | first + range(99999) | join }}",
        NESTED + "{% set d = {n.x: 1} %}",
        NESTED + "{% set d = {}[n.x] %}",
        NESTED + "{% set d = [{}] | map(attribute=n.x) | list %}",
        NESTED + "{% set d = [{}] | map(n.x) | list %}",
        NESTED + "{% set d = [{}] | selectattr(n.x) | list %}",
        MANY + "{% for i in range(20000) %}{% set x = f(**d) %}{% endfor %}",
        MANY + "{% for i in range(20000) %}{% set x = namespace(**d) %}{% endfor %}",
        "{% macro f() %}{{ varargs | length }}{% endmacro %}{% set x = range(99999) | list %}"
        "{% for i in range(9999) %}{% set z = f(*x) %}{% endfor %}",
        "{% set x = 2 ** 63 %}{% set x = x ** 64 %}{% set y = [x] * 9000 %}{{ y | join | length }}",
        "{% for i in range(9) %}{% set x = ('a ' * 1500000) | title %}{% endfor %}",
        "{{ ('a' * 3000000).rfind('ab' + 'a' * 900000) }}",
        "{{ ('a' * 3000000).rpartition('ab' + 'a' * 900000) | length }}",
        "{{ ('a' * 3000000).strip('b' * 900000 + 'a') }}",
        "{{ ('a' * 3000000) | trim('b' * 900000 + 'a') }}",
        "{{ range(999) | map(attribute='a.' * 200000, default={}) | list | length }}",
        "{{ ([{}] * 999) | sort(attribute='a,' * 200000) | length }}",
        "{{ ([{}] * 999) | selectattr('a.' * 200000) | list | length }}",
        "{% for i in range(60000) %}{% if 0.5 in range(99999) %}{% endif %}{% endfor %}",
        "{% for i in range(60000) %}{% set x = i ~ 'b' in '" + "a" * 150_000 + "' %}{% endfor %}",
    ],
)  # fmt: skip
def test_no_loop_without_end_and_no_output_without_bounds(source):
    began = time.process_time()
    loops = [int(count) for count in re.findall(r"range\((\d+)\)", source)]
    tracing = (
        max(loops, default=0) < 9000 and "macro" not in source and len(source) < 10_000
    )  # which slows down what is long by itself
    if tracing:
        tracemalloc.start()
    try:
        with pytest.raises((UnsafeTemplateError, TemplateError, RecursionError)):
            rendered(source, width=10**9, text="x" * 4_000_000)
        assert not tracing or tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 5


def test_what_no_template_asks_for():
    with pytest.raises(TypeError, match="unexpected keyword argument 'default'"):
        rendered("{{ 1 | tojson(default=2) }}")


# In the manner of templates that are in use: tools, thoughts, checks of roles, parts of contents.
TOOLS = """\
{%- macro text_of(content) -%}
{%- if content is string %}{{ content }}{% elif content is iterable and content is not mapping -%}
{%- for part in content %}{{ part.text if part is mapping and part.type == 'text' else part }}{% endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(last=-1) -%}
{%- set users = messages | selectattr('role', 'equalto', 'user') | list -%}
{%- for m in messages[::-1] %}{% if m.role == 'user' and ns.last < 0 %}
{%- set ns.last = messages | length - 1 - loop.index0 %}{% endif %}{% endfor -%}
{%- for m in messages -%}
{%- set content = text_of(m.content) -%}
{%- if m.role == 'assistant' and '</think>' in content and loop.index0 < ns.last -%}
{%- set content = content.split('</think>')[-1].lstrip('\\n') -%}
{%- endif -%}
{%- if tools and m == users[-1] %}{% for tool in tools %}{{ tool | tojson(indent=4) }}{% endfor %}{% endif -%}
{{ '<' ~ m['role'] ~ '>' ~ content | trim }}
{%- for call in m.tool_calls or [] -%}
{%- for key, value in call.arguments | dictsort -%}
{{ key }}={{ value if value is string else value | tojson }};
{%- endfor -%}
{%- for key, value in call.arguments.items() if key not in ['a'] %}{{ key | upper }}{% endfor -%}
{%- endfor -%}
{{ '' if loop.last else '|' }}
{%- endfor -%}"""


def test_a_long_chat_stays_within_bounds():
    turns = [{"role": "user", "content": [{"type": "text", "text": "q" * 500}]}]
    turns += [{"role": "assistant", "content": "<think>x</think>\n" + "a" * 500}] * 1
    call = {"role": "assistant", "content": "", "tool_calls": [{"arguments": {"b": [1], "a": "x"}}]}
    text = rendered(TOOLS, messages=[*turns * 300, MESSAGES[0], call], tools=[{"name": "f"}])
    assert text.startswith(f"<user>{'q' * 500}|<assistant>{'a' * 500}|<user>")
    assert text.endswith('{\n    "name": "f"\n}<user>hello|<assistant>a=x;b=[1];B')
