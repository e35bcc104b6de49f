// The search runs in a worker. From file:// browsers refuse workers, so there the same script runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inner = this.frame.contentWindow;
      inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }));
      inner.importScripts = (...scripts) => Promise.all(scripts.map(script => this.load(script)));
      this.ready = this.load(address);
    }

    load(address) {
      const script = this.frame.contentDocument.createElement("script");
      script.src = address;
      return new Promise((loaded, failed) => {
        script.onload = loaded;
        script.onerror = () => failed(new Error(`cannot load ${address}`));
        this.frame.contentDocument.body.append(script);
      });
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }

    set onmessage(listener) {
      this.addEventListener("message", listener);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
