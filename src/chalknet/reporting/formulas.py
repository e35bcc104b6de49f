"""The formulas of docs/derivation.md by label, as LaTeX (for MathML) and as Typst math (for the PDF).

The LaTeX is the derivation's own, and a test holds it to that; the Typst beside it says the same in the other language.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LETTER = re.compile(r"([A-Za-z])(?:_([A-Za-z0-9]))?")


@dataclass(frozen=True)
class Formula:
    """One formula in both languages."""

    latex: str
    typst: str


FORMULAS = {
    # softmax
    "S1": Formula(
        r"p_k = \frac{e^{o_k}}{\sum_j e^{o_j}}",
        "p_k = e^(o_k) / (sum_j e^(o_j))",
    ),
    "S2": Formula(
        r"p_k = \frac{e^{o_k - m}}{\sum_j e^{o_j - m}}, \qquad m = \max_j o_j",
        "p_k = e^(o_k - m) / (sum_j e^(o_j - m)), wide m = max_j o_j",
    ),
    "S3": Formula(
        r"\log p_k = (o_k - m) - \log \sum_j e^{o_j - m}",
        "log p_k = (o_k - m) - log sum_j e^(o_j - m)",
    ),
    "S4": Formula(
        r"\frac{\partial p_k}{\partial o_i} = \frac{\delta_{ki} e^{o_k} Z - e^{o_k} e^{o_i}}{Z^2}"
        r" = p_k (\delta_{ki} - p_i)",
        "(partial p_k) / (partial o_i) = (delta_(k i) e^(o_k) Z - e^(o_k) e^(o_i)) / Z^2 = p_k (delta_(k i) - p_i)",
    ),
    "S5": Formula(
        r"\frac{\partial L}{\partial o_i} = \sum_k \frac{\partial L}{\partial p_k} p_k (\delta_{ki} - p_i)"
        r" = p_i \Bigl( \frac{\partial L}{\partial p_i} - \sum_k \frac{\partial L}{\partial p_k} p_k \Bigr)",
        "(partial L) / (partial o_i) = sum_k (partial L) / (partial p_k) p_k (delta_(k i) - p_i)"
        " = p_i lr(((partial L) / (partial p_i) - sum_k (partial L) / (partial p_k) p_k))",
    ),
    # cross-entropy
    "L1": Formula(
        r"\ell_b = -\sum_k Y_{bk} \log p_{bk} = -\log p_{b, y_b}",
        "ell_b = -sum_k Y_(b k) log p_(b k) = -log p_(b, y_b)",
    ),
    "L2": Formula(
        r"L = \frac{1}{B} \sum_b \ell_b"
        r" = -\frac{1}{B} \sum_b \bigl( \log \mathrm{softmax}(o_b) \bigr)_{y_b}",
        'L = 1 / B sum_b ell_b = -1 / B sum_b (log upright("softmax")(o_b))_(y_b)',
    ),
    "L3": Formula(
        r"\frac{\partial \ell}{\partial o_k} = -Y_k + \frac{e^{o_k}}{\sum_j e^{o_j}} = p_k - Y_k",
        "(partial ell) / (partial o_k) = -Y_k + e^(o_k) / (sum_j e^(o_j)) = p_k - Y_k",
    ),
    "L4": Formula(
        r"\frac{\partial L}{\partial o} = \frac{1}{B} (p - Y)",
        "(partial L) / (partial o) = 1 / B (p - Y)",
    ),
    # dense layer
    "A1": Formula(
        r"h = x W^\top + b, \qquad h_{bo} = \sum_i x_{bi} W_{oi} + b_o",
        "h = x W^top + b, wide h_(b o) = sum_i x_(b i) W_(o i) + b_o",
    ),
    "A2": Formula(
        r"\frac{\partial L}{\partial x_{bi}} = \sum_o D_{bo} W_{oi}, \qquad \frac{\partial L}{\partial x} = D W",
        "(partial L) / (partial x_(b i)) = sum_o D_(b o) W_(o i), wide (partial L) / (partial x) = D W",
    ),
    "A3": Formula(
        r"\frac{\partial L}{\partial W_{oi}} = \sum_b D_{bo} x_{bi}, \qquad"
        r" \frac{\partial L}{\partial W} = D^\top x",
        "(partial L) / (partial W_(o i)) = sum_b D_(b o) x_(b i), wide (partial L) / (partial W) = D^top x",
    ),
    "A4": Formula(
        r"\frac{\partial L}{\partial b_o} = \sum_b D_{bo}",
        "(partial L) / (partial b_o) = sum_b D_(b o)",
    ),
    # relu
    "R1": Formula(
        r"g = \max(h, 0)",
        "g = max(h, 0)",
    ),
    "R2": Formula(
        r"\frac{\partial L}{\partial h} = \frac{\partial L}{\partial g} \text{ where } h > 0,"
        r" \quad 0 \text{ elsewhere}",
        '(partial L) / (partial h) = (partial L) / (partial g) " where " h > 0, quad 0 " elsewhere"',
    ),
    # the network
    "N1": Formula(
        r"h = x W_h^\top + b_h, \qquad g = \max(h, 0), \qquad o = g W_o^\top + b_o, \qquad p = \mathrm{softmax}(o)",
        'h = x W_h^top + b_h, wide g = max(h, 0), wide o = g W_o^top + b_o, wide p = upright("softmax")(o)',
    ),
    "N2": Formula(
        r"\frac{\partial L}{\partial o} = p - Y, \qquad"
        r" \frac{\partial L}{\partial W_o} = \Bigl(\frac{\partial L}{\partial o}\Bigr)^{\!\top} g, \qquad"
        r" \frac{\partial L}{\partial b_o} = \sum_b \Bigl(\frac{\partial L}{\partial o}\Bigr)_b, \qquad"
        r" \frac{\partial L}{\partial g} = \frac{\partial L}{\partial o} W_o",
        "(partial L) / (partial o) = p - Y, quad"
        " (partial L) / (partial W_o) = ((partial L) / (partial o))^top g, quad"
        " (partial L) / (partial b_o) = sum_b ((partial L) / (partial o))_b, quad"
        " (partial L) / (partial g) = (partial L) / (partial o) W_o",
    ),
    "N3": Formula(
        r"\frac{\partial L}{\partial h} = \frac{\partial L}{\partial g} \text{ where } h > 0, \text{ else } 0, \qquad"
        r" \frac{\partial L}{\partial W_h} = \Bigl(\frac{\partial L}{\partial h}\Bigr)^{\!\top} x, \qquad"
        r" \frac{\partial L}{\partial b_h} = \sum_b \Bigl(\frac{\partial L}{\partial h}\Bigr)_b",
        '(partial L) / (partial h) = (partial L) / (partial g) " where " h > 0, " else " 0, quad'
        " (partial L) / (partial W_h) = ((partial L) / (partial h))^top x, quad"
        " (partial L) / (partial b_h) = sum_b ((partial L) / (partial h))_b",
    ),
    "N4": Formula(
        r"\frac{\partial L}{\partial g^{(l)}} = \frac{\partial L}{\partial h^{(l+1)}} W^{(l+1)}",
        "(partial L) / (partial g^((l))) = (partial L) / (partial h^((l+1))) W^((l+1))",
    ),
    # initial weights
    "I1": Formula(
        r"W, b \sim \mathcal{N}\Bigl(0, \tfrac{2}{\text{fan-in} + \text{fan-out}}\Bigr), \qquad"
        r" \mathrm{sd} = \sqrt{\frac{2}{\text{fan-in} + \text{fan-out}}}",
        'W, b tilde cal(N) lr((0, 2 / ("fan-in" + "fan-out"))), wide upright("sd") = sqrt(2 / ("fan-in" + "fan-out"))',
    ),
    # update
    "U1": Formula(
        r"v \leftarrow m v + r \frac{\partial L}{\partial W}, \qquad W \leftarrow W - v",
        "v arrow.l m v + r (partial L) / (partial W), wide W arrow.l W - v",
    ),
    "U2": Formula(
        r"b \leftarrow b - r \frac{\partial L}{\partial b}",
        "b arrow.l b - r (partial L) / (partial b)",
    ),
    # what is reported
    "M1": Formula(
        r"\text{accuracy} = \frac{1}{N} \#\{ n : \arg\max_k o_{nk} = y_n \}",
        '"accuracy" = 1 / N \\#{ n : limits(op("arg max"))_k o_(n k) = y_n }',
    ),
    "M2": Formula(
        r"\text{printed} = -\frac{1}{B} \sum_b \sum_k p_{bk} \log(Y_{bk} + 10^{-20})"
        r" = -\log(10^{-20}) \Bigl( 1 - \frac{1}{B} \sum_b p_{b, y_b} \Bigr)",
        '"printed" = -1 / B sum_b sum_k p_(b k) log(Y_(b k) + 10^(-20))'
        " = -log(10^(-20)) lr((1 - 1 / B sum_b p_(b, y_b)))",
    ),
    # the gradient check
    "G1": Formula(
        r"\text{analytic} = \sum_i \frac{\partial L}{\partial w_i} u_i",
        '"analytic" = sum_i (partial L) / (partial w_i) u_i',
    ),
    "G2": Formula(
        r"\text{numeric} = \frac{L(w + \epsilon u) - L(w - \epsilon u)}{2 \epsilon}",
        '"numeric" = (L(w + epsilon.alt u) - L(w - epsilon.alt u)) / (2 epsilon.alt)',
    ),
    "G3": Formula(
        r"\text{gap} = \frac{|\text{analytic} - \text{numeric}|}{\max(|\text{analytic}|, |\text{numeric}|,"
        r" \text{floor})}",
        '"gap" = (|"analytic" - "numeric"|) / (max(|"analytic"|, |"numeric"|, "floor"))',
    ),
    "G4": Formula(
        r"\text{numeric} = \pm \frac{-3 L(w) + 4 L(w \pm \epsilon u) - L(w \pm 2 \epsilon u)}{2 \epsilon}",
        '"numeric" = plus.minus (-3 L(w) + 4 L(w plus.minus epsilon.alt u) - L(w plus.minus 2 epsilon.alt u))'
        " / (2 epsilon.alt)",
    ),
}

# Symbols of running text that are more than a letter with a subscript.
SYMBOLS = {
    "dL/do": Formula(r"\partial L / \partial o", "partial L \\/ partial o"),
    "dL/dg": Formula(r"\partial L / \partial g", "partial L \\/ partial g"),
    "dL/dh": Formula(r"\partial L / \partial h", "partial L \\/ partial h"),
    "dL/dx": Formula(r"\partial L / \partial x", "partial L \\/ partial x"),
    "dL/dW": Formula(r"\partial L / \partial W", "partial L \\/ partial W"),
    "dL/db": Formula(r"\partial L / \partial b", "partial L \\/ partial b"),
    "dL/dW_h": Formula(r"\partial L / \partial W_h", "partial L \\/ partial W_h"),
    "dL/db_h": Formula(r"\partial L / \partial b_h", "partial L \\/ partial b_h"),
    "dL/dW_o": Formula(r"\partial L / \partial W_o", "partial L \\/ partial W_o"),
    "dL/db_o": Formula(r"\partial L / \partial b_o", "partial L \\/ partial b_o"),
    "1/B": Formula("1 / B", "1 \\/ B"),
    "epsilon": Formula(r"\epsilon", "epsilon.alt"),
}


def symbol(name: str) -> Formula | None:
    """The symbol that `$name$` means in running text, if it means one."""
    letter = LETTER.fullmatch(name)
    if letter is None:
        return SYMBOLS.get(name)
    base, below = letter.groups()
    return Formula(name, name) if below else Formula(base, base)
