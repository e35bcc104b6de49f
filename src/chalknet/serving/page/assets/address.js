/**
 * The address of the page holds what is shown, so that a link leads to one moment.
 *
 * The part after # has one entry per key, such as #tab=explain&sample=e12&explain=...; the values of
 * tabs are JSON.
 */
chalk.address = {
  /** Return the entries of the address as an object of texts. */
  read: () => Object.fromEntries(new URLSearchParams(location.hash.slice(1))),

  /** Replace the entries of the address without a new entry in the browser's history. */
  write(entries) {
    const text = new URLSearchParams(
      Object.entries(entries).filter(([, value]) => value !== null),
    ).toString();
    if (`#${text}` !== location.hash) history.replaceState(null, "", `#${text}`);
  },

  /** Return bytes as text for an address (base64 with - and _). */
  text: (bytes) =>
    btoa(String.fromCharCode(...bytes))
      .replace(/\+/g, "-")
      .replace(/\//g, "_")
      .replace(/=+$/, ""),

  /** Return the bytes of such a text. */
  bytes: (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0)),
};
