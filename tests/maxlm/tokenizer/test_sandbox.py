"""Templates of others: what tries to get out, to go on for ever or to grow without bounds ends in an error."""

import time

import pytest
from jinja2 import TemplateError

from maxlm.tokenizer.sandbox import BEGIN, END, Sandbox, UnsafeTemplateError

MESSAGES = [{"role": "user", "content": "hello"}]


def rendered(source, **values):
    sandbox = Sandbox()
    return sandbox.rendered(sandbox.compiled(source), {"messages": MESSAGES, **values})


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for m in messages %}\n{{ m.role ~ ': ' ~ m['content'] }}\n{% endfor %}", "user: hello\n"),
        ("{%- for i in range(9) %}{% if i > 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "012"),
        ("{% set ns = namespace(n=1) %}{% for i in [1, 2] %}{% set ns.n = ns.n * 3 %}{% endfor %}{{ ns.n }}", "9"),
        ("{{ {'ü': [1, '<']} | tojson }}", '{"ü": [1, "<"]}'),
        ("{{ messages[0].content | upper | trim }}{{ '%s-%03d' % ('a', 7) }}", "HELLOa-007"),
        ("{{ 'a,b'.split(',') | join('+') }}{{ '{}!'.format(1) }}", "a+b1!"),
        ("{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}{{ loop.last }}{% endfor %}", "x1True"),
        (
            "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(1) }}{{ messages | map(attribute='role') | list }}",
            "<1>['user']",
        ),
        ("{% for m in messages if m.role == 'tool' %}x{% else %}none{% endfor %}{{ missing }}", "none"),
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
    ],
)
def test_no_loop_without_end_and_no_output_without_bounds(source):
    began = time.process_time()
    with pytest.raises((UnsafeTemplateError, RecursionError)):
        rendered(source, width=10**9)
    assert time.process_time() - began < 5
