/**
 * The random numbers of numpy.random.RandomState: the Mersenne Twister, normal numbers and permutations.
 *
 * The same seed gives the numbers that NumPy gives, so the page starts from the weights that chalknet starts from.
 * Source: Matsumoto and Nishimura, Mersenne Twister (ACM TOMACS 1998). NumPy has frozen these streams (NEP 19).
 */

const TWISTER_SIZE = 624;
const TWISTER_SHIFT = 397;

class RandomStream {
  /** seed: a whole number from 0 to 4294967295. */
  constructor(seed) {
    this.state = new Uint32Array(TWISTER_SIZE);
    this.state[0] = seed;
    for (let i = 1; i < TWISTER_SIZE; i++) {
      const last = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, last) + i;
    }
    this.position = TWISTER_SIZE;
    this.spare = null; // normal numbers are made in pairs
  }

  /** Return a whole number from 0 to 4294967295. */
  integer() {
    if (this.position === TWISTER_SIZE) this.twist();
    let word = this.state[this.position++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  twist() {
    const { state } = this;
    for (let i = 0; i < TWISTER_SIZE; i++) {
      const joined = (state[i] & 0x80000000) | (state[(i + 1) % TWISTER_SIZE] & 0x7fffffff);
      state[i] = state[(i + TWISTER_SHIFT) % TWISTER_SIZE] ^ (joined >>> 1) ^ (joined & 1 ? 0x9908b0df : 0);
    }
    this.position = 0;
  }

  /** Return a number in [0, 1) with 53 random bits. */
  uniform() {
    const high = this.integer() >>> 5;
    return (high * 67108864 + (this.integer() >>> 6)) / 9007199254740992;
  }

  /** Return a normal number with mean 0 and standard deviation 1, by the polar method. */
  normal() {
    if (this.spare !== null) {
      const spare = this.spare;
      this.spare = null;
      return spare;
    }
    let x, y, square;
    do {
      x = 2 * this.uniform() - 1;
      y = 2 * this.uniform() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const factor = Math.sqrt((-2 * Math.log(square)) / square);
    this.spare = factor * x;
    return factor * y;
  }

  /** Return a whole number from 0 to most. Numbers above it are drawn again, so that all are equally likely. */
  upTo(most) {
    if (most === 0) return 0;
    const mask = 0xffffffff >>> Math.clz32(most);
    let value;
    do value = (this.integer() & mask) >>> 0;
    while (value > most);
    return value;
  }

  /** Return the numbers 0 to n - 1 in random order. */
  permutation(n) {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.upTo(i);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}
