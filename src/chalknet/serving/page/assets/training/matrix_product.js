/**
 * C += A B in float32, the operation that training spends its time in.
 *
 * The product is a WebAssembly function with SIMD instructions. `productProgram` is its source, which
 * is assembled when the page opens. Where a browser or a policy refuses WebAssembly, a loop in
 * JavaScript takes its place. It rounds every step to float32, so it gives the same bits, and is about
 * 20 times slower.
 *
 * B is stored in panels of 8 columns: panel p holds the rows of the columns 8p to 8p + 7, one after
 * the other. So the inner loop reads memory in order. `packPanels` makes the panels of a matrix.
 */

const PANEL = 8; // columns of a panel, two vectors of four
const ROW_BLOCK = 4; // rows of A that the inner loop handles at once; counts of rows are multiples of it

/** The inner loop keeps a block of C, 4 rows by 8 columns, in eight vectors. Addresses and steps are in bytes. */
const PRODUCT_PARAMETERS = ["a", "aRow", "aColumn", "b", "c", "cRow", "rows", "panels", "depth"];
const PRODUCT_INTEGERS = ["row", "k", "aBlock", "cBlock", "bAt", "a0", "a1", "a2", "a3", "c0", "c1", "c2", "c3"];
const PRODUCT_VECTORS = ["x", "left", "right", ...[0, 1, 2, 3].flatMap((i) => [`left${i}`, `right${i}`])];

/** Return the program: a loop over panels, a loop over blocks of rows, and the inner loop over the depth. */
function productProgram() {
  const repeated = (rows, text) => rows.map((i) => text.replaceAll("#", i).replaceAll("@", i - 1)).join("\n");
  const each = (text) => repeated([0, 1, 2, 3], text);
  const further = (text) => repeated([1, 2, 3], text); // each row after the first, from the row before it
  return `
  loop
    get a  set aBlock    get c  set cBlock    get rows  set row
    loop
      get aBlock  set a0    get cBlock  set c0    get b  set bAt
      ${further("get a@  get aRow  i32.add  set a#    get c@  get cRow  i32.add  set c#")}
      ${each("get c#  v128.load 0  set left#    get c#  v128.load 16  set right#")}
      get depth  set k
      loop
        get bAt  v128.load 0  set left    get bAt  v128.load 16  set right
        ${each(`get a#  v128.load32_splat 0  set x    get a#  get aColumn  i32.add  set a#
          get left#  get x  get left  f32x4.mul  f32x4.add  set left#
          get right#  get x  get right  f32x4.mul  f32x4.add  set right#`)}
        get bAt  const 32  i32.add  set bAt
        get k  const 1  i32.sub  tee k  br_if 0
      end
      ${each("get c#  get left#  v128.store 0    get c#  get right#  v128.store 16")}
      get aBlock  get aRow  const 2  i32.shl  i32.add  set aBlock
      get cBlock  get cRow  const 2  i32.shl  i32.add  set cBlock
      get row  const 4  i32.sub  tee row  br_if 0
    end
    get b  get depth  const 5  i32.shl  i32.add  set b
    get c  const 32  i32.add  set c
    get panels  const 1  i32.sub  tee panels  br_if 0
  end
  end`;
}

/** Instructions of WebAssembly: their bytes, and what follows them in the program. */
const INSTRUCTIONS = {
  loop: { bytes: [0x03, 0x40] },
  end: { bytes: [0x0b] },
  br_if: { bytes: [0x0d], then: "number" },
  get: { bytes: [0x20], then: "name" },
  set: { bytes: [0x21], then: "name" },
  tee: { bytes: [0x22], then: "name" },
  const: { bytes: [0x41], then: "number" },
  "i32.add": { bytes: [0x6a] },
  "i32.sub": { bytes: [0x6b] },
  "i32.shl": { bytes: [0x74] },
  "v128.load": { bytes: [0xfd, 0x00], then: "offset" },
  "v128.load32_splat": { bytes: [0xfd, 0x09], then: "offset" },
  "v128.store": { bytes: [0xfd, 0x0b], then: "offset" },
  "f32x4.add": { bytes: [0xfd, 0xe4, 0x01] },
  "f32x4.mul": { bytes: [0xfd, 0xe6, 0x01] },
};
const ALIGNMENT = 2; // memory operands promise a multiple of 2^2 bytes, which every float32 has

/** Return the bytes of a program. Numbers in it are from 0 to 63, so each is one byte. */
function assembled(program, names) {
  const words = program.trim().split(/\s+/);
  const bytes = [];
  for (let at = 0; at < words.length; at++) {
    const instruction = INSTRUCTIONS[words[at]];
    bytes.push(...instruction.bytes);
    if (instruction.then === "offset") bytes.push(ALIGNMENT);
    if (instruction.then === "name") bytes.push(names.indexOf(words[++at]));
    else if (instruction.then) bytes.push(Number(words[++at]));
  }
  return bytes;
}

/** Return the bytes of a module that imports its memory and exports the function `product`. */
function productModule() {
  const i32 = 0x7f;
  const v128 = 0x7b;
  const text = (word) => [word.length, ...Array.from(word, (letter) => letter.charCodeAt(0))];
  const long = (count) => [(count & 0x7f) | 0x80, count >> 7]; // LEB128 in two bytes, for counts below 16,384
  const section = (id, bytes) => [id, ...long(bytes.length), ...bytes];
  const locals = [2, PRODUCT_INTEGERS.length, i32, PRODUCT_VECTORS.length, v128];
  const code = assembled(productProgram(), [...PRODUCT_PARAMETERS, ...PRODUCT_INTEGERS, ...PRODUCT_VECTORS]);
  const body = [...locals, ...code];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, [1, 0x60, PRODUCT_PARAMETERS.length, ...PRODUCT_PARAMETERS.map(() => i32), 0]),
    ...section(2, [1, ...text("page"), ...text("memory"), 0x02, 0x00, 0x01]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...text("product"), 0x00, 0x00]),
    ...section(10, [1, ...long(body.length), ...body]),
  ]);
}

/**
 * A memory of float32 arrays, and the product of matrices in it.
 *
 * floats(n) returns a new Float32Array of n zeros. product(a, aRow, aColumn, b, c, cRow, rows, panels, depth) adds
 * A B to C: A is (rows, depth) with element (i, k) at a[i aRow + k aColumn], b holds panels, and C is
 * (rows, 8 panels) with element (i, j) at c[i cRow + j]. `kind` is "WebAssembly" or "JavaScript".
 */
function createArena(nFloats, allowWebAssembly = true) {
  const nBytes = 4 * nFloats;
  const { buffer, product, kind } = (allowWebAssembly && compiledProduct(nBytes)) || {
    buffer: new ArrayBuffer(nBytes),
    product: productInJavaScript,
    kind: "JavaScript",
  };
  let used = 0;
  const floats = (n) => {
    const array = new Float32Array(buffer, used, n);
    used += 4 * Math.ceil(n / 4) * 4; // every array starts at a multiple of 16 bytes
    return array;
  };
  return { floats, product, kind };
}

/** Return memory and product of the WebAssembly module, or null where it is refused. */
function compiledProduct(nBytes) {
  try {
    const memory = new WebAssembly.Memory({ initial: Math.ceil(nBytes / 65536) });
    const module = new WebAssembly.Module(productModule());
    const { product } = new WebAssembly.Instance(module, { page: { memory } }).exports;
    const onArrays = (a, aRow, aColumn, b, c, cRow, rows, panels, depth) => {
      product(a.byteOffset, 4 * aRow, 4 * aColumn, b.byteOffset, c.byteOffset, 4 * cRow, rows, panels, depth);
    };
    return { buffer: memory.buffer, product: onArrays, kind: "WebAssembly" };
  } catch {
    return null;
  }
}

/** The same product in JavaScript. Math.fround rounds as float32 does, so that the bits are those of WebAssembly. */
function productInJavaScript(a, aRow, aColumn, b, c, cRow, rows, panels, depth) {
  for (let column = 0; column < PANEL * panels; column++) {
    const start = PANEL * depth * Math.floor(column / PANEL) + (column % PANEL);
    for (let row = 0; row < rows; row += ROW_BLOCK) {
      columnOfBlock(a, row * aRow, aRow, aColumn, b, start, c, row * cRow + column, cRow, depth);
    }
  }
}

function columnOfBlock(a, aAt, aRow, aColumn, b, bStart, c, cAt, cRow, depth) {
  const round = Math.fround;
  let [first, second, third, fourth] = [c[cAt], c[cAt + cRow], c[cAt + 2 * cRow], c[cAt + 3 * cRow]];
  for (let k = 0, at = aAt, bAt = bStart; k < depth; k++, at += aColumn, bAt += PANEL) {
    const factor = b[bAt];
    first = round(first + round(a[at] * factor));
    second = round(second + round(a[at + aRow] * factor));
    third = round(third + round(a[at + 2 * aRow] * factor));
    fourth = round(fourth + round(a[at + 3 * aRow] * factor));
  }
  c[cAt] = first;
  c[cAt + cRow] = second;
  c[cAt + 2 * cRow] = third;
  c[cAt + 3 * cRow] = fourth;
}

/** Write the panels of a (depth, 8 panels) matrix with element (k, j) at source[k row + j column]. */
function packPanels(source, row, column, depth, panels, target) {
  let to = 0;
  for (let panel = 0; panel < panels; panel++) {
    for (let k = 0; k < depth; k++) {
      let from = k * row + PANEL * panel * column;
      for (let j = 0; j < PANEL; j++, from += column) target[to++] = source[from];
    }
  }
}
