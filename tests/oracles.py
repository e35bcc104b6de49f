"""Independent implementations to test against: the write-up and the chain rule, without chalknet.

`train_as_in_writeup` follows the description of the write-up in plain NumPy. The others are plain loops.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

TINY = 1e-20


def writeup_average_ce(target, prediction):
    """Return the write-up's averageCE, which it calls as averageCE(prediction, target)."""
    return -(target * np.log(prediction + TINY)).sum(axis=1).mean()


def train_as_in_writeup(images, labels, n_hidden, n_epochs, seed, n_train, n_valid):
    """Train as the write-up describes; return one row per epoch, as in history.csv without seconds."""
    np.random.seed(521)
    index = np.arange(len(images))
    np.random.shuffle(index)
    data, target = images[index] / 255.0, labels[index]
    hot = np.eye(10)[target]
    cuts = [0, n_train, n_train + n_valid, len(images)]
    sets = [(data[a:b].reshape(b - a, 784), hot[a:b]) for a, b in pairwise(cuts)]

    np.random.seed(seed)
    sd_h, sd_o = (2 / (784 + n_hidden)) ** 0.5, (2 / (n_hidden + 10)) ** 0.5
    w_h = np.random.normal(0, sd_h, (n_hidden, 784))
    b_h = np.random.normal(0, sd_h, n_hidden)
    w_o = np.random.normal(0, sd_o, (10, n_hidden))
    b_o = np.random.normal(0, sd_o, 10)
    v_h, v_o = np.zeros_like(w_h), np.zeros_like(w_o)

    def predict(x):
        h = np.dot(x, w_h.T) + b_h
        g = np.maximum(h, 0)
        o = np.dot(g, w_o.T) + b_o
        e = np.exp(o - o.max(axis=1)[:, None])
        return h, g, o, e / e.sum(axis=1)[:, None]

    def figures(x, t):
        _, _, o, p = predict(x)
        shifted = o - o.max(axis=1)[:, None]
        true_loss = (np.log(np.exp(shifted).sum(axis=1)) - (shifted * t).sum(axis=1)).mean()
        right = (p.argmax(axis=1) == t.argmax(axis=1)).mean()
        return true_loss, right, writeup_average_ce(p, t)

    rows = []
    x, t = sets[0]
    for epoch in range(1, n_epochs + 1):
        train = figures(x, t)
        h, g, _, p = predict(x)
        d_o = p - t
        d_wo, d_bo = np.dot(d_o.T, g), d_o.sum(axis=0)
        d_h = np.dot(d_o, w_o) * (h > 0)
        d_wh, d_bh = np.dot(d_h.T, x), d_h.sum(axis=0)
        v_o = 0.99 * v_o + 1e-5 * d_wo
        v_h = 0.99 * v_h + 1e-5 * d_wh
        w_o, w_h = w_o - v_o, w_h - v_h
        b_o, b_h = b_o - 1e-5 * d_bo, b_h - 1e-5 * d_bh
        valid, test = figures(*sets[1]), figures(*sets[2])
        rows.append([epoch, *train[:2], *valid[:2], *test[:2], train[2], valid[2], test[2]])
    return np.array(rows)


def loop_forward(weights, biases, x):
    """Return the logits of dense layers with relu between them, computed one number at a time."""
    rows = []
    for sample in x:
        value = [float(v) for v in sample]
        for depth, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            sums = []
            for o in range(len(bias)):
                total = float(bias[o])
                for i, v in enumerate(value):
                    total += float(weight[o][i]) * v
                sums.append(total if depth == len(weights) - 1 else max(total, 0.0))
            value = sums
        rows.append(value)
    return np.array(rows)


def loop_cross_entropy(logits, labels):
    """Return the mean cross-entropy, computed one number at a time with exact sums."""
    losses = []
    for row, label in zip(logits, labels, strict=True):
        highest = max(float(v) for v in row)
        losses.append(math.log(math.fsum(math.exp(float(v) - highest) for v in row)) + highest - float(row[label]))
    return math.fsum(losses) / len(losses)


def loop_gradients(weights, biases, x, labels, reduction="mean"):
    """Return gradients by the chain rule, summed over all paths through dense layers and relu."""
    grad_weights = [np.zeros_like(w, dtype=float) for w in weights]
    grad_biases = [np.zeros_like(b, dtype=float) for b in biases]
    for sample, label in zip(x, labels, strict=True):
        values, sums = [np.array(sample, dtype=float)], []
        for depth, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            sums.append(
                np.array(
                    [
                        bias[o] + sum(weight[o, i] * values[-1][i] for i in range(weight.shape[1]))
                        for o in range(len(bias))
                    ]
                )
            )
            values.append(sums[-1] if depth == len(weights) - 1 else np.array([max(s, 0.0) for s in sums[-1]]))
        exponentials = [math.exp(v - max(sums[-1])) for v in sums[-1]]
        error = [e / sum(exponentials) - (1.0 if k == label else 0.0) for k, e in enumerate(exponentials)]
        for depth in reversed(range(len(weights))):
            back = np.zeros(weights[depth].shape[1])
            for o, e in enumerate(error):
                grad_biases[depth][o] += e
                for i in range(weights[depth].shape[1]):
                    grad_weights[depth][o, i] += e * values[depth][i]
                    back[i] += e * weights[depth][o, i]
            if depth:
                error = [b if s > 0 else 0.0 for b, s in zip(back, sums[depth - 1], strict=True)]
    scale = 1 / len(labels) if reduction == "mean" else 1.0
    return [g * scale for g in grad_weights], [g * scale for g in grad_biases]


def loop_scale(x, gamma, grad_value):
    """Return the value of a scale layer and its gradients, computed one number at a time."""
    value, grad_x, grad_gamma = np.zeros_like(x), np.zeros_like(x), np.zeros_like(gamma)
    for n, sample in enumerate(x):
        for i, one in enumerate(sample):
            value[n, i] = gamma[i] * one
            grad_x[n, i] = gamma[i] * grad_value[n, i]
            grad_gamma[i] += one * grad_value[n, i]
    return value, grad_x, grad_gamma


def loop_ntk_dense(x, weight, bias, grad_value):
    """Return h = x W^T / sqrt(I) + b and the gradients of x, W and b, one number at a time."""
    n_inputs = weight.shape[1]
    value = np.zeros((len(x), len(weight)))
    grad_x, grad_weight, grad_bias = np.zeros_like(x), np.zeros_like(weight), np.zeros_like(bias)
    for n in range(len(x)):
        for o in range(len(weight)):
            value[n, o] = bias[o]
            grad_bias[o] += grad_value[n, o]
            for i in range(n_inputs):
                value[n, o] += weight[o, i] * x[n, i] / math.sqrt(n_inputs)
                grad_x[n, i] += weight[o, i] * grad_value[n, o] / math.sqrt(n_inputs)
                grad_weight[o, i] += x[n, i] * grad_value[n, o] / math.sqrt(n_inputs)
    return value, grad_x, grad_weight, grad_bias


def loop_periodic_embedding(x, frequency, phase, weight, bias, grad_value):
    """Return the value of a periodic embedding and its gradients, one number at a time."""
    n_columns, n_outputs, n_frequencies = weight.shape
    value = np.concatenate([x, np.zeros((len(x), n_columns * n_outputs))], axis=1)
    grads = [grad_value[:, : x.shape[1]].copy(), *(np.zeros_like(one) for one in (frequency, phase, weight, bias))]
    grad_x, grad_frequency, grad_phase, grad_weight, grad_bias = grads
    for n in range(len(x)):
        for i in range(n_columns):
            for j in range(n_outputs):
                at = x.shape[1] + i * n_outputs + j
                grad = float(grad_value[n, at])
                value[n, at] += bias[i, j]
                grad_bias[i, j] += grad
                for k in range(n_frequencies):
                    angle = 2 * math.pi * frequency[i, k] * x[n, i] + phase[i, k]
                    slope = -math.sin(angle) * weight[i, j, k] * grad
                    value[n, at] += weight[i, j, k] * math.cos(angle)
                    grad_weight[i, j, k] += grad * math.cos(angle)
                    grad_phase[i, k] += slope
                    grad_frequency[i, k] += slope * 2 * math.pi * x[n, i]
                    grad_x[n, i] += slope * 2 * math.pi * frequency[i, k]
    return value, *grads


def loop_piecewise_linear_embedding(x, edges, weight, bias, grad_value):
    """Return the value of a piecewise-linear embedding and its gradients, one number at a time."""
    n_columns, n_outputs, n_bins = weight.shape
    value = np.concatenate([x, np.zeros((len(x), n_columns * n_outputs))], axis=1)
    grad_x, grad_weight, grad_bias = grad_value[:, : x.shape[1]].copy(), np.zeros_like(weight), np.zeros_like(bias)
    for n in range(len(x)):
        for i in range(n_columns):
            for j in range(n_outputs):
                at = x.shape[1] + i * n_outputs + j
                value[n, at] += bias[i, j]
                grad_bias[i, j] += grad_value[n, at]
                for t in range(n_bins):
                    low, high = edges[i, t], edges[i, t + 1]
                    if t > 0 and x[n, i] < low:
                        part, slope = 0.0, 0.0
                    elif t < n_bins - 1 and x[n, i] >= high:
                        part, slope = 1.0, 0.0
                    else:
                        part, slope = (x[n, i] - low) / (high - low), 1 / (high - low)
                    value[n, at] += weight[i, j, t] * part
                    grad_weight[i, j, t] += grad_value[n, at] * part
                    grad_x[n, i] += grad_value[n, at] * weight[i, j, t] * slope
    return value, grad_x, grad_weight, grad_bias


def loop_category_embedding(x, weight, groups, grad_value):
    """Return the value of a category embedding and the gradients of x and weight, one number at a time."""
    grouped = {start + k for start, size in zip(groups[::2], groups[1::2], strict=True) for k in range(size)}
    kept = [i for i in range(x.shape[1]) if i not in grouped]
    n_outputs, n_groups = len(weight), len(groups) // 2
    value = np.zeros((len(x), len(kept) + n_groups * n_outputs))
    grad_x, grad_weight = np.zeros_like(x), np.zeros_like(weight)
    for n in range(len(x)):
        for at, i in enumerate(kept):
            value[n, at], grad_x[n, i] = x[n, i], grad_value[n, at]
        column = 0
        for g in range(n_groups):
            for k in range(groups[2 * g + 1]):
                i = groups[2 * g] + k
                for j in range(n_outputs):
                    at = len(kept) + g * n_outputs + j
                    value[n, at] += x[n, i] * weight[j, column]
                    grad_x[n, i] += grad_value[n, at] * weight[j, column]
                    grad_weight[j, column] += grad_value[n, at] * x[n, i]
                column += 1
    return value, grad_x, grad_weight


SCALAR_ACTIVATIONS = {
    "relu": (lambda v: max(v, 0.0), lambda v: 1.0 if v > 0 else 0.0),
    "selu": (
        lambda v: 1.0507009873554805 * (v if v > 0 else 1.6732632423543772 * (math.exp(v) - 1)),
        lambda v: 1.0507009873554805 * (1 if v > 0 else 1.6732632423543772 * math.exp(v)),
    ),
    "mish": (
        lambda v: v * math.tanh(math.log(1 + math.exp(v))),
        lambda v: (
            math.tanh(math.log(1 + math.exp(v)))
            + v * (1 - math.tanh(math.log(1 + math.exp(v))) ** 2) / (1 + math.exp(-v))
        ),
    ),
}


def loop_parametric(name, x, alpha, grad_value):
    """Return the value of a parametric activation and its gradients, one number at a time."""
    function, slope = SCALAR_ACTIVATIONS[name]
    value, grad_x, grad_alpha = np.zeros_like(x), np.zeros_like(x), np.zeros_like(alpha)
    for n, sample in enumerate(x):
        for j, v in enumerate(map(float, sample)):
            value[n, j] = (1 - alpha[j]) * v + alpha[j] * function(v)
            grad_x[n, j] = grad_value[n, j] * (1 - alpha[j] + alpha[j] * slope(v))
            grad_alpha[j] += grad_value[n, j] * (function(v) - v)
    return value, grad_x, grad_alpha


def torch_gradients(weights, biases, x, labels, reduction="mean"):
    """Return the same gradients from PyTorch's autograd."""
    import torch

    tensors = [
        torch.tensor(a, dtype=torch.float64, requires_grad=True)
        for pair in zip(weights, biases, strict=True)
        for a in pair
    ]
    value = torch.tensor(np.asarray(x), dtype=torch.float64)
    for depth in range(len(weights)):
        value = torch.nn.functional.linear(value, tensors[2 * depth], tensors[2 * depth + 1])
        if depth < len(weights) - 1:
            value = torch.relu(value)
    loss = torch.nn.functional.cross_entropy(value, torch.tensor(np.asarray(labels)), reduction=reduction)
    loss.backward()
    grads = [t.grad.numpy() for t in tensors]
    return loss.item(), grads[0::2], grads[1::2]


def loop_conv2d(x, weight, bias, grad_value, stride, padding, groups):
    """Return a convolution and the gradients of x, W and b, one number at a time."""
    n_samples, rows, columns, n_outputs = grad_value.shape
    _, height, width, n_channels = weight.shape
    value = np.zeros(grad_value.shape)
    grad_x, grad_weight, grad_bias = np.zeros_like(x), np.zeros_like(weight), np.zeros_like(bias)
    for n, row, column, o in np.ndindex(n_samples, rows, columns, n_outputs):
        value[n, row, column, o] += bias[o]
        grad_bias[o] += grad_value[n, row, column, o]
        first = o // (n_outputs // groups) * n_channels  # channel of the group
        for down, right, i in np.ndindex(height, width, n_channels):
            at = (n, row * stride + down - padding, column * stride + right - padding, first + i)
            if not (0 <= at[1] < x.shape[1] and 0 <= at[2] < x.shape[2]):
                continue  # a zero of the padding
            value[n, row, column, o] += weight[o, down, right, i] * x[at]
            grad_x[at] += weight[o, down, right, i] * grad_value[n, row, column, o]
            grad_weight[o, down, right, i] += x[at] * grad_value[n, row, column, o]
    return value, grad_x, grad_weight, grad_bias


def loop_pool(x, grad_value, size, stride, kind):
    """Return the pooled images and the gradient of x, one window at a time; kind is "max" or "average"."""
    value, grad_x = np.zeros(grad_value.shape), np.zeros_like(x)
    for n, row, column, i in np.ndindex(*grad_value.shape):
        places = [(n, row * stride + at, column * stride + to, i) for at in range(size) for to in range(size)]
        found, grad = [x[place] for place in places], grad_value[n, row, column, i]
        if kind == "max":
            value[n, row, column, i] = max(found)
            grad_x[places[found.index(max(found))]] += grad
        else:
            value[n, row, column, i] = sum(found) / len(found)
            for place in places:
                grad_x[place] += grad / len(found)
    return value, grad_x


def loop_residual(x, shortcut, grad_value, stride):
    """Return x plus every stride-th pixel of the shortcut, and the gradient of the shortcut, one value at a time."""
    value, grad_shortcut = np.array(x), np.zeros_like(shortcut)
    for n, row, column, i in np.ndindex(*x.shape):
        if i < shortcut.shape[3]:
            value[n, row, column, i] += shortcut[n, stride * row, stride * column, i]
            grad_shortcut[n, stride * row, stride * column, i] += grad_value[n, row, column, i]
    return value, grad_shortcut
