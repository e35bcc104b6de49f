/** The windows of images that convolution and pooling look at. Images are (H, W, C): row, column, channel. */

/** Return [height, width] of a setting that is one number or two. */
chalk.pair = (size) => (typeof size === "number" ? [size, size] : size);

/** Return {size: [R, S], stride, zeros: [above, left]} of a convolution or pooling. */
chalk.windowOf = (layer) => {
  const { kernel_size: kernel, size, stride, padding } = layer.settings;
  if (layer.type === "conv2d") {
    const [high, wide] = chalk.pair(kernel ?? 3);
    const zeros = padding ?? "same";
    return {
      size: [high, wide],
      stride: stride ?? 1,
      zeros: zeros === "same" ? [(high - 1) >> 1, (wide - 1) >> 1] : [zeros, zeros],
    };
  }
  return { size: [size ?? 2, size ?? 2], stride: stride ?? size ?? 2, zeros: [0, 0] };
};

/**
 * Call a function for every pixel of every window of a batch of images; pixels in the padding are left out.
 *
 * @param layer with input_shape (H, W, C) and output_shape (H', W', O).
 * @param {number} rows images of the batch.
 * @param {function(number, number, number)} each called with the position of the window's first output
 *   value, the position in the window (row by row), and the position of the pixel's first channel in x.
 */
chalk.eachWindow = (layer, rows, each) => {
  const [height, width, channels] = layer.input_shape;
  const [high, wide, filters] = layer.output_shape;
  const { size, stride, zeros } = chalk.windowOf(layer);
  for (let n = 0; n < rows; n++) {
    for (let a = 0; a < high; a++) {
      for (let b = 0; b < wide; b++) {
        const out = ((n * high + a) * wide + b) * filters;
        for (let r = 0; r < size[0]; r++) {
          const y = a * stride + r - zeros[0];
          if (y < 0 || y >= height) continue;
          for (let s = 0; s < size[1]; s++) {
            const x = b * stride + s - zeros[1];
            if (x >= 0 && x < width)
              each(out, r * size[1] + s, ((n * height + y) * width + x) * channels);
          }
        }
      }
    }
  }
};
