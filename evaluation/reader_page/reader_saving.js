"use strict";

// Sends answers one after the other, each until the server has confirmed that it is on its disk.
class Saver {
  constructor(reader, show) {
    this.address = "/api/answer?reader=" + encodeURIComponent(reader);
    this.show = show; // called with "waiting", "saved" or "failing" and a text
    this.waiting = [];
    this.sending = false;
    window.addEventListener("beforeunload", (event) => {
      if (this.waiting.length) event.preventDefault();
    });
  }

  save(answer) {
    this.waiting.push(answer);
    if (!this.sending) this.sent = this.send();
  }

  // Resolves when nothing waits any more; what the server then tells is up to date.
  async idle() {
    while (this.sending) await this.sent;
  }

  async send() {
    this.sending = true;
    while (this.waiting.length) {
      this.show("waiting", "saving …");
      try {
        const response = await fetch(this.address, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(this.waiting[0]),
        });
        if (response.status === 400) {
          // Asking again would not change the server's mind; say so and keep the page usable.
          this.waiting.shift();
          this.show("failing", "NOT SAVED: " + (await response.json()).error);
          await new Promise((resolve) => setTimeout(resolve, 4000));
          continue;
        }
        if (!response.ok) throw new Error("status " + response.status);
        this.waiting.shift();
      } catch {
        this.show("failing", "NOT SAVED, trying again …");
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
    this.show("saved", "all saved ✓");
    this.sending = false;
  }
}
