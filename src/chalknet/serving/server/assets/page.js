"use strict";

/** Show the panel for uploads, after the token if the server wants one. */
const showPage = async () => {
  const main = document.getElementById("main");
  try {
    const { models } = await chalkServer.load(main, "v1/models");
    main.replaceChildren();
    new chalkUpload.Panel(main, models);
  } catch (error) {
    main.replaceChildren(chalkServer.element("p", { class: "problem" }, error.message));
  }
  document.documentElement.dataset.ready = "true"; // tests wait for it
};

showPage();
