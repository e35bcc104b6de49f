/**
 * Return the logarithms of the probabilities of one row, without overflow.
 *
 * log p_k = (o_k - c) - log sum_j exp(o_j - c),  c = max_j o_j           (docs/derivation.md, S3)
 *
 * @param logits (K,) one row.
 */
chalk.logSoftmax = (logits) => {
  let largest = -Infinity;
  for (const one of logits) largest = Math.max(largest, one);
  let sum = 0;
  for (const one of logits) sum += Math.exp(one - largest);
  const normalizer = Math.log(sum);
  return logits.map((one) => one - largest - normalizer);
};

/** Return class probabilities from the logits of one row (docs/derivation.md, S2). */
chalk.softmax = (logits) => chalk.logSoftmax(logits).map(Math.exp);

/**
 * Return the mean cross-entropy to target distributions in nats, and its gradient.
 *
 * loss    = -(1/B) sum_n sum_k T_nk log softmax(o_n)_k                   (docs/derivation.md, L5)
 * dL/do_n = (1/B) (softmax(o_n) - T_n)                                   (L6; L4 for one-hot T)
 * T_nk    = (1 - smoothing) onehot(y_n)_k + smoothing / K                (L7)
 *
 * @param logits (B, K).
 * @param {ArrayLike<number>} labels (B,) integers in [0, K).
 * @param {{reduction: ?string, smoothing: ?number}} options reduction is "mean" or "sum".
 * @returns {{loss: number, gradLogits, correct: number}} correct counts right predictions.
 */
chalk.crossEntropy = (logits, labels, { reduction = "mean", smoothing = 0 } = {}) => {
  const rows = labels.length;
  const k = logits.length / rows;
  const divisor = reduction === "mean" ? rows : 1;
  const gradLogits = chalk.zerosLike(logits, logits.length);
  let loss = 0;
  let correct = 0;
  for (let n = 0; n < rows; n++) {
    const logs = chalk.logSoftmax(logits.subarray(n * k, (n + 1) * k));
    let best = 0;
    for (let j = 0; j < k; j++) {
      const target = (j === labels[n] ? 1 - smoothing : 0) + smoothing / k;
      if (target > 0) loss -= (target * logs[j]) / divisor;
      gradLogits[n * k + j] = (Math.exp(logs[j]) - target) / divisor;
      if (logs[j] > logs[best]) best = j;
    }
    correct += best === labels[n] ? 1 : 0;
  }
  return { loss, gradLogits, correct };
};
