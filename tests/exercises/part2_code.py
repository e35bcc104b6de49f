"""Solutions of part2 as students write them: one right solution, other right styles, and planted mistakes."""

RIGHT = {
    "windows": """
def windows(x, size, stride, padding):
    B, H, W, C = x.shape
    X = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    H_out = (H + 2 * padding - size) // stride + 1
    W_out = (W + 2 * padding - size) // stride + 1
    rows = np.zeros((B, H_out, W_out, size, size, C), dtype=x.dtype)
    for a in range(H_out):
        for b in range(W_out):
            i, j = a * stride, b * stride
            rows[:, a, b] = X[:, i : i + size, j : j + size]
    return rows.reshape(B * H_out * W_out, size * size * C)
""",
    "add_windows": """
def add_windows(grad_rows, shape, size, stride, padding):
    B, H, W, C = shape
    H_out = (H + 2 * padding - size) // stride + 1
    W_out = (W + 2 * padding - size) // stride + 1
    every = grad_rows.reshape(B, H_out, W_out, size, size, C)
    grad_X = np.zeros((B, H + 2 * padding, W + 2 * padding, C))
    for a in range(H_out):
        for b in range(W_out):
            i, j = a * stride, b * stride
            grad_X[:, i : i + size, j : j + size] += every[:, a, b]
    return grad_X[:, padding : padding + H, padding : padding + W]
""",
    "conv2d_forward": """
def conv2d_forward(x, weight, bias, stride, padding):
    O, size = weight.shape[0], weight.shape[1]
    B, H, W, C = x.shape
    H_out = (H + 2 * padding - size) // stride + 1
    W_out = (W + 2 * padding - size) // stride + 1
    h = windows(x, size, stride, padding) @ weight.reshape(O, -1).T + bias
    return h.reshape(B, H_out, W_out, O)
""",
    "conv2d_backward": """
def conv2d_backward(grad_h, x, weight, stride, padding):
    O, size = weight.shape[0], weight.shape[1]
    D = grad_h.reshape(-1, O)
    P = windows(x, size, stride, padding)
    grad_P = D @ weight.reshape(O, -1)
    grad_x = add_windows(grad_P, x.shape, size, stride, padding)
    return grad_x, (D.T @ P).reshape(weight.shape), D.sum(axis=0)
""",
    "max_pool_forward": """
def max_pool_forward(h, size):
    B, H, W, C = h.shape
    rows, columns = H // size, W // size
    cut = h[:, : rows * size, : columns * size]
    return cut.reshape(B, rows, size, columns, size, C).max(axis=(2, 4))
""",
    "max_pool_backward": """
def max_pool_backward(grad_g, h, size):
    B, rows, columns, C = grad_g.shape
    grad_h = np.zeros_like(h)
    for n in range(B):
        for a in range(rows):
            for b in range(columns):
                for i in range(C):
                    window = h[n, a * size : (a + 1) * size, b * size : (b + 1) * size, i]
                    row, column = divmod(window.argmax(), size)
                    grad_h[n, a * size + row, b * size + column, i] = grad_g[n, a, b, i]
    return grad_h
""",
    "dropout_forward": """
def dropout_forward(g, uniforms, rate):
    mask = (uniforms >= rate) / (1 - rate)
    return g * mask, mask
""",
    "dropout_backward": """
def dropout_backward(grad_value, mask):
    return grad_value * mask
""",
    "l2_penalty": """
def l2_penalty(parameters, strength):
    penalty, gradients = 0.0, {}
    for name, value in parameters.items():
        if name.startswith("W"):
            penalty += strength / 2 * np.sum(value**2)
            gradients[name] = strength * value
        else:
            gradients[name] = np.zeros_like(value)
    return penalty, gradients
""",
    "conv_network_gradients": """
def conv_network_gradients(x, labels, parameters, uniforms, rate):
    h = conv2d_forward(x, parameters["W_c"], parameters["b_c"], 1, 1)
    g = relu_forward(h)
    q = max_pool_forward(g, 2)
    f = q.reshape(len(q), -1)
    d, mask = dropout_forward(f, uniforms, rate)
    o = dense_forward(d, parameters["W_o"], parameters["b_o"])
    loss = cross_entropy(o, labels)
    grad_o = cross_entropy_gradient(o, labels)
    grad_d, grad_W_o, grad_b_o = dense_backward(grad_o, d, parameters["W_o"])
    grad_f = dropout_backward(grad_d, mask)
    grad_q = grad_f.reshape(q.shape)
    grad_g = max_pool_backward(grad_q, g, 2)
    grad_h = relu_backward(grad_g, h)
    grad_x, grad_W_c, grad_b_c = conv2d_backward(grad_h, x, parameters["W_c"], 1, 1)
    return loss, {"W_c": grad_W_c, "b_c": grad_b_c, "W_o": grad_W_o, "b_o": grad_b_o}
""",
}

# Other right solutions: loops over everything, stride tricks, einsum, fancy indexing, float32.
STYLES = [
    (
        "windows",
        """
def windows(x, size, stride, padding):
    x = np.pad(x, [(0, 0), (padding,) * 2, (padding,) * 2, (0, 0)])
    v = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return np.moveaxis(v, 3, -1).reshape(-1, size * size * x.shape[-1])
""",
    ),
    (
        "windows",
        """
def windows(x, size, stride, padding):
    b, h, w, c = x.shape
    big = np.zeros((b, h + 2 * padding, w + 2 * padding, c))
    big[:, padding:padding + h, padding:padding + w, :] = x
    rows = []
    for image in big:
        for top in range(0, big.shape[1] - size + 1, stride):
            for left in range(0, big.shape[2] - size + 1, stride):
                rows.append(image[top:top + size, left:left + size].flatten())
    return np.array(rows)
""",
    ),
    (
        "windows",
        """
def windows(x, size, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    n, h, w, c = x.shape
    a, b = (h - size) // stride + 1, (w - size) // stride + 1
    sn, sh, sw, sc = x.strides
    view = np.lib.stride_tricks.as_strided(x, (n, a, b, size, size, c), (sn, sh * stride, sw * stride, sh, sw, sc))
    return view.reshape(n * a * b, -1).copy()
""",
    ),
    (
        "add_windows",
        """
def add_windows(grad_rows, shape, size, stride, padding):
    b, h, w, c = shape
    positions = np.arange(b * (h + 2 * padding) * (w + 2 * padding) * c)
    padded = positions.reshape(b, h + 2 * padding, w + 2 * padding, c)
    view = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    where = np.moveaxis(view, 3, -1).reshape(grad_rows.shape)
    total = np.zeros(padded.size)
    np.add.at(total, where.ravel(), grad_rows.ravel())
    return total.reshape(padded.shape)[:, padding:padding + h, padding:padding + w]
""",
    ),
    (
        "add_windows",
        """
def add_windows(grad_rows, shape, size, stride, padding):
    b, h, w, c = shape
    total = np.zeros((b, h + 2 * padding, w + 2 * padding, c))
    k = 0
    for n in range(b):
        for top in range(0, h + 2 * padding - size + 1, stride):
            for left in range(0, w + 2 * padding - size + 1, stride):
                total[n, top:top + size, left:left + size] += grad_rows[k].reshape(size, size, c)
                k += 1
    if padding > 0:
        total = total[:, padding:-padding, padding:-padding]
    return total
""",
    ),
    (
        "conv2d_forward",
        """
def conv2d_forward(x, weight, bias, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    O, R, S, C = weight.shape
    B, H, W, _ = x.shape
    h = np.zeros((B, (H - R) // stride + 1, (W - S) // stride + 1, O))
    for n in range(B):
        for a in range(h.shape[1]):
            for b in range(h.shape[2]):
                for j in range(O):
                    for r in range(R):
                        for s in range(S):
                            for i in range(C):
                                h[n, a, b, j] += x[n, a * stride + r, b * stride + s, i] * weight[j, r, s, i]
                    h[n, a, b, j] += bias[j]
    return h
""",
    ),
    (
        "conv2d_forward",
        """
def conv2d_forward(x, weight, bias, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    k = weight.shape[1]
    v = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nabcrs,orsc->nabo", v, weight) + bias
""",
    ),
    (
        "conv2d_forward",
        """
def conv2d_forward(x, weight, bias, stride, padding):
    # one shifted copy of the images for each position in the kernel
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    O, R, S, C = weight.shape
    H, W = (x.shape[1] - R) // stride + 1, (x.shape[2] - S) // stride + 1
    h = bias
    for r in range(R):
        for s in range(S):
            h = h + x[:, r : r + H * stride : stride, s : s + W * stride : stride] @ weight[:, r, s].T
    return h
""",
    ),
    (
        "conv2d_backward",
        """
def conv2d_backward(grad_h, x, weight, stride, padding):
    B, H, W, C = x.shape
    O, R, S, _ = weight.shape
    X = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    grad_X = np.zeros_like(X)
    grad_weight = np.zeros_like(weight)
    grad_bias = np.zeros(O)
    for n in range(B):
        for a in range(grad_h.shape[1]):
            for b in range(grad_h.shape[2]):
                window = X[n, a * stride : a * stride + R, b * stride : b * stride + S]
                for j in range(O):
                    d = grad_h[n, a, b, j]
                    grad_weight[j] += d * window
                    grad_X[n, a * stride : a * stride + R, b * stride : b * stride + S] += d * weight[j]
                    grad_bias[j] += d
    return grad_X[:, padding : padding + H, padding : padding + W], grad_weight, grad_bias
""",
    ),
    (
        "conv2d_backward",
        """
def conv2d_backward(grad_h, x, weight, stride, padding):
    # grad_x as a full correlation with the turned kernel, with zeros between the gradients of a stride
    B, H, W, C = x.shape
    O, R, _, _ = weight.shape
    X = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    v = np.lib.stride_tricks.sliding_window_view(X, (R, R), axis=(1, 2))[:, ::stride, ::stride]
    grad_weight = np.einsum("nabo,nabcrs->orsc", grad_h, v)
    D = np.zeros((B, X.shape[1] + R - 1, X.shape[2] + R - 1, O))
    rows = np.arange(grad_h.shape[1]) * stride + R - 1
    columns = np.arange(grad_h.shape[2]) * stride + R - 1
    D[:, rows[:, None], columns] = grad_h
    u = np.lib.stride_tricks.sliding_window_view(D, (R, R), axis=(1, 2))
    grad_X = np.einsum("nabors,orsc->nabc", u, weight[:, ::-1, ::-1])
    inside = grad_X[:, padding : padding + H, padding : padding + W]
    return inside, grad_weight, np.einsum("nabo->o", grad_h)
""",
    ),
    (
        "max_pool_forward",
        """
def max_pool_forward(h, size):
    B, H, W, C = h.shape
    g = np.full((B, H // size, W // size, C), -np.inf)
    for r in range(size):
        for s in range(size):
            g = np.maximum(g, h[:, r::size, s::size][:, : H // size, : W // size])
    return g
""",
    ),
    (
        "max_pool_forward",
        """
def max_pool_forward(h, size):
    B, H, W, C = h.shape
    return windows(h, size, size, 0).reshape(-1, size * size, C).max(axis=1).reshape(B, H // size, W // size, C)
""",
    ),
    (
        "max_pool_backward",
        """
def max_pool_backward(grad_g, h, size):
    C = h.shape[3]
    w = windows(h, size, size, 0).reshape(-1, size * size, C)
    grad = np.zeros_like(w)
    np.put_along_axis(grad, w.argmax(axis=1)[:, None], grad_g.reshape(-1, 1, C), axis=1)
    return add_windows(grad.reshape(len(w), -1), h.shape, size, size, 0)
""",
    ),
    (
        "max_pool_backward",
        """
def max_pool_backward(grad_g, h, size):
    grad = np.zeros(h.shape, dtype=np.float32)
    taken = np.zeros(grad_g.shape, bool)
    g = max_pool_forward(h, size)
    H, W = g.shape[1:3]
    for r in range(size):
        for s in range(size):
            here = (h[:, r::size, s::size][:, :H, :W] == g) & ~taken
            taken |= here
            grad[:, r::size, s::size][:, :H, :W] = here * grad_g
    return grad
""",
    ),
    (
        "dropout_forward",
        """
def dropout_forward(g, uniforms, rate):
    keep = 1 - rate
    mask = np.where(uniforms > rate, 1 / keep, 0)
    return mask * g, mask
""",
    ),
    (
        "dropout_forward",
        """
def dropout_forward(g, uniforms, rate):
    value, mask = np.zeros_like(g), np.zeros_like(g)
    for n in range(len(g)):
        for k in range(len(g[0])):
            if uniforms[n, k] >= rate:
                mask[n, k] = 1 / (1 - rate)
                value[n, k] = g[n, k] / (1 - rate)
    return value, mask
""",
    ),
    ("dropout_backward", "dropout_backward = lambda d, mask: np.multiply(mask, d)\n"),
    (
        "l2_penalty",
        """
def l2_penalty(parameters, strength):
    gradients = {k: strength * v * (k[0] == "W") for k, v in parameters.items()}
    return 0.5 * sum(np.vdot(parameters[k], gradients[k]) for k in parameters), gradients
""",
    ),
    (
        "conv_network_gradients",
        """
def conv_network_gradients(x, labels, parameters, uniforms, rate):
    # pooling before relu: both orders give the same values and gradients
    W_c, b_c, W_o, b_o = (parameters[k] for k in ("W_c", "b_c", "W_o", "b_o"))
    h = conv2d_forward(x, W_c, b_c, stride=1, padding=1)
    q = max_pool_forward(h, 2)
    mask = (uniforms >= rate) / (1 - rate)
    f = np.maximum(q, 0).reshape(len(x), -1) * mask
    o = f @ W_o.T + b_o
    d = cross_entropy_gradient(o, labels)
    grad_q = (d @ W_o * mask).reshape(q.shape) * (q > 0)
    _, grad_W_c, grad_b_c = conv2d_backward(max_pool_backward(grad_q, h, 2), x, W_c, 1, 1)
    return cross_entropy(o, labels), {"W_o": d.T @ f, "b_o": d.sum(0), "W_c": grad_W_c, "b_c": grad_b_c}
""",
    ),
]


def _changed(name, *pairs):
    """The right solution with some text replaced."""
    code = RIGHT[name]
    for old, new in pairs:
        assert old in code, (name, old)
        code = code.replace(old, new)
    return code


_BACKWARD = "grad_x, (D.T @ P).reshape(weight.shape), D.sum(axis=0)"
_LOOPS = """
def max_pool_backward(grad_g, h, size):
    grad_h = np.zeros_like(h)
    g = max_pool_forward(h, size)
    H, W = g.shape[1:3]
    for r in range(size):
        for s in range(size):
            grad_h[:, r::size, s::size][:, :H, :W] = FORMULA
    return grad_h
"""

# (task, mistake that has to be named, code)
WRONG = [
    (
        "windows",
        "channels before pixels",
        """
def windows(x, size, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    v = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return v.reshape(-1, size * size * x.shape[3])
""",
    ),
    (
        "windows",
        "samples inside windows",
        """
def windows(x, size, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows = []
    for i in range(0, x.shape[1] - size + 1, stride):
        for j in range(0, x.shape[2] - size + 1, stride):
            rows.append(x[:, i : i + size, j : j + size].reshape(len(x), -1))
    return np.concatenate(rows)
""",
    ),
    (
        "windows",
        "last windows missing",
        "def windows(x, size, stride, padding):\n    X = np.pad(x, padding)\n    B, H, W, C = X.shape\n    rows = []\n"
        "    for i in range(0, H - size, stride):\n        for j in range(0, W - size, stride):\n"
        "            rows.append(X[:, i : i + size, j : j + size].reshape(B, -1))\n    return np.array(rows)\n",
    ),
    (
        "windows",
        "last windows missing",
        _changed("windows", ("// stride + 1", "// stride")),
    ),
    ("windows", "stride ignored", _changed("windows", ("// stride + 1", "+ 1"), ("a * stride, b * stride", "a, b"))),
    ("windows", "positions without the stride", _changed("windows", ("a * stride, b * stride", "a, b"))),
    (
        "windows",
        "padding ignored",
        _changed(
            "windows", ("X = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))", "X, padding = x, 0")
        ),
    ),
    (
        "windows",
        "padding of samples or channels",
        _changed(
            "windows",
            (
                "np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))\n",
                "np.pad(x, padding)\n    B, C = X.shape[0], X.shape[3]\n",
            ),
        ),
    ),
    (
        "windows",
        "padding on one side only",
        _changed(
            "windows",
            ("(padding, padding), (padding, padding)", "(padding, 0), (padding, 0)"),
            ("2 * padding", "padding"),
        ),
    ),
    ("windows", "too many axes", _changed("windows", (".reshape(B * H_out * W_out, size * size * C)", ""))),
    (
        "windows",
        "columns before rows in a window",
        _changed("windows", ("X[:, i : i + size, j : j + size]", "X[:, i : i + size, j : j + size].swapaxes(1, 2)")),
    ),
    ("add_windows", "overlapping windows overwrite", _changed("add_windows", ("+= every", "= every"))),
    (
        "add_windows",
        "padding not cut off",
        _changed("add_windows", ("[:, padding : padding + H, padding : padding + W]", "")),
    ),
    (
        "add_windows",
        "wrong part cut off",
        _changed("add_windows", ("padding : padding + H, padding : padding + W", ":H, :W")),
    ),
    (
        "add_windows",
        "slice that ends at -0",
        _changed("add_windows", ("padding : padding + H, padding : padding + W", "padding:-padding, padding:-padding")),
    ),
    ("add_windows", "positions without the stride", _changed("add_windows", ("a * stride, b * stride", "a, b"))),
    (
        "add_windows",
        "channels before pixels",
        _changed("add_windows", ("W_out, size, size, C)", "W_out, C, size, size).transpose(0, 1, 2, 4, 5, 3)")),
    ),
    (
        "conv2d_forward",
        "kernel turned around",
        _changed("conv2d_forward", ("weight.reshape", "weight[:, ::-1, ::-1].reshape")),
    ),
    (
        "conv2d_forward",
        "bias in every product",
        """
def conv2d_forward(x, weight, bias, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    O, R, S, C = weight.shape
    h = np.zeros((len(x), (x.shape[1] - R) // stride + 1, (x.shape[2] - S) // stride + 1, O))
    for a in range(h.shape[1]):
        for b in range(h.shape[2]):
            for r in range(R):
                for s in range(S):
                    h[:, a, b] += x[:, a * stride + r, b * stride + s] @ weight[:, r, s].T + bias
    return h
""",
    ),
    (
        "conv2d_forward",
        "reshape to the size of the images",
        _changed("conv2d_forward", ("h.reshape(B, H_out, W_out, O)", "h.reshape(B, H, W, O)")),
    ),
    ("conv2d_forward", "missing bias", _changed("conv2d_forward", (" + bias", ""))),
    (
        "conv2d_forward",
        "channels first in the result",
        _changed(
            "conv2d_forward", ("h.reshape(B, H_out, W_out, O)", "h.reshape(B, H_out, W_out, O).transpose(0, 3, 1, 2)")
        ),
    ),
    (
        "conv2d_forward",
        "channels before pixels in the kernel",
        _changed("conv2d_forward", ("weight.reshape", "weight.transpose(0, 3, 1, 2).reshape")),
    ),
    (
        "conv2d_forward",
        "reshape instead of transpose",
        _changed("conv2d_forward", ("weight.reshape(O, -1).T", "weight.reshape(-1, O)")),
    ),
    (
        "conv2d_forward",
        "stride ignored",
        _changed("conv2d_forward", ("size, stride, padding) @", "size, 1, padding) @"), ("// stride + 1", "+ 1")),
    ),
    (
        "conv2d_forward",
        "padding ignored",
        _changed("conv2d_forward", ("size, stride, padding) @", "size, stride, 0) @"), ("2 * padding", "0")),
    ),
    (
        "conv2d_backward",
        "mean instead of sum in grad_bias",
        _changed("conv2d_backward", (_BACKWARD, "grad_x, (D.T @ P).reshape(weight.shape), D.mean(axis=0)")),
    ),
    (
        "conv2d_backward",
        "sum over the samples only in grad_bias",
        _changed("conv2d_backward", ("D.sum(axis=0)", "grad_h.sum(axis=0)")),
    ),
    (
        "conv2d_backward",
        "sum over the positions only in grad_bias",
        _changed("conv2d_backward", ("D.sum(axis=0)", "grad_h.sum(axis=(1, 2))")),
    ),
    (
        "conv2d_backward",
        "kernel not turned around in grad_x",
        _changed("conv2d_backward", ("grad_P = D @ weight", "grad_P = D @ weight[:, ::-1, ::-1]")),
    ),
    (
        "conv2d_backward",
        "overlapping windows overwrite in grad_x",
        """
def conv2d_backward(grad_h, x, weight, stride, padding):
    O, R = weight.shape[:2]
    X = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    grad_X, grad_weight = np.zeros_like(X), np.zeros_like(weight)
    for a in range(grad_h.shape[1]):
        for b in range(grad_h.shape[2]):
            i, j = a * stride, b * stride
            grad_X[:, i : i + R, j : j + R] = np.einsum("no,orsc->nrsc", grad_h[:, a, b], weight)
            grad_weight += np.einsum("no,nrsc->orsc", grad_h[:, a, b], X[:, i : i + R, j : j + R])
    H, W = x.shape[1:3]
    return grad_X[:, padding : padding + H, padding : padding + W], grad_weight, grad_h.sum(axis=(0, 1, 2))
""",
    ),
    (
        "conv2d_backward",
        "padding not cut off in grad_x",
        """
def conv2d_backward(grad_h, x, weight, stride, padding):
    O, size = weight.shape[0], weight.shape[1]
    D = grad_h.reshape(-1, O)
    X = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    grad_x = add_windows(D @ weight.reshape(O, -1), X.shape, size, stride, 0)
    return grad_x, (D.T @ windows(X, size, stride, 0)).reshape(weight.shape), D.sum(axis=0)
""",
    ),
    (
        "conv2d_backward",
        "mean over the samples in grad_weight",
        _changed("conv2d_backward", ("(D.T @ P)", "(D.T @ P / len(x))")),
    ),
    ("conv2d_backward", "grad_weight as a matrix", _changed("conv2d_backward", (".reshape(weight.shape)", ""))),
    (
        "conv2d_backward",
        "reshape instead of transpose in grad_weight",
        _changed("conv2d_backward", ("D.T @ P", "P.T @ D")),
    ),
    (
        "conv2d_backward",
        "wrong order of the results",
        _changed("conv2d_backward", (_BACKWARD, "(D.T @ P).reshape(weight.shape), D.sum(axis=0), grad_x")),
    ),
    ("max_pool_forward", "mean instead of maximum", _changed("max_pool_forward", ("max(", "mean("))),
    ("max_pool_forward", "maximum over the channels", _changed("max_pool_forward", ("(2, 4)", "(2, 4, 5)"))),
    (
        "max_pool_forward",
        "never below 0",
        "def max_pool_forward(h, size):\n    H, W = h.shape[1] // size, h.shape[2] // size\n"
        "    g = np.zeros((len(h), H, W, h.shape[3]))\n    for r in range(size):\n        for s in range(size):\n"
        "            g = np.maximum(g, h[:, r::size, s::size][:, :H, :W])\n    return g\n",
    ),
    (
        "max_pool_forward",
        "reshape of incomplete windows",
        "def max_pool_forward(h, size):\n    B, H, W, C = h.shape\n"
        "    return h.reshape(B, H // size, size, W // size, size, C).max(axis=(2, 4))\n",
    ),
    (
        "max_pool_backward",
        "gradient to all equal values",
        _LOOPS.replace("FORMULA", "grad_g * (h[:, r::size, s::size][:, :H, :W] == g)"),
    ),
    ("max_pool_backward", "gradient spread over the window", _LOOPS.replace("FORMULA", "grad_g / size**2")),
    ("max_pool_backward", "gradient to the whole window", _LOOPS.replace("FORMULA", "grad_g")),
    ("max_pool_backward", "missing chain rule", _changed("max_pool_backward", ("= grad_g[n, a, b, i]", "= 1"))),
    (
        "max_pool_backward",
        "last of equal values",
        _changed(
            "max_pool_backward",
            ("divmod(window.argmax(), size)", "divmod(size * size - 1 - window[::-1, ::-1].argmax(), size)"),
        ),
    ),
    (
        "max_pool_backward",
        "maximum over the channels",
        "def max_pool_backward(grad_g, h, size):\n    B, H, W, C = grad_g.shape\n    grad = np.zeros_like(h)\n"
        "    for n in range(B):\n        for a in range(H):\n            for b in range(W):\n"
        "                w = h[n, a * size : (a + 1) * size, b * size : (b + 1) * size]\n"
        "                r, s, i = np.unravel_index(w.argmax(), w.shape)\n"
        "                grad[n, a * size + r, b * size + s, i] = grad_g[n, a, b, i]\n    return grad\n",
    ),
    ("dropout_forward", "missing scale", _changed("dropout_forward", (" / (1 - rate)", ".astype(float)"))),
    (
        "dropout_forward",
        "scaled by 1 / rate",
        "def dropout_forward(g, u, rate):\n    mask = (u >= rate) / rate if rate else np.ones_like(g)\n"
        "    return g * mask, mask\n",
    ),
    (
        "dropout_forward",
        "rate taken for the probability to keep",
        _changed("dropout_forward", ("(uniforms >= rate) / (1 - rate)", "(uniforms < rate) / max(rate, 1e-9)")),
    ),
    (
        "dropout_forward",
        "rate taken for the probability to keep",
        "def dropout_forward(g, u, rate):\n    mask = u < rate\n    return g * mask / rate, mask\n",
    ),
    ("dropout_forward", "inverted mask", _changed("dropout_forward", (">=", "<"))),
    ("dropout_forward", "multiplied instead of divided", _changed("dropout_forward", ("/ (1", "* (1"))),
    (
        "dropout_forward",
        "mask without the scale",
        "def dropout_forward(g, u, rate):\n    mask = u >= rate\n    return g * mask / (1 - rate), mask\n",
    ),
    ("dropout_backward", "mask not used", "def dropout_backward(d, mask):\n    return d.copy()\n"),
    ("dropout_backward", "missing scale", "def dropout_backward(d, mask):\n    return np.where(mask > 0, d, 0.0)\n"),
    ("dropout_backward", "divided by the mask", "def dropout_backward(d, mask):\n    return d / mask\n"),
    (
        "l2_penalty",
        "gradients of biases missing",
        _changed("l2_penalty", ("gradients[name] = np.zeros_like(value)", "pass")),
    ),
    (
        "max_pool_forward",
        "maximum over the channels",
        "def max_pool_forward(h, size):\n    return windows(h, size, size, 0).max(axis=1)\n",
    ),
    (
        "max_pool_forward",
        "one row for each window in the result",
        "def max_pool_forward(h, size):\n    rows = windows(h, size, size, 0)\n"
        "    return rows.reshape(len(rows), size * size, -1).max(axis=1)\n",
    ),
    ("l2_penalty", "penalty of the last weight only", _changed("l2_penalty", ("penalty += ", "penalty = "))),
    ("l2_penalty", "square of the sum", _changed("l2_penalty", ("np.sum(value**2)", "np.sum(value) ** 2"))),
    ("l2_penalty", "penalty on biases", _changed("l2_penalty", ('name.startswith("W")', "True"))),
    ("l2_penalty", "missing 1/2 in the penalty", _changed("l2_penalty", ("strength / 2", "strength"))),
    (
        "l2_penalty",
        "missing 1/2",
        _changed("l2_penalty", ("strength / 2", "strength"), ("= strength * value", "= 2 * strength * value")),
    ),
    (
        "l2_penalty",
        "factor 2 in the gradients",
        _changed("l2_penalty", ("= strength * value", "= 2 * strength * value")),
    ),
    ("l2_penalty", "square root in the penalty", _changed("l2_penalty", ("np.sum(value**2)", "np.linalg.norm(value)"))),
    ("l2_penalty", "mean instead of sum", _changed("l2_penalty", ("np.sum", "np.mean"))),
    (
        "conv_network_gradients",
        "mask not used in the backward pass",
        _changed("conv_network_gradients", ("dropout_backward(grad_d, mask)", "grad_d")),
    ),
    (
        "conv_network_gradients",
        "missing relu in the backward pass",
        _changed("conv_network_gradients", ("relu_backward(grad_g, h)", "grad_g")),
    ),
    (
        "conv_network_gradients",
        "missing relu in the forward pass",
        _changed("conv_network_gradients", ("g = relu_forward(h)", "g = h")),
    ),
    (
        "conv_network_gradients",
        "missing dropout",
        _changed("conv_network_gradients", ("d, mask = dropout_forward(f, uniforms, rate)", "d, mask = f, 1")).replace(
            "dropout_backward(grad_d, mask)", "grad_d"
        ),
    ),
    (
        "conv_network_gradients",
        "values before dropout in the gradient of W_o",
        _changed("conv_network_gradients", ("dense_backward(grad_o, d,", "dense_backward(grad_o, f,")),
    ),
]


def part2_file(changes=None) -> str:
    """The functions of a complete exercises.py, but for those in `changes`."""
    return "import numpy as np\n" + "\n\n".join({**RIGHT, **(changes or {})}.values())
