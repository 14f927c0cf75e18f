"""Formulas go through everything that edits a text, byte for byte."""

import re

import pytest

from data_pipeline.operators.base import Draft, Edit
from data_pipeline.operators.chinese import ChineseScript
from data_pipeline.operators.normalise import Normalise
from data_pipeline.operators.table import OPERATORS, build

LATEX = [
    r"$e^{i\pi} + 1 = 0$",
    r"\[ \int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2} \]",
    r"$$\sum_{n=1}^{\infty} \frac{1}{n^2} = \frac{\pi^2}{6}$$",
    r"$\|x\|_2 \leq \|x\|_1,\ \forall x \in \mathbb{R}^n$",
    "\\begin{align*}\n  a &= b + c \\\\\n  d &= e^{f}\\ \n\\end{align*}",
    r"\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}",
    r"$\langle x, y \rangle = \overline{\langle y, x \rangle}$",
    r"设 $f\colon X\to Y$ 连续，则 $f^{-1}(U)$ 开。",
    r"$\text{面积} = \pi r^2$，其中 $r>0$",
    r"$10^{-3} < 0.001\,000\,1 < 1.5\times 10^{-2}$",
]
UNICODE = [
    "∀ε>0 ∃δ>0: |x−a|<δ ⇒ |f(x)−f(a)|<ε",
    "x² + y³ − z⁻¹ ≤ ½·√2 ≠ ∞",
    "H₂O, CO₂, a₁, aᵢ, xⁿ, ℏω, 10⁻³⁴ J·s",
    "ℝ ⊂ ℂ, ℵ₀ < 2^ℵ₀, 𝑓: 𝔸→𝔹, 𝐱ᵀ𝐀𝐱, ∂u/∂t = Δu",
    "⟨ψ|φ⟩ 〈a,b〉 ⌊x⌋ ⌈y⌉ ‖v‖ ∑ᵢ aᵢ ∏ⱼ bⱼ ∮ ∇·F",
    "f\u2061(x) = a\u2062b, x\u2063y",
    "x̂, ȳ, v⃗, A̅ and ẋ",
    "∩︀ with a selector",
    "‰ ° ′ ″ ± × ÷ Å Ω µ",
    "a ≡ b (mod n), n! = 1·2·…·n",
    "2 × 3 = 6; 3.14159; 1,000,000; 1/2 + 1/3 = 5/6",
]
MATHML = [
    "<math><mrow><msup><mi>x</mi><mn>2</mn></msup><mo>&#x2062;</mo><mi>y</mi></mrow></math>",
    '<math xmlns="http://www.w3.org/1998/Math/MathML"><mfrac><mn>1</mn><mn>2</mn></mfrac><mo>≤</mo><mi>α</mi></math>',
]
FORMULAS = [*LATEX, *UNICODE, *MATHML]
EDITS = [(name, build(name, {}, "here")) for name, kind in OPERATORS.items() if issubclass(kind, Edit)]
VARIANTS = [("NFKC", Normalise("NFKC")), *((to, ChineseScript(to)) for to in ("simplified", "traditional"))]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(
    "operator", [operator for _, operator in EDITS + VARIANTS], ids=[name for name, _ in EDITS + VARIANTS]
)
def test_formulas_stay(operator, formula):
    assert isinstance(operator, Edit)
    if isinstance(operator, ChineseScript):  # words around and in a formula are its business
        formula = re.sub("[\u4e00-\u9fff]", "", formula)
    for text in (formula, f"As we saw,\n\n{formula}\n\nholds for all of them, and that was to be shown."):
        assert operator.edit(Draft(text))[0] == text
