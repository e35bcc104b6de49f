"""See why a gradient check needs the right step: `python examples/gradient_check.py`.

A central difference with a large step has a truncation error, and with a small step a rounding error.
In float64 the best step is near the cube root of the machine precision. A missing factor 1/2 in the
derivative gives the same large error for every step. It takes about a second.
"""

import matplotlib.pyplot as plt
import numpy as np

import chalknet
from chalknet.network.dense import dense
from chalknet.network.losses import softmax_cross_entropy
from chalknet.network.tanh import tanh

data = chalknet.load_data("glyphs")
x, labels = chalknet.flatten(data.inputs[:50]) / 255.0, data.labels[:50]
w_h, b_h, w_o, b_o = chalknet.initial_parameters(chalknet.Architecture(784, (30,), 10), seed=0).values()


def loss_and_gradient(w):
    h, through_hidden = dense(x, w, b_h)
    g, through_tanh = tanh(h)
    loss, through_loss = softmax_cross_entropy(dense(g, w_o, b_o)[0], labels)
    return loss, through_hidden(through_tanh(through_loss() @ w_o)).grad_weight


gradient = loss_and_gradient(w_h)[1]
direction = np.random.default_rng(0).normal(size=w_h.shape)
direction /= np.linalg.norm(direction)
steps = np.logspace(-12, 1, 60)
numeric = np.array([
    (loss_and_gradient(w_h + step * direction)[0] - loss_and_gradient(w_h - step * direction)[0]) / (2 * step)
    for step in steps
])  # fmt: skip
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for factor, name in ((1, "right derivative"), (2, "derivative without its factor 1/2")):
    analytic = factor * (gradient * direction).sum()
    error = abs(analytic - numeric) / np.maximum(abs(analytic), abs(numeric))
    axis.loglog(steps, error, label=name)
    print(f"{name}: smallest relative error {error.min():.1e}, with step {steps[error.argmin()]:.0e}")
axis.set(xlabel="step", ylabel="relative error")
axis.legend()
figure.savefig("gradient_check.png")
