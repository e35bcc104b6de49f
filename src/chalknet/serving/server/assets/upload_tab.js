/** The tab for uploads in the interactive page of a model. It comes first, because a server is asked for predictions. */
chalkServer.base = chalk.data.extras.base;
chalk.tabs.unshift({
  id: "upload",
  title: "Upload",
  hidesSample: true,
  render(container) {
    container.append(chalkServer.element("p", { class: "soft" }, "In this tab the server computes the predictions, with the weights of the model file."));
    new chalkUpload.Panel(container, chalk.data.extras.models);
  },
});
