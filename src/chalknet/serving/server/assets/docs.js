"use strict";

/** Show the documentation, after the token if the server wants one. */
const showDocs = async () => {
  const main = document.getElementById("main");
  try {
    const spec = await chalkServer.load(main, "openapi.json");
    main.replaceChildren(chalkServer.element("div", { id: "swagger-ui" }));
    const ui = SwaggerUIBundle({ spec, dom_id: "#swagger-ui", validatorUrl: null, deepLinking: false, presets: [SwaggerUIBundle.presets.apis] });
    if (chalkServer.token()) ui.preauthorizeApiKey("token", chalkServer.token());
  } catch (error) {
    main.replaceChildren(chalkServer.element("p", { class: "problem token" }, error.message));
  }
  document.documentElement.dataset.ready = "true"; // tests wait for it
};

showDocs();
