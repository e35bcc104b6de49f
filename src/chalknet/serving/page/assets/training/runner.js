/** The functions and classes of the files of the engine; they run here, and their text runs in a worker. */
chalk.training = chalk.trainingEngine();

/**
 * Start a place where trainings run: a worker, so that the page stays responsive. Where a browser
 * refuses the worker, trainings run in the page in short slices, with the same result.
 *
 * @param {function(object)} answer is called with each answer; see training_loop.js.
 * @param {object} options {inPage: run in the page}.
 * @returns {{place: string, send: function(object), stop: function()}} place is "worker" or "page".
 */
chalk.startTrainingRunner = (answer, { inPage = false } = {}) => {
  const runner = { place: "worker" };
  let worker = null;
  const unanswered = []; // messages since the last start, until the worker has answered once
  const useThePage = () => {
    const loop = new chalk.training.TrainingLoop(answer, chalk.training.createTurns());
    Object.assign(runner, { place: "page", send: (message) => loop.handle(message), stop: () => loop.pause() });
    unanswered.splice(0).forEach(runner.send);
  };
  if (inPage) {
    useThePage();
    return runner;
  }
  try {
    const source = `(${chalk.trainingEngine})().serveTraining(self);`;
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    worker = new Worker(address);
    URL.revokeObjectURL(address);
  } catch {
    useThePage();
    return runner;
  }
  let hasAnswered = false;
  worker.onmessage = ({ data }) => {
    hasAnswered = true;
    unanswered.length = 0;
    answer(data);
  };
  worker.onerror = () => hasAnswered || useThePage();
  runner.send = (message) => {
    if (!hasAnswered) unanswered.push(message);
    worker.postMessage(message);
  };
  runner.stop = () => worker.terminate();
  return runner;
};
