/**
 * The training as an answering machine for messages. The page talks to it directly or in a worker, with the same result.
 *
 * data      { samples }                        the samples of the next trainings; see TrainingSession
 * start     { settings, view, run }            a new training; the answer is its first snapshot
 * play      { until, speed }                   train up to an epoch, at most `speed` epochs per second (0: no limit)
 * pause, update, epoch                         stop; make one update; finish the current epoch
 * snapshot  { since, view, run }               the answer is a snapshot
 * Answers are { type: "snapshot" or "error", run, ... }; `run` tells the trainings apart.
 */

const SLICE_MILLISECONDS = 10; // after it, the loop looks for messages
const WAIT_MILLISECONDS = 8; // between two looks at the clock, if the training is ahead of its speed

class TrainingLoop {
  /**
   * answer(message, buffers) sends an answer. later(function, milliseconds) calls a
   * function after a time, and after waiting messages were handled.
   */
  constructor(answer, later, allowWebAssembly = true) {
    this.answer = answer;
    this.later = later;
    this.allowWebAssembly = allowWebAssembly;
    this.session = null;
    this.playing = false;
    this.turnIsDue = false;
  }

  handle(message) {
    try {
      this[message.type](message);
    } catch (error) {
      this.playing = false;
      this.answer({ type: "error", run: this.run, text: String(error.message ?? error) }, []);
    }
  }

  data({ samples }) {
    this.samples = samples;
  }

  start({ settings, view, run }) {
    this.playing = false;
    this.run = run;
    this.session = new TrainingSession(this.samples, settings, this.allowWebAssembly);
    this.snapshot({ since: 0, view, run });
  }

  play({ until, speed }) {
    Object.assign(this, { until, speed, playing: true, started: performance.now() });
    this.updatesBefore = this.session.updates;
    this.takeTurns();
  }

  pause() {
    this.playing = false;
  }

  update() {
    this.playing = false;
    this.session.update();
  }

  epoch() {
    this.playing = false;
    const { epoch } = this.session;
    while (this.session.epoch === epoch && !this.session.diverged) this.session.update();
  }

  snapshot({ since, view, run }) {
    if (run !== this.run) return;
    const snapshot = this.session.snapshot(since, view);
    this.answer({ type: "snapshot", run, playing: this.playing, ...snapshot }, snapshotBuffers(snapshot));
  }

  takeTurns() {
    if (this.turnIsDue || !this.playing) return;
    this.turnIsDue = true;
    const isAhead = this.session.updates >= this.updatesDue();
    this.later(() => {
      this.turnIsDue = false;
      if (!this.playing) return;
      this.turn();
      this.takeTurns();
    }, isAhead ? WAIT_MILLISECONDS : 0);
  }

  /** Return how many updates should be done by now at the wanted speed. */
  updatesDue() {
    if (!this.speed) return Infinity;
    const seconds = (performance.now() - this.started) / 1000;
    return this.updatesBefore + seconds * this.speed * this.session.updatesPerEpoch;
  }

  /** Make updates for some milliseconds, at least one unless the training is ahead of its speed. */
  turn() {
    const { session } = this;
    const begun = performance.now();
    const due = this.updatesDue();
    do {
      if (session.epoch >= this.until || session.diverged) this.playing = false;
      else if (session.updates < due) session.update();
    } while (this.playing && session.updates < due && performance.now() - begun < SLICE_MILLISECONDS);
  }
}

/** Connect a loop with the messages of a worker. */
function serveTraining(scope) {
  const loop = new TrainingLoop((message, buffers) => scope.postMessage(message, buffers), createTurns());
  scope.onmessage = ({ data }) => loop.handle(data);
}

/** Return later(function, milliseconds). A timer of 0 waits 4 ms in browsers, and a message to oneself does not. */
function createTurns() {
  const channel = new MessageChannel();
  const waiting = [];
  channel.port1.onmessage = () => waiting.shift()();
  return (action, milliseconds) => {
    if (milliseconds > 0) {
      setTimeout(action, milliseconds);
      return;
    }
    waiting.push(action);
    channel.port2.postMessage(null);
  };
}
