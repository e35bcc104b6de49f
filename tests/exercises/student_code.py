"""Solutions as students write them: one right solution, other right styles, and planted mistakes."""

HEAD = "import numpy as np\n"

RIGHT = {
    "softmax": """
def softmax(logits):
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    e = np.exp(shifted)
    return e / np.sum(e, axis=1, keepdims=True)
""",
    "cross_entropy": """
def cross_entropy(logits, labels):
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels].mean()
""",
    "cross_entropy_gradient": """
def cross_entropy_gradient(logits, labels):
    p = softmax(logits)
    p[np.arange(len(labels)), labels] -= 1
    return p / len(labels)
""",
    "dense_forward": """
def dense_forward(x, weight, bias):
    return x @ weight.T + bias
""",
    "dense_backward": """
def dense_backward(grad_h, x, weight):
    return grad_h @ weight, grad_h.T @ x, grad_h.sum(axis=0)
""",
    "relu_forward": """
def relu_forward(h):
    return np.maximum(h, 0)
""",
    "relu_backward": """
def relu_backward(grad_g, h):
    return grad_g * (h > 0)
""",
    "network_gradients": """
def network_gradients(x, labels, parameters):
    h = dense_forward(x, parameters["W_h"], parameters["b_h"])
    g = relu_forward(h)
    o = dense_forward(g, parameters["W_o"], parameters["b_o"])
    loss = cross_entropy(o, labels)
    grad_o = cross_entropy_gradient(o, labels)
    grad_g, grad_w_o, grad_b_o = dense_backward(grad_o, g, parameters["W_o"])
    grad_h = relu_backward(grad_g, h)
    _, grad_w_h, grad_b_h = dense_backward(grad_h, x, parameters["W_h"])
    return loss, {"W_h": grad_w_h, "b_h": grad_b_h, "W_o": grad_w_o, "b_o": grad_b_o}
""",
    "momentum_update": """
def momentum_update(parameters, gradients, velocities, learning_rate, momentum):
    new_parameters, new_velocities = {}, {}
    for name in parameters:
        if name.startswith("W"):
            v = momentum * velocities[name] + learning_rate * gradients[name]
            new_velocities[name] = v
            new_parameters[name] = parameters[name] - v
        else:
            new_velocities[name] = velocities[name]
            new_parameters[name] = parameters[name] - learning_rate * gradients[name]
    return new_parameters, new_velocities
""",
    "accuracy": """
def accuracy(probabilities, labels):
    return np.mean(probabilities.argmax(axis=1) == labels)
""",
    "early_stopping": """
def early_stopping(valid_losses, test_losses, patience):
    best, best_epoch, waited = float("inf"), 0, 0
    for i, loss in enumerate(valid_losses):
        if loss < best:
            best, best_epoch, waited = loss, i + 1, 0
        else:
            waited += 1
            if waited == patience:
                break
    return best_epoch, test_losses[best_epoch - 1]
""",
}

# Other right solutions: loops, einsum, float32, closed forms, results that are lists of numbers or NumPy scalars.
STYLES = [
    (
        "softmax",
        """
def softmax(logits):
    out = np.zeros(logits.shape)
    for n in range(logits.shape[0]):
        largest = max(logits[n])
        total = 0.0
        for k in range(logits.shape[1]):
            out[n, k] = np.exp(logits[n, k] - largest)
            total += out[n, k]
        for k in range(logits.shape[1]):
            out[n, k] /= total
    return out
""",
    ),
    (
        "softmax",
        """
def softmax(logits):
    z = np.asarray(logits, dtype=np.float32)
    z = z - z.max(1)[:, None]
    return np.exp(z) / np.einsum("nk->n", np.exp(z))[:, np.newaxis]
""",
    ),
    (
        "softmax",
        """
def softmax(logits):
    top = logits.max(axis=1, keepdims=True)
    return np.exp(logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))
""",
    ),
    (
        "softmax",
        """
def softmax(logits):
    return np.array([np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in logits])
""",
    ),
    (
        "cross_entropy",
        """
def cross_entropy(logits, labels):
    total = 0.0
    for row, label in zip(logits, labels):
        total += np.logaddexp.reduce(row.astype(float)) - row[label]
    return total / len(labels)
""",
    ),
    (
        "cross_entropy",
        """
def cross_entropy(logits, labels):
    Y = np.eye(logits.shape[1])[labels]
    c = logits.max(axis=1)
    log_sum = c + np.log(np.exp(logits - c[:, None]).sum(axis=1))
    return np.mean(log_sum - (Y * logits).sum(axis=1))
""",
    ),
    (
        "cross_entropy",
        """
def cross_entropy(logits, labels):
    B = logits.shape[0]
    z = logits - logits.max(1, keepdims=True)
    losses = [np.log(np.exp(z[n]).sum()) - z[n, labels[n]] for n in range(B)]
    return float(sum(losses)) / B
""",
    ),
    (
        "cross_entropy_gradient",
        """
def cross_entropy_gradient(logits, labels):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    Y = np.zeros_like(p)
    for n, label in enumerate(labels):
        Y[n, label] = 1
    return (p - Y) / logits.shape[0]
""",
    ),
    (
        "dense_forward",
        """
def dense_forward(x, weight, bias):
    h = np.zeros((x.shape[0], weight.shape[0]))
    for n in range(x.shape[0]):
        for j in range(weight.shape[0]):
            h[n, j] = sum(x[n, i] * weight[j, i] for i in range(x.shape[1])) + bias[j]
    return h
""",
    ),
    (
        "dense_forward",
        """
def dense_forward(x, weight, bias):
    return np.einsum("bi,oi->bo", x, weight) + bias[None, :]
""",
    ),
    (
        "dense_forward",
        """
def dense_forward(x, weight, bias):
    return np.dot(weight, x.T).T + bias
""",
    ),
    (
        "dense_backward",
        """
def dense_backward(grad_h, x, weight):
    grad_x = np.einsum("bo,oi->bi", grad_h, weight)
    grad_weight = np.zeros_like(weight)
    grad_bias = np.zeros(weight.shape[0])
    for n in range(len(x)):
        grad_weight += np.outer(grad_h[n], x[n])
        grad_bias += grad_h[n]
    return [grad_x, grad_weight, grad_bias]
""",
    ),
    (
        "dense_backward",
        """
def dense_backward(grad_h, x, weight):
    return np.dot(grad_h, weight), np.dot(x.T, grad_h).T, np.ones(len(x)) @ grad_h
""",
    ),
    (
        "relu_forward",
        """
def relu_forward(h):
    g = h.copy()
    g[g < 0] = 0
    return g
""",
    ),
    ("relu_forward", "relu_forward = lambda h: h * (h > 0)\n"),
    (
        "relu_backward",
        """
def relu_backward(grad_g, h):
    grad_h = np.array(grad_g, copy=True)
    grad_h[h <= 0] = 0
    return grad_h
""",
    ),
    (
        "relu_backward",
        """
def relu_backward(grad_g, h):
    return np.where(np.maximum(h, 0) > 0, grad_g, 0)
""",
    ),
    (
        "network_gradients",
        """
def network_gradients(x, labels, parameters):
    W_h, b_h, W_o, b_o = (parameters[k] for k in ("W_h", "b_h", "W_o", "b_o"))
    h = x @ W_h.T + b_h
    g = np.maximum(h, 0)
    o = g @ W_o.T + b_o
    o = o - o.max(axis=1, keepdims=True)
    p = np.exp(o) / np.exp(o).sum(axis=1, keepdims=True)
    n = np.arange(len(x))
    loss = -np.log(p[n, labels]).mean()
    d = p.copy()
    d[n, labels] -= 1
    d /= len(x)
    dh = (d @ W_o) * (g > 0)
    return loss, {"W_o": d.T @ g, "b_o": d.sum(0), "W_h": dh.T @ x, "b_h": dh.sum(0)}
""",
    ),
    (
        "momentum_update",
        """
def momentum_update(parameters, gradients, velocities, learning_rate, momentum):
    weights = {k for k in parameters if k[0] == "W"}
    v = {k: momentum * velocities[k] + learning_rate * gradients[k] for k in weights}
    new = {k: p - (v[k] if k in weights else learning_rate * gradients[k]) for k, p in parameters.items()}
    return new, {**velocities, **v}
""",
    ),
    (
        "momentum_update",
        """
def momentum_update(parameters, gradients, velocities, learning_rate, momentum):
    # A velocity of a bias that is used once and not kept is a plain step.
    v = {}
    p = {}
    for name in parameters:
        m = momentum if name.startswith("W") else 0
        v[name] = m * velocities[name] + learning_rate * gradients[name]
        p[name] = parameters[name] - v[name]
    return p, v
""",
    ),
    (
        "accuracy",
        """
def accuracy(probabilities, labels):
    right = 0
    for p, label in zip(probabilities, labels):
        if list(p).index(max(p)) == label:
            right += 1
    return right / len(labels)
""",
    ),
    (
        "accuracy",
        """
def accuracy(probabilities, labels):
    return (np.argmax(probabilities, axis=-1) == labels).sum() / labels.shape[0]
""",
    ),
    (
        "early_stopping",
        """
def early_stopping(valid_losses, test_losses, patience):
    best = None
    for epoch in range(len(valid_losses)):
        loss = valid_losses[epoch]
        if np.isnan(loss):
            loss = np.inf
        if best is None or loss < lowest:
            best, lowest = epoch, loss
        if epoch - best >= patience:
            break
    return np.int64(best + 1), float(test_losses[best])
""",
    ),
    (
        "early_stopping",
        """
def early_stopping(valid_losses, test_losses, patience):
    losses = np.where(np.isnan(valid_losses), np.inf, valid_losses)
    for end in range(1, len(losses) + 1):
        best = int(np.argmin(losses[:end]))
        if end - 1 - best >= patience:
            break
    return best + 1, test_losses[best]
""",
    ),
]

# (task, mistake that has to be named, code)
WRONG = [
    (
        "softmax",
        "unshifted exponentials",
        "def softmax(o):\n    return np.exp(o) / np.exp(o).sum(axis=1, keepdims=True)\n",
    ),
    (
        "softmax",
        "one shift for the whole batch",
        "def softmax(o):\n    e = np.exp(o - np.max(o))\n    return e / e.sum(axis=1)[:, None]\n",
    ),
    (
        "softmax",
        "missing keepdims",
        "def softmax(o):\n    e = np.exp(o - o.max(axis=1, keepdims=True))\n    return e / np.sum(e, axis=1)\n",
    ),
    (
        "softmax",
        "missing keepdims",
        "def softmax(o):\n    e = np.exp(o - o.max(1))\n    return e / e.sum(1, keepdims=True)\n",
    ),
    (
        "softmax",
        "normalized over the wrong axis",
        "def softmax(o):\n    e = np.exp(o - o.max(axis=1, keepdims=True))\n    return e / e.sum(axis=0)\n",
    ),
    (
        "softmax",
        "normalized over the whole batch",
        "def softmax(o):\n    e = np.exp(o - o.max())\n    return e / np.sum(e)\n",
    ),
    ("softmax", "missing exponential", "def softmax(o):\n    return o / o.sum(axis=1, keepdims=True)\n"),
    (
        "cross_entropy",
        "sign",
        RIGHT["cross_entropy"].replace("return -", "return "),
    ),
    ("cross_entropy", "missing mean", RIGHT["cross_entropy"].replace(".mean()", ".sum()")),
    (
        "cross_entropy",
        "mean over samples and classes",
        "def cross_entropy(o, y):\n    z = o - o.max(axis=1, keepdims=True)\n"
        "    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))\n"
        "    return -np.mean(np.eye(o.shape[1])[y] * log_p)\n",
    ),
    (
        "cross_entropy",
        "swapped arguments",
        RIGHT["softmax"] + "def cross_entropy(o, y):\n    Y = np.eye(o.shape[1])[y]\n"
        "    return -(softmax(o) * np.log(Y + 1e-20)).sum(axis=1).mean()\n",
    ),
    (
        "cross_entropy",
        "logarithm of a probability that rounds to 0",
        RIGHT["softmax"] + "def cross_entropy(o, y):\n    return -np.mean(np.log(softmax(o)[range(len(y)), y]))\n",
    ),
    (
        "cross_entropy",
        "a small constant in the logarithm",
        RIGHT["softmax"]
        + "def cross_entropy(o, y):\n    return -np.mean(np.log(softmax(o)[range(len(y)), y] + 1e-12))\n",
    ),
    (
        "cross_entropy",
        "a small constant in the logarithm",
        RIGHT["softmax"]
        + "def cross_entropy(o, y):\n    p = np.clip(softmax(o), 1e-15, 1)\n"
        + "    return -np.log(p[np.arange(len(y)), y]).mean()\n",
    ),
    (
        "cross_entropy",
        "unshifted exponentials",
        "def cross_entropy(o, y):\n    return np.mean(np.log(np.exp(o).sum(axis=1)) - o[np.arange(len(y)), y])\n",
    ),
    (
        "cross_entropy",
        "all classes instead of the true one",
        RIGHT["cross_entropy"].replace("log_p[np.arange(len(labels)), labels]", "log_p[:, labels]"),
    ),
    (
        "cross_entropy_gradient",
        "sign",
        RIGHT["softmax"]
        + "def cross_entropy_gradient(o, y):\n    return (np.eye(o.shape[1])[y] - softmax(o)) / len(o)\n",
    ),
    (
        "cross_entropy_gradient",
        "missing mean",
        RIGHT["softmax"] + "def cross_entropy_gradient(o, y):\n    return softmax(o) - np.eye(o.shape[1])[y]\n",
    ),
    (
        "cross_entropy_gradient",
        "all rows instead of the row of the sample",
        RIGHT["softmax"]
        + "def cross_entropy_gradient(o, y):\n    p = softmax(o)\n    p[:, y] -= 1\n    return p / len(o)\n",
    ),
    (
        "cross_entropy_gradient",
        "labels instead of one-hot rows",
        RIGHT["softmax"] + "def cross_entropy_gradient(o, y):\n    return (softmax(o) - y.reshape(-1, 1)) / len(o)\n",
    ),
    (
        "cross_entropy_gradient",
        "unshifted exponentials",
        "def cross_entropy_gradient(o, y):\n    p = np.exp(o) / np.exp(o).sum(axis=1, keepdims=True)\n"
        "    return (p - np.eye(o.shape[1])[y]) / len(o)\n",
    ),
    ("dense_forward", "transposed product", "def dense_forward(x, W, b):\n    return x @ W + b\n"),
    ("dense_forward", "transposed result", "def dense_forward(x, W, b):\n    return W @ x.T + b.reshape(-1, 1)\n"),
    ("dense_forward", "missing bias", "def dense_forward(x, W, b):\n    return np.dot(x, W.T)\n"),
    (
        "dense_backward",
        "transposed product in grad_weight",
        "def dense_backward(d, x, W):\n    return d @ W, x.T @ d, d.sum(axis=0)\n",
    ),
    (
        "dense_backward",
        "transposed product in grad_x",
        "def dense_backward(d, x, W):\n    return d @ W.T, d.T @ x, d.sum(axis=0)\n",
    ),
    (
        "dense_backward",
        "mean instead of sum in grad_bias",
        "def dense_backward(d, x, W):\n    return d @ W, d.T @ x, d.mean(axis=0)\n",
    ),
    (
        "dense_backward",
        "keepdims in grad_bias",
        "def dense_backward(d, x, W):\n    return d @ W, d.T @ x, d.sum(axis=0, keepdims=True)\n",
    ),
    (
        "dense_backward",
        "missing sum in grad_bias",
        "def dense_backward(d, x, W):\n    return d @ W, d.T @ x, d\n",
    ),
    (
        "dense_backward",
        "divided by the number of samples",
        "def dense_backward(d, x, W):\n    B = len(x)\n    return d @ W / B, d.T @ x / B, d.sum(0) / B\n",
    ),
    (
        "dense_backward",
        "wrong order of the results",
        "def dense_backward(d, x, W):\n    return d.T @ x, d.sum(axis=0), d @ W\n",
    ),
    ("relu_forward", "changes its inputs", "def relu_forward(h):\n    h[h < 0] = 0\n    return h\n"),
    ("relu_forward", "absolute value", "def relu_forward(h):\n    return abs(h)\n"),
    (
        "relu_forward",
        "one maximum instead of one for each element",
        "def relu_forward(h):\n    return np.max([0, h.max()])\n",
    ),
    ("relu_forward", "a whole array in if, and, max or min", "def relu_forward(h):\n    return max(0, h)\n"),
    (
        "relu_forward",
        "a whole array in if, and, max or min",
        "def relu_forward(h):\n    for i in range(len(h)):\n        if h[i] < 0:\n            h[i] = 0\n    return h\n",
    ),
    ("softmax", "missing keepdims", "def softmax(o):\n    return np.exp(o) / np.sum(np.exp(o), axis=1)\n"),
    (
        "cross_entropy_gradient",
        "one-hot rows with several ones",
        "def cross_entropy_gradient(o, y):\n    Y = np.zeros(o.shape)\n    Y[y] = 1\n"
        "    return (softmax(o) - Y) / len(y)\n",
    ),
    ("dense_forward", "transposed product", "def dense_forward(x, W, b):\n    return np.dot(W, x) + b\n"),
    ("dense_forward", "shapes that do not fit in a product", "def dense_forward(x, W, b):\n    return W @ (x @ W.T)\n"),
    ("softmax", "shapes that do not fit", "def softmax(o):\n    return o - np.ones(7)\n"),
    (
        "accuracy",
        "divided by the number of classes",
        "def accuracy(p, y):\n    return sum(p.argmax(1) == y) / len(p[0])\n",
    ),
    ("relu_backward", "gradient not masked", "def relu_backward(d, h):\n    return d.copy()\n"),
    ("relu_backward", "mask from the gradient", "def relu_backward(d, h):\n    return d * (d > 0)\n"),
    ("relu_backward", "missing chain rule", "def relu_backward(d, h):\n    return np.where(h > 0, 1.0, 0.0)\n"),
    ("relu_backward", "slope 1 where h = 0", "def relu_backward(d, h):\n    return d * (h >= 0)\n"),
    ("relu_backward", "changes its inputs", "def relu_backward(d, h):\n    d[h <= 0] = 0\n    return d\n"),
    (
        "network_gradients",
        "missing relu in the backward pass",
        RIGHT["network_gradients"].replace("relu_backward(grad_g, h)", "grad_g"),
    ),
    (
        "network_gradients",
        "softmax twice",
        RIGHT["network_gradients"].replace("cross_entropy_gradient(o,", "cross_entropy_gradient(softmax(o),"),
    ),
    (
        "network_gradients",
        "h instead of g in the gradient of W_o",
        RIGHT["network_gradients"].replace("dense_backward(grad_o, g,", "dense_backward(grad_o, h,"),
    ),
    (
        "momentum_update",
        "momentum on biases",
        """
def momentum_update(parameters, gradients, velocities, learning_rate, momentum):
    v = {k: momentum * velocities[k] + learning_rate * gradients[k] for k in parameters}
    return {k: parameters[k] - v[k] for k in parameters}, v
""",
    ),
    (
        "momentum_update",
        "sign of the step",
        RIGHT["momentum_update"].replace("parameters[name] - v", "parameters[name] + v"),
    ),
    (
        "momentum_update",
        "learning rate on the velocity",
        RIGHT["momentum_update"]
        .replace("+ learning_rate * gradients[name]", "+ gradients[name]")
        .replace("parameters[name] - v", "parameters[name] - learning_rate * v"),
    ),
    (
        "momentum_update",
        "changes its inputs",
        """
def momentum_update(parameters, gradients, velocities, learning_rate, momentum):
    for k in parameters:
        if k.startswith("W"):
            velocities[k] = momentum * velocities[k] + learning_rate * gradients[k]
            parameters[k] = parameters[k] - velocities[k]
        else:
            parameters[k] = parameters[k] - learning_rate * gradients[k]
    return parameters, velocities
""",
    ),
    ("accuracy", "count instead of fraction", "def accuracy(p, y):\n    return np.sum(p.argmax(axis=1) == y)\n"),
    ("accuracy", "argmax over the wrong axis", "def accuracy(p, y):\n    return np.mean(np.argmax(p) == y)\n"),
    ("accuracy", "percent instead of fraction", "def accuracy(p, y):\n    return 100 * np.mean(p.argmax(1) == y)\n"),
    (
        "early_stopping",
        "test set used for choosing",
        RIGHT["early_stopping"].replace("enumerate(valid_losses)", "enumerate(test_losses)"),
    ),
    (
        "early_stopping",
        "test set used for reporting the lowest loss",
        RIGHT["early_stopping"].replace("test_losses[best_epoch - 1]", "min(test_losses)"),
    ),
    (
        "early_stopping",
        "patience ignored",
        "def early_stopping(valid, test, patience):\n    best = np.nanargmin(valid)\n    return best + 1, test[best]\n",
    ),
    (
        "early_stopping",
        "epochs counted from 0",
        RIGHT["early_stopping"].replace("return best_epoch,", "return best_epoch - 1,"),
    ),
    (
        "early_stopping",
        "last of equal epochs",
        RIGHT["early_stopping"].replace("if loss < best:", "if loss <= best:"),
    ),
    (
        "early_stopping",
        "nan kept as the first best loss",
        """
def early_stopping(valid, test, patience):
    best = 0
    for i in range(1, len(valid)):
        if valid[i] < valid[best]:
            best = i
        elif i - best == patience:
            break
    return best + 1, test[best]
""",
    ),
    (
        "early_stopping",
        "nan taken for the lowest loss",
        """
def early_stopping(valid, test, patience):
    for end in range(1, len(valid) + 1):
        best = int(np.argmin(valid[:end]))
        if end - 1 - best >= patience:
            break
    return best + 1, test[best]
""",
    ),
    (
        "early_stopping",
        "stops one epoch too late",
        RIGHT["early_stopping"].replace("if waited == patience", "if waited > patience"),
    ),
    (
        "momentum_update",
        "velocities of biases missing",
        RIGHT["momentum_update"].replace("            new_velocities[name] = velocities[name]\n", ""),
    ),
    (
        "cross_entropy",
        "rows instead of elements",
        "def cross_entropy(o, y):\n    p = softmax(o)\n    return -np.log(p[y]).mean()\n",
    ),
    (
        "cross_entropy_gradient",
        "missing parentheses",
        "def cross_entropy_gradient(o, y):\n    return softmax(o) - np.eye(o.shape[1])[y] / len(y)\n",
    ),
    (
        "cross_entropy_gradient",
        "missing one-hot rows",
        "def cross_entropy_gradient(o, y):\n    p = softmax(o)\n    p[np.arange(len(y)), y] - 1\n"
        "    return p / len(y)\n",
    ),
    ("relu_backward", "elements selected instead of masked", "def relu_backward(d, h):\n    return d[h > 0]\n"),
    ("early_stopping", "nothing returned", "def early_stopping(valid, test, patience):\n    valid.argmin()\n"),
    ("accuracy", "nothing returned", "def accuracy(p, y):\n    correct = p.argmax(1) == y\n    correct.mean()\n"),
    (
        "dense_forward",
        "depends on earlier calls",
        "calls = []\ndef dense_forward(x, W, b):\n    calls.append(1)\n"
        "    return x @ W.T + b * (1 if len(calls) < 6 else 2)\n",
    ),
    ("relu_forward", "a factor of 2", "def relu_forward(h):\n    return 2 * np.maximum(h, 0)\n"),
]


# What a student tried who had only the folder and the hints: attempts and the mistakes that were named.
WALKTHROUGH = {
    "softmax": [
        ("def softmax(o):\n    return np.exp(o) / np.sum(np.exp(o), axis=1)\n", ["missing keepdims"]),
        (
            "def softmax(o):\n    return np.exp(o) / np.sum(np.exp(o), axis=1, keepdims=True)\n",
            ["unshifted exponentials"],
        ),
        (
            "def softmax(o):\n    z = o - np.max(o)\n    return np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)\n",
            ["one shift for the whole batch"],
        ),
        (RIGHT["softmax"], []),
    ],
    "cross_entropy": [
        (
            "def cross_entropy(o, y):\n    p = softmax(o)\n    loss = 0\n"
            "    for i in range(len(y)):\n        loss += -np.log(p[i][y[i]])\n    return loss\n",
            ["missing mean"],
        ),
        (
            "def cross_entropy(o, y):\n    p = softmax(o)\n    loss = 0\n"
            "    for i in range(len(y)):\n        loss += -np.log(p[i][y[i]])\n    return loss / len(y)\n",
            ["logarithm of a probability that rounds to 0"],
        ),
        (
            "def cross_entropy(o, y):\n    log_p = o - np.log(np.sum(np.exp(o), axis=1, keepdims=True))\n"
            "    return -np.mean(log_p[np.arange(len(y)), y])\n",
            ["unshifted exponentials"],
        ),
        (RIGHT["cross_entropy"], []),
    ],
    "dense_backward": [
        (
            "def dense_backward(d, x, W):\n    return np.dot(d, W), np.dot(d, x), np.sum(d)\n",
            ["transposed product in grad_weight"],
        ),
        (
            "def dense_backward(d, x, W):\n    return np.dot(d, W), np.dot(d.T, x), np.sum(d)\n",
            ["sum over the wrong axis in grad_bias"],
        ),
        (RIGHT["dense_backward"], []),
    ],
    "early_stopping": [
        (
            "def early_stopping(valid, test, patience):\n    best = count = 0\n    for i in range(len(valid)):\n"
            "        if valid[i] < valid[best]:\n            best = i\n        else:\n            count += 1\n"
            "        if count >= patience:\n            break\n    return best, test[best]\n",
            ["epochs counted from 0"],
        ),
        (
            "def early_stopping(valid, test, patience):\n    best = count = 0\n    for i in range(len(valid)):\n"
            "        if valid[i] < valid[best]:\n            best = i\n        else:\n            count += 1\n"
            "        if count >= patience:\n            break\n    return best + 1, test[best]\n",
            ["count not set back"],
        ),
        (
            "def early_stopping(valid, test, patience):\n    best = count = 0\n    for i in range(len(valid)):\n"
            "        if valid[i] < valid[best]:\n            best, count = i, 0\n        else:\n"
            "            count += 1\n        if count >= patience:\n            break\n"
            "    return best + 1, test[best]\n",
            ["nan kept as the first best loss"],
        ),
        (RIGHT["early_stopping"], []),
    ],
}


def file_of(changes=None) -> str:
    """A complete exercises.py with right functions, but for those in `changes`."""
    functions = {**RIGHT, **(changes or {})}
    return HEAD + "\n\n".join(functions.values())
