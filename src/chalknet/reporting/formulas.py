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
    # other activations
    "R3": Formula(
        r"g = \begin{cases} h & h > 0 \\ 0.01\, h & \text{elsewhere} \end{cases}",
        'g = cases(h quad & h > 0, 0.01 h quad & "elsewhere")',
    ),
    "R4": Formula(
        r"\frac{\partial L}{\partial h} = \frac{\partial L}{\partial g} \text{ where } h > 0, \quad 0.01 "
        r"\frac{\partial L}{\partial g} \text{ elsewhere}",
        '(partial L) / (partial h) = (partial L) / (partial g) " where " h > 0, quad 0.01 (partial L) / '
        '(partial g) " elsewhere"',
    ),
    "R5": Formula(
        r"g = \tanh(h) = \frac{e^h - e^{-h}}{e^h + e^{-h}}",
        "g = tanh(h) = (e^h - e^(-h)) / (e^h + e^(-h))",
    ),
    "R6": Formula(
        r"\frac{\partial L}{\partial h} = \frac{\partial L}{\partial g} (1 - g^2)",
        "(partial L) / (partial h) = (partial L) / (partial g) (1 - g^2)",
    ),
    "R7": Formula(
        r"g = \frac{h}{2} (1 + t), \qquad t = \tanh(u), \qquad u = \sqrt{2 / \pi}\, (h + 0.044715\, h^3)",
        "g = h / 2 (1 + t), wide t = tanh(u), wide u = sqrt(2 \\/ pi) (h + 0.044715 h^3)",
    ),
    "R8": Formula(
        r"\frac{\partial L}{\partial h} = \frac{\partial L}{\partial g} \Bigl( \frac{1 + t}{2} + "
        r"\frac{h}{2} (1 - t^2) \sqrt{2 / \pi}\, (1 + 0.134145\, h^2) \Bigr)",
        "(partial L) / (partial h) = (partial L) / (partial g) lr(((1 + t) / 2 + h / 2 (1 - t^2) sqrt(2 "
        "\\/ pi) (1 + 0.134145 h^2)))",
    ),
    # batch normalisation
    "B1": Formula(
        r"\mu = \frac{1}{B} \sum_b h_b, \qquad s^2 = \frac{1}{B} \sum_b (h_b - \mu)^2",
        "mu = 1 / B sum_b h_b, wide s^2 = 1 / B sum_b (h_b - mu)^2",
    ),
    "B2": Formula(
        r"z_b = \frac{h_b - \mu}{\sqrt{s^2 + \epsilon}}",
        "z_b = (h_b - mu) / sqrt(s^2 + epsilon.alt)",
    ),
    "B3": Formula(
        r"n_b = \gamma z_b + b",
        "n_b = gamma z_b + b",
    ),
    "B4": Formula(
        r"\frac{\partial L}{\partial \gamma} = \sum_b \frac{\partial L}{\partial n_b} z_b, \qquad "
        r"\frac{\partial L}{\partial b} = \sum_b \frac{\partial L}{\partial n_b}",
        "(partial L) / (partial gamma) = sum_b (partial L) / (partial n_b) z_b, wide (partial L) / "
        "(partial b) = sum_b (partial L) / (partial n_b)",
    ),
    "B5": Formula(
        r"\frac{\partial L}{\partial h_c} = \frac{\gamma}{\sqrt{s^2 + \epsilon}} \Bigl( \frac{\partial "
        r"L}{\partial n_c} - \frac{1}{B} \frac{\partial L}{\partial b} - \frac{1}{B} z_c \frac{\partial "
        r"L}{\partial \gamma} \Bigr)",
        "(partial L) / (partial h_c) = gamma / sqrt(s^2 + epsilon.alt) lr(((partial L) / (partial n_c) - "
        "1 / B (partial L) / (partial b) - 1 / B z_c (partial L) / (partial gamma)))",
    ),
    "B6": Formula(
        r"m \leftarrow 0.9\, m + 0.1\, \mu, \qquad v \leftarrow 0.9\, v + 0.1\, \frac{B}{B - 1} s^2",
        "m arrow.l 0.9 m + 0.1 mu, wide v arrow.l 0.9 v + 0.1 B / (B - 1) s^2",
    ),
    # dropout
    "D1": Formula(
        r"d = g \cdot k, \qquad k = 0 \text{ with probability } q, \text{ else } \frac{1}{1 - q}",
        'd = g dot k, wide k = 0 " with probability " q, " else " 1 / (1 - q)',
    ),
    "D2": Formula(
        r"\frac{\partial L}{\partial g} = \frac{\partial L}{\partial d} \cdot k",
        "(partial L) / (partial g) = (partial L) / (partial d) dot k",
    ),
    # soft targets and weights
    "L5": Formula(
        r"L = -\frac{1}{B} \sum_b w_b \sum_k T_{bk} \log \mathrm{softmax}(o_b)_k",
        'L = -1 / B sum_b w_b sum_k T_(b k) log upright("softmax")(o_b)_k',
    ),
    "L6": Formula(
        r"\frac{\partial L}{\partial o_b} = \frac{1}{B} w_b (p_b - T_b)",
        "(partial L) / (partial o_b) = 1 / B w_b (p_b - T_b)",
    ),
    "L7": Formula(
        r"T_{bk} = (1 - \epsilon) Y_{bk} + \frac{\epsilon}{K}",
        "T_(b k) = (1 - epsilon.alt) Y_(b k) + epsilon.alt / K",
    ),
    "L8": Formula(
        r"x = \lambda x_1 + (1 - \lambda) x_2, \qquad T = \lambda T_1 + (1 - \lambda) T_2",
        "x = lambda x_1 + (1 - lambda) x_2, wide T = lambda T_1 + (1 - lambda) T_2",
    ),
    # the penalty on weights
    "P1": Formula(
        r"\text{penalty} = \frac{\lambda}{2} \sum W^2",
        '"penalty" = lambda / 2 sum W^2',
    ),
    "P2": Formula(
        r"\frac{\partial\, \text{penalty}}{\partial W} = \lambda W",
        '(partial "penalty") / (partial W) = lambda W',
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
    "I2": Formula(
        r"W \sim \mathcal{U}(-a, a), \qquad a = \sqrt{\frac{6}{\text{fan-in} + \text{fan-out}}}",
        'W tilde cal(U)(-a, a), wide a = sqrt(6 / ("fan-in" + "fan-out"))',
    ),
    "I3": Formula(
        r"W \sim \mathcal{N}\Bigl(0, \tfrac{2}{\text{fan-in}}\Bigr)",
        'W tilde cal(N) lr((0, 2 / "fan-in"))',
    ),
    "I4": Formula(
        r"W \sim \mathcal{U}(-a, a), \qquad a = \sqrt{\frac{6}{\text{fan-in}}}",
        'W tilde cal(U)(-a, a), wide a = sqrt(6 / "fan-in")',
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
    "U3": Formula(
        r"v \leftarrow m v + r \frac{\partial L}{\partial w}, \qquad w \leftarrow w - \Bigl( m v + r "
        r"\frac{\partial L}{\partial w} \Bigr)",
        "v arrow.l m v + r (partial L) / (partial w), wide w arrow.l w - lr((m v + r (partial L) / (partial w)))",
    ),
    "U4": Formula(
        r"m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad s \leftarrow \beta_2 s + (1 - \beta_2) g^2",
        "m arrow.l beta_1 m + (1 - beta_1) g, wide s arrow.l beta_2 s + (1 - beta_2) g^2",
    ),
    "U5": Formula(
        r"w \leftarrow w - r \frac{m / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \epsilon}",
        "w arrow.l w - r (m \\/ (1 - beta_1^t)) / (sqrt(s \\/ (1 - beta_2^t)) + epsilon.alt)",
    ),
    "U6": Formula(
        r"W \leftarrow W - r \lambda W",
        "W arrow.l W - r lambda W",
    ),
    "U7": Formula(
        r"a \leftarrow d_t a + (1 - d_t) w, \qquad d_t = \min\Bigl( d, \frac{1 + t}{10 + t} \Bigr)",
        "a arrow.l d_t a + (1 - d_t) w, wide d_t = min lr((d, (1 + t) / (10 + t)))",
    ),
    "U8": Formula(
        r"g \leftarrow g \cdot \min\Bigl( 1, \frac{c}{|g|} \Bigr), \qquad |g|^2 = \sum_i g_i^2",
        "g arrow.l g dot min lr((1, c / (|g|))), wide |g|^2 = sum_i g_i^2",
    ),
    # learning rates over a training
    "E1": Formula(
        r"f = q^{\lfloor e / k \rfloor}",
        "f = q^floor(e \\/ k)",
    ),
    "E2": Formula(
        r"f = \tfrac{1}{2} \Bigl( 1 + \cos \frac{\pi u}{n} \Bigr)",
        "f = 1 / 2 lr((1 + cos (pi u) / n))",
    ),
    "E3": Formula(
        r"f = b + (a - b) \tfrac{1}{2} (1 + \cos \pi c)",
        "f = b + (a - b) 1 / 2 (1 + cos pi c)",
    ),
    "E4": Formula(
        r"f \leftarrow f \cdot \min\Bigl( 1, \frac{u + 1}{k} \Bigr)",
        "f arrow.l f dot min lr((1, (u + 1) / k))",
    ),
    # samples made ready
    "X1": Formula(
        r"q = R S Z p + t, \qquad R = \begin{pmatrix} \cos a & -\sin a \\ \sin a & \cos a \end{pmatrix}, "
        r"\quad S = \begin{pmatrix} 1 & 0 \\ s & 1 \end{pmatrix}, \quad Z = \begin{pmatrix} z_y & 0 \\ 0 "
        r"& z_x \end{pmatrix}",
        "q = R S Z p + t, wide R = mat(cos a, -sin a; sin a, cos a), quad S = mat(1, 0; s, 1), quad Z = "
        "mat(z_y, 0; 0, z_x)",
    ),
    "X2": Formula(
        r"v = (1 - f) \bigl( (1 - g) v_{00} + g v_{01} \bigr) + f \bigl( (1 - g) v_{10} + g v_{11} \bigr)",
        "v = (1 - f) ((1 - g) v_00 + g v_01) + f ((1 - g) v_10 + g v_11)",
    ),
    "X3": Formula(
        r"x = \frac{\text{raw} - m}{\sigma}, \qquad m = \frac{1}{N} \sum_n \text{raw}_n, \qquad \sigma^2 "
        r"= \frac{1}{N} \sum_n (\text{raw}_n - m)^2",
        'x = ("raw" - m) / sigma, wide m = 1 / N sum_n "raw"_n, wide sigma^2 = 1 / N sum_n ("raw"_n - m)^2',
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
    "M3": Formula(
        r"p = \frac{1}{M} \sum_m \mathrm{softmax}(o_m)",
        'p = 1 / M sum_m upright("softmax")(o_m)',
    ),
    "M4": Formula(
        r"\text{ECE} = \sum_m \frac{n_m}{N} | a_m - c_m |",
        '"ECE" = sum_m n_m / N |a_m - c_m|',
    ),
    "M5": Formula(
        r"\text{Brier} = \frac{1}{N} \sum_n \sum_k (p_{nk} - Y_{nk})^2",
        '"Brier" = 1 / N sum_n sum_k (p_(n k) - Y_(n k))^2',
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
