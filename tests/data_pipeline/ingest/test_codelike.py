import json
import textwrap
from pathlib import Path

import pytest

import data_pipeline.engine
from data_pipeline.ingest.codelike import code_share

RUST = """
use std::collections::HashMap;

// Counts words.
pub fn count(text: &str) -> HashMap<&str, usize> {
    let mut found = HashMap::new();
    for word in text.split_whitespace() {
        *found.entry(word).or_insert(0) += 1;
    }
    found
}
"""
C = """
#include <stdio.h>

/* The usual
   greeting. */
int main(void) {
    for (int i = 0; i < 3; i++) {
        printf("hello\\n");
    }
    return 0;
}
"""
JAVASCRIPT = """
const sum = (a, b) => a + b;
export function total(list) {
  let all = 0;
  list.forEach((x) => { all = sum(all, x); });
  return all;
}
"""
PROSE = """
The committee (which met in spring; see below) has three members: a chair, a clerk and a guest.
It reads: "what is not written (or said) is not decided".
They were: Anna, the chair; Ben, the clerk; and, now and then, someone else (see note 3).
"""
MARKDOWN = """
# Counting

To count, write:

```python
found = {}
for word in text.split():
    found[word] = found.get(word, 0) + 1
```

That is all.
"""
TEX = r"""
\begin{theorem}\label{thm:main}
Let $f \colon X \to Y$ be continuous; then $f(K)$ is compact if $K$ is.
\end{theorem}
\begin{proof}
Take an open cover $\{U_i\}$; the sets $f^{-1}(U_i)$ cover $K$.
\end{proof}
"""
JSON = json.dumps({"name": "x", "list": [1, 2, 3], "more": {"a": "b"}}, indent=2)


@pytest.mark.parametrize("text", [RUST, C, JAVASCRIPT, Path(data_pipeline.engine.__file__).read_text(encoding="utf-8")])
def test_code(text):
    assert code_share(text) > 0.5


@pytest.mark.parametrize("text", [PROSE, MARKDOWN, TEX, JSON, "", "x = 1", "他说：“好（当然）；那就这样。”\n" * 5])
def test_not_code(text):
    assert code_share(text) < 0.5


def test_a_question_with_a_little_code_is_no_code():
    question = textwrap.fill("How do I count the words of a text that does not fit into memory? " * 8, 1000)
    assert code_share(f"{question}\n{RUST}") < 0.5 < code_share(RUST)
