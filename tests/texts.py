"""Text made up for tests: three domains, the same every time."""

import numpy as np

_ZH = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行"
)
_SYLLABLES = ["ka", "lo", "mi", "ren", "to", "sul", "var", "en", "pi", "dor", "ash", "wen", "gra", "ul", "ster", "ing"]


def english(rng: np.random.Generator, words: int) -> str:
    """Sentences of made-up words, some numbers, some paragraphs."""
    out = []
    for _ in range(words):
        word = "".join(rng.choice(_SYLLABLES, rng.integers(1, 4)))
        out.append(str(rng.integers(0, 5000)) if rng.random() < 0.05 else word)
        out.append(rng.choice([" ", " ", " ", " ", ", ", ". ", ".\n\n"]))
    return "".join(out).strip()


def chinese(rng: np.random.Generator, characters: int) -> str:
    """Characters in clauses and sentences."""
    out = []
    for _ in range(characters // 8):
        out.append("".join(rng.choice(list(_ZH), 7)))
        out.append(rng.choice(["，", "。", "。\n"]))
    return "".join(out)


def code(rng: np.random.Generator, lines: int) -> str:
    """Functions, half of them indented with tabs."""
    indent = "\t" if rng.random() < 0.5 else "    "
    out = []
    for i in range(lines):
        name = "_".join(rng.choice(_SYLLABLES, 2))
        depth = 0 if i % 5 == 0 else int(rng.integers(1, 4))
        out.append(f"def {name}(self):" if depth == 0 else f"{indent * depth}{name} = {rng.integers(0, 99)}  # {name}")
    return "\n".join(out) + "\n"


def corpus(seed: int = 0, documents: int = 60) -> list[tuple[str, str]]:
    """(domain, text) of documents of very different lengths."""
    rng = np.random.default_rng(seed)
    makers = {"en": english, "zh": chinese, "code": code}
    sizes = {"en": 200, "zh": 300, "code": 30}
    made = []
    for i in range(documents):
        domain = ("en", "code", "en", "zh")[i % 4]
        made.append((domain, makers[domain](rng, 8 + int(rng.exponential(sizes[domain])))))
    return made
