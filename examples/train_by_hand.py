"""The write-up's network trained in thirty lines, without the trainer: `python examples/train_by_hand.py`."""

import sys

import matplotlib.pyplot as plt

import chalknet
from chalknet.network.dense import dense
from chalknet.network.losses import softmax_cross_entropy
from chalknet.network.relu import relu

quick = "--quick" in sys.argv
units, epochs, rate, momentum = (20, 5, 1e-5, 0.9) if quick else (100, 50, 1e-5, 0.99)
data = chalknet.load_data("glyphs")
x, labels = chalknet.flatten(data.inputs) / 255.0, data.labels
train, _, test = chalknet.split_dataset(data).named().values()
start = chalknet.initial_parameters(chalknet.Architecture(784, (units,), 10), seed=0)
w_h, b_h, w_o, b_o = start.values()
v_h, v_o = 0 * w_h, 0 * w_o
accuracies = []

for epoch in range(1, epochs + 1):
    h, through_hidden = dense(x[train], w_h, b_h)
    g, through_relu = relu(h)
    o, through_output = dense(g, w_o, b_o)
    loss, through_loss = softmax_cross_entropy(o, labels[train], reduction="sum")

    grad_g, grad_w_o, grad_b_o = through_output(through_loss())
    _, grad_w_h, grad_b_h = through_hidden(through_relu(grad_g))

    v_h, v_o = momentum * v_h + rate * grad_w_h, momentum * v_o + rate * grad_w_o
    w_h, w_o, b_h, b_o = w_h - v_h, w_o - v_o, b_h - rate * grad_b_h, b_o - rate * grad_b_o
    guess = dense(relu(dense(x[test], w_h, b_h)[0])[0], w_o, b_o)[0].argmax(axis=1)
    accuracies.append(chalknet.accuracy(guess, labels[test]))
    print(f"epoch {epoch}: loss {loss / len(train):.4f}, test accuracy {accuracies[-1]:.4f}")

figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(range(1, epochs + 1), accuracies)
axis.set(xlabel="epoch", ylabel="test accuracy")
figure.savefig("train_by_hand.png")
