/**
 * The namespace of the page. Every file adds its objects to it, so a script that is added to the
 * page can use all of them. Arrays are Float64Array or Float32Array. A batch of B samples with I
 * values each is one array of B * I numbers, sample by sample.
 */
const chalk = {
  /** Layer types by name: objects with `formulas` and `forward(layer, p, x, rows, mode)`. */
  layers: {},
  /** Tabs in the order in which they are shown. */
  tabs: [],
  /** Panels that other scripts add to tabs. */
  panels: [],
  /** The running page, from `chalk.start` on. */
  app: null,
};

/**
 * Add a tab to the page.
 *
 * @param {object} tab with
 *   id {string}: its name in addresses;
 *   title {string, or a function of app}: what its button says;
 *   isAvailable(app) {function, optional}: whether this model can use the tab;
 *   render(container, app) {function}: builds the content once, when the tab is first shown;
 *   update(app, change) {function, optional}: shows what changed while the tab is visible, and
 *     when it becomes visible; change is "sample", "member", "parameters" or "shown";
 *   forgetSample(app) {function, optional}: called when another sample is chosen, in any tab;
 *   state() {function, optional}: JSON-ready state for the address, or null;
 *   hidesSample {boolean, optional}: whether the tab has nothing to do with the sample;
 *   restore(state, app) {function, optional}: shows a state again; called after render.
 */
chalk.addTab = (tab) => chalk.tabs.push(tab);

/**
 * Add a panel to the column of inputs of the tab "draw".
 *
 * @param {object} panel with title {string} and render(container, app) {function}.
 */
chalk.addPanel = (panel) => chalk.panels.push(panel);

/** Return n zeros in an array of the type of another array. */
chalk.zerosLike = (array, n) => new array.constructor(n);
