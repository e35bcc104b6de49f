"use strict";

/** Requests to the server of this page, with the token if the server wants one. */
const chalkServer = {
  /** Where the token is kept until the tab is closed. */
  key: "chalknet-token",

  /** The path from this page to the root of the server. */
  base: "",

  /** Return the token, or "". */
  token() {
    try {
      return sessionStorage.getItem(this.key) ?? "";
    } catch {
      return this.kept ?? ""; // a browser may forbid to store
    }
  },

  /** Keep a token until the tab is closed. */
  keep(token) {
    this.kept = token;
    try {
      sessionStorage.setItem(this.key, token);
    } catch {
      // It is kept until the page is left.
    }
  },

  /**
   * Send a request, and return its response; one with status 401 if the token is missing or wrong.
   *
   * @param {string} path relative to the root of the server.
   * @param {object} options those of fetch.
   */
  fetch(path, options = {}) {
    const headers = { ...options.headers };
    if (this.token()) headers.Authorization = `Bearer ${this.token()}`;
    return fetch(this.base + path, { ...options, headers });
  },

  /** Return the message of a response that is an error. */
  async problem(response) {
    try {
      return (await response.json()).error;
    } catch {
      return `The server answered with status ${response.status}.`;
    }
  },

  /** Return a new element with attributes, listeners (onclick, ...) and children, which are inserted as text. */
  element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") made.addEventListener(name.slice(2), value);
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  },

  /**
   * Show a form for the token in an element until a request with it is accepted.
   *
   * @param {Element} container
   * @param {string} path what to ask for, relative to the root of the server.
   * @returns {Promise<object>} the JSON of the answer.
   */
  async load(container, path) {
    let response = await this.fetch(path);
    while (response.status === 401) {
      const said = this.token() ? "The server did not accept the token." : "This server needs a token. The person who started it has the token.";
      await this.askForToken(container, said);
      response = await this.fetch(path);
    }
    if (!response.ok) throw new Error(await this.problem(response));
    return response.json();
  },

  /** Show the form, and resolve when a token was entered. */
  askForToken(container, text) {
    const input = this.element("input", { type: "password", name: "token", autocomplete: "off", required: true, "aria-describedby": "token-text" });
    return new Promise((resolve) => {
      const form = this.element(
        "form",
        {
          class: "token",
          onsubmit: (event) => {
            event.preventDefault();
            this.keep(input.value.trim());
            container.replaceChildren();
            resolve();
          },
        },
        this.element("p", { id: "token-text", role: "status" }, text),
        this.element("label", {}, "Token", input),
        this.element("button", { class: "main" }, "Use token"),
      );
      container.replaceChildren(form);
      input.focus();
    });
  },
};
