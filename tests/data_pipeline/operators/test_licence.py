import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.licence import LicenceHeader
from tests.data_pipeline.operators.drafts import edit

APACHE = """Copyright 2020 The Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
"""


def commented(text, mark):
    return "".join(f"{mark} {line}".rstrip() + "\n" for line in text.splitlines())


def in_block(text, opening, inner, closing):
    return f"{opening}\n{commented(text, inner)}{closing}\n"


@pytest.mark.parametrize(
    "header",
    [
        commented(APACHE, "#"),
        commented(APACHE, "//"),
        commented(APACHE, "--"),
        in_block(APACHE, "/*", " *", " */"),
        in_block(APACHE, "<!--", "", "-->"),
        "/* Copyright (c) 2019, Jane Doe. All rights reserved. */\n",
        "// SPDX-License-Identifier: MIT\n",
    ],
)
def test_headers_go(header):
    code = "import x\n\n# about y\ny = x\n"
    assert edit(LicenceHeader(), f"{header}\n{code}") == (code, {"licence": 1})
    assert edit(LicenceHeader(), f"{header}{code}") == (code, {"licence": 1})


def test_what_else_a_comment_says_stays():
    text = f"#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n{commented(APACHE, '#')}#\n# Sorts things.\n\nx = 1\n"
    made, counts = edit(LicenceHeader(), text)
    assert made == "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n#\n# Sorts things.\n\nx = 1\n"
    assert counts == {"licence": 1}


def test_a_block_comment_stays_one():
    text = in_block(f"Sorts things.\n\n{APACHE}", "/*", " *", " */") + "int x;\n"
    assert edit(LicenceHeader(), text)[0] == "/*\n * Sorts things.\n *\n */\nint x;\n"
    text = "/* Copyright 2020 Jane Doe.\n *\n * Sorts things.\n */\nint x;\n"
    assert edit(LicenceHeader(), text)[0] == "/*\n *\n * Sorts things.\n */\nint x;\n"
    text = "/* Sorts things.\n *\n * Copyright 2020 Jane Doe. */\nint x;\n"
    assert edit(LicenceHeader(), text)[0] == "/* Sorts things.\n *\n */\nint x;\n"


def test_several_notices():
    text = f"// Copyright 2019 A.\n\n{in_block(APACHE, '/*', ' *', ' */')}\nint x;\n"
    assert edit(LicenceHeader(), text) == ("int x;\n", {"licence": 2})


@pytest.mark.parametrize(
    "text",
    [
        "# Finds copyright notices in files.\nx = 1\n",
        "x = 1\n# Copyright 2020 The Authors.\n",
        'NOTICE = "Copyright 2020 The Authors"\n',
        "// Sorts things.\nint x;\n",
        "/* never closed, Copyright 2020 Jane\nint x;\n",
        "",
    ],
)
def test_other_beginnings_stay(text):
    assert edit(LicenceHeader(), text)[0] == text


PIECES = st.sampled_from(
    "/*| */|*|//|#|# Copyright 2020 A.| * Copyright 2020 A.|/* © */||# x| * x|x = 1|#!a|<!--|-->".split("|")
)


@given(st.lists(PIECES, max_size=12).map("\n".join) | st.text())
def test_once_is_enough(text):
    once = edit(LicenceHeader(), text)[0]
    twice, counts = edit(LicenceHeader(), once)
    assert twice == once
    assert not any(counts.values())
