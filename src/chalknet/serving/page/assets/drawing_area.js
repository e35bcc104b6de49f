/**
 * The area to draw on, with pen, finger, mouse or the arrow keys.
 *
 * @param {number[]} shape [height, width] of the images.
 * @param {function(object[])} onchange called with the strokes when they change.
 */
chalk.DrawingArea = class {
  constructor([height, width], onchange) {
    this.strokes = [];
    this.penWidth = 18;
    this.onchange = onchange;
    const unit = chalk.CANVAS_UNITS / Math.max(height, width);
    this.size = [Math.round(width * unit), Math.round(height * unit)];
    this.cursor = null; // position of the pen that the arrow keys move
    this.isPenDown = false;
    this.canvas = chalk.element("canvas", {
      class: "drawing",
      tabindex: "0",
      role: "application",
      "aria-label":
        "Drawing area. Arrow keys move the pen. Space lowers and lifts it. Backspace removes the last stroke.",
      width: this.size[0] * 2,
      height: this.size[1] * 2,
    });
    this.canvas.style.aspectRatio = `${width} / ${height}`;
    this.listen();
    this.draw();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      this.pointer = event.pointerId;
      this.cursor = null;
      this.begin(this.point(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== this.pointer) return;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const one of events.length ? events : [event]) this.extend(this.point(one));
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(name, () => (this.pointer = null));
    }
    canvas.addEventListener("keydown", (event) => this.onkey(event));
    canvas.addEventListener("blur", () => this.hideCursor());
  }

  /** Return the whole coordinates of a pointer in units of the canvas. */
  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.clamped([
      ((event.clientX - box.left) / box.width) * this.size[0],
      ((event.clientY - box.top) / box.height) * this.size[1],
    ]);
  }

  clamped([x, y]) {
    return [
      Math.min(Math.max(Math.round(x), 0), this.size[0] - 1),
      Math.min(Math.max(Math.round(y), 0), this.size[1] - 1),
    ];
  }

  begin(point) {
    this.strokes.push({ width: this.penWidth, points: [point] });
    this.changed();
  }

  extend(point) {
    const { points } = this.strokes[this.strokes.length - 1];
    const [x, y] = points[points.length - 1];
    if (points.length < 2_000 && Math.hypot(point[0] - x, point[1] - y) >= 2) {
      points.push(point);
      this.changed();
    }
  }

  onkey(event) {
    const step = event.shiftKey ? 2 : 8;
    const move = { ArrowRight: [step, 0], ArrowLeft: [-step, 0], ArrowDown: [0, step], ArrowUp: [0, -step] }[
      event.key
    ];
    if (event.key === "Backspace") this.undo();
    else if (event.key === " ") {
      this.cursor ??= this.size.map((one) => one >> 1);
      this.isPenDown = !this.isPenDown;
      if (this.isPenDown) this.begin(this.cursor);
    } else if (move) {
      const from = this.cursor ?? this.size.map((one) => one >> 1);
      this.cursor = this.clamped([from[0] + move[0], from[1] + move[1]]);
      if (this.isPenDown) this.extend(this.cursor);
    } else return;
    event.preventDefault();
    this.draw();
  }

  hideCursor() {
    this.cursor = null;
    this.isPenDown = false;
    this.draw();
  }

  undo() {
    this.strokes.pop();
    this.isPenDown = false;
    this.changed();
  }

  clear() {
    this.strokes = [];
    this.isPenDown = false;
    this.changed();
  }

  changed() {
    this.draw();
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() =>
      this.onchange(this.strokes.map(({ width, points }) => ({ width, points: [...points] }))),
    );
  }

  /** Show strokes that came from elsewhere, such as from the address. */
  show(strokes) {
    this.strokes = strokes.map(({ width, points }) => ({ width, points: [...points] }));
    this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const scale = this.canvas.width / this.size[0];
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, ...this.size);
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink");
    Object.assign(context, { lineCap: "round", lineJoin: "round", strokeStyle: ink, fillStyle: ink });
    for (const { width, points } of this.strokes) {
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(...points[0]);
      for (const point of points) context.lineTo(...point);
      context.stroke();
    }
    if (!this.cursor) return;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(...this.cursor, this.penWidth / 2 + 2, 0, 2 * Math.PI);
    context.stroke();
  }
};
