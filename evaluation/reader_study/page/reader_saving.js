// The secret in the link identifies the reader. It is behind the #, a part that browsers never send by themselves.
export function ask(path, options = {}) {
  const secret = location.hash.slice(1);
  return fetch("/api/" + path, { ...options, headers: { ...options.headers, Authorization: "Bearer " + secret } });
}

// Sends answers one by one, and repeats each until the server has confirmed that it is on its disk.
export class Saver {
  constructor(show, conflict) {
    this.show = show; // called with "waiting", "saved" or "failing" and a text
    this.conflict = conflict; // called with a refused answer and its report as the server has it
    this.waiting = [];
    this.sending = false;
    window.addEventListener("beforeunload", (event) => {
      if (this.waiting.length) event.preventDefault();
    });
  }

  // `kind` is "score" or "comment"; `report` is what the page shows, with the versions it was answered on.
  save(number, report, kind, value) {
    this.waiting.push({ number, report, kind, value });
    if (!this.sending) this.sent = this.send();
  }

  // Resolves when no answer waits any more; the server's data is then up to date.
  async idle() {
    while (this.sending) await this.sent;
  }

  async send() {
    this.sending = true;
    while (this.waiting.length) {
      this.show("waiting", "saving …");
      try {
        await this.sendFirst(this.waiting[0]);
      } catch {
        this.show("failing", "NOT SAVED, trying again …");
        await pause(500);
      }
    }
    this.show("saved", "all saved ✓");
    this.sending = false;
  }

  async sendFirst({ number, report, kind, value }) {
    const response = await ask("answer", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ case: number, letter: report.letter, version: report.versions[kind], [kind]: value }),
    });
    if (response.ok) {
      report.versions[kind] = (await response.json()).version;
      this.waiting.shift();
    } else if (response.status === 409) {
      // The reader did not see the other window's answer, so answers waiting for the same place are dropped.
      const now = (await response.json()).report;
      this.waiting = this.waiting.filter((other) => other.report !== report || other.kind !== kind);
      await this.tell(this.conflict(report, now, kind));
    } else if (response.status >= 400 && response.status < 500) {
      // Sending it again would give the same error; show the error and keep the page usable.
      const said = (await response.json()).error;
      this.waiting.shift();
      await this.tell(said);
    } else {
      throw new Error("status " + response.status);
    }
  }

  async tell(text) {
    this.show("failing", "NOT SAVED: " + text);
    await pause(4000);
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
