import { CTViewer, element, windowButtons } from "/viewer/ct_viewer.js";
import { Saver, ask } from "/page/reader_saving.js";

// The question and its scale are the paper's (appendix C); it names no words for the scores, these are ours.
const SCORE_WORDS = ["wrong", "mostly wrong", "partly right", "mostly right", "right"];
const COMMENT_PAUSE_MS = 400;
const byId = (id) => document.getElementById(id);

// One reader's visit: the open case, its reports, and the actions of the keys.
class Visit {
  constructor(reader, progress) {
    this.reader = reader;
    this.windows = progress.windows;
    this.done = progress.done;
    this.saver = new Saver((state, text) => {
      byId("saved").className = state;
      byId("saved").textContent = text;
    }, (report, now, kind) => this.meet(report, now, kind));
    this.viewer = new CTViewer(byId("viewer"));
    this.commentTimer = null;
    this.buildControls();
    this.openCase(progress.case, progress.report);
  }

  buildControls() {
    byId("reader").textContent = this.reader;
    this.windowKey = windowButtons(byId("windows"), this.viewer, this.windows);
    byId("viewer").addEventListener("measured", ({ detail }) => {
      byId("length").textContent = detail.mm === null ? "" : detail.mm.toFixed(1) + " mm";
    });
    byId("viewer").addEventListener("measuring", ({ detail }) => byId("ruler").setAttribute("aria-pressed", detail));
    byId("ruler").addEventListener("click", () => this.viewer.measure(!this.viewer.measuring));
    SCORE_WORDS.forEach((word, index) => {
      const button = element("button");
      button.type = "button";
      button.setAttribute("role", "radio");
      button.append(element("b", "", index + 1), element("small", "", word));
      button.addEventListener("click", () => this.score(index + 1));
      byId("scores").append(button);
    });
    byId("comment").addEventListener("input", () => this.writeComment());
    byId("comment").addEventListener("blur", () => this.flushComment());
    byId("previous").addEventListener("click", () => this.openCase(this.number - 1, 0));
    byId("next").addEventListener("click", () => this.openCase(this.number + 1, 0));
    // Before niivue's own keys.
    document.addEventListener("keydown", (event) => this.key(event), true);
    this.viewer.setWindow(this.windows[0]);
    this.viewer.measure(false);
  }

  async openCase(number, report) {
    if (number < 0 || number >= this.done.length || this.opening) return;
    this.flushComment();
    this.opening = true;
    byId("case-title").textContent = `Case ${number + 1} of ${this.done.length} …`;
    try {
      await this.saver.idle();
      const response = await ask(`case/${number}`);
      const content = await response.json();
      if (!response.ok) throw new Error(content.error);
      const scan = await ask(`case/${number}/scan`);
      if (!scan.ok) throw new Error((await scan.json()).error);
      this.viewer.setWindow(this.windows[0]);
      await this.viewer.open(await scan.arrayBuffer());
      this.number = number;
      this.reports = content.reports;
      this.current = report;
      byId("case-title").textContent = `Case ${number + 1} of ${this.done.length}`;
      this.show();
    } catch (error) {
      byId("case-title").textContent = `Case ${number + 1} cannot be opened: ${error.message}`;
    } finally {
      this.opening = false;
    }
  }

  show() {
    const report = this.reports[this.current];
    byId("letters").replaceChildren(...this.reports.map((other, index) => {
      const button = element("button", "", other.letter);
      button.setAttribute("aria-label", "Report " + other.letter);
      button.type = "button";
      button.setAttribute("role", "tab");
      button.setAttribute("aria-selected", index === this.current);
      if (other.score) button.append(element("span", "given", other.score + " ✓"));
      button.addEventListener("click", () => this.openReport(index));
      return button;
    }));
    byId("report").textContent = report.text || "(this report is empty)";
    byId("report").scrollTop = 0;
    byId("comment-letter").textContent = report.letter;
    byId("comment").value = report.comment;
    [...byId("scores").children].forEach((button, index) =>
      button.setAttribute("aria-checked", report.score === index + 1));
    this.showProgress();
  }

  showProgress() {
    this.done[this.number] = this.reports.every((report) => report.score);
    const complete = this.done.filter(Boolean).length;
    byId("progress-bar").style.width = (100 * complete) / this.done.length + "%";
    byId("progress-text").textContent = `${complete} of ${this.done.length} complete`;
    const last = this.number === this.done.length - 1;
    byId("previous").disabled = this.number === 0;
    byId("next").disabled = last;
    byId("next").classList.toggle("ready", this.done[this.number] && !last);
    byId("complete").textContent = complete === this.done.length ? "study complete, thank you" : this.done[this.number] ? "case complete" : "";
  }

  openReport(index) {
    if (index < 0 || index >= this.reports.length) return;
    this.flushComment();
    this.current = index;
    this.show();
  }

  score(value) {
    if (this.opening) return;
    const report = this.reports[this.current];
    report.score = value;
    this.saver.save(this.number, report, "score", value);
    this.showAgain();
  }

  showAgain() {
    const top = byId("report").scrollTop;
    this.show();
    byId("report").scrollTop = top;
  }

  // Another window answered first. Its score is shown. A comment that is being written stays, and typing the next
  // letter replaces the other window's comment.
  meet(report, now, kind) {
    report.versions = now.versions;
    const elsewhere = "in another window, report " + report.letter + " was";
    if (kind === "comment") {
      return `${elsewhere} commented “${now.comment}”; change your comment to replace it`;
    }
    report.score = now.score;
    this.showAgain();
    return `${elsewhere} scored ${now.score}; score again to replace it`;
  }

  writeComment() {
    const report = this.reports[this.current];
    report.comment = byId("comment").value;
    this.unsent = [this.number, report, "comment", report.comment];
    byId("saved").className = "waiting";
    byId("saved").textContent = "writing …";
    clearTimeout(this.commentTimer);
    this.commentTimer = setTimeout(() => this.flushComment(), COMMENT_PAUSE_MS);
  }

  flushComment() {
    clearTimeout(this.commentTimer);
    if (this.unsent) this.saver.save(...this.unsent);
    this.unsent = null;
  }

  key(event) {
    if (event.target instanceof HTMLCanvasElement) event.stopPropagation();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = document.activeElement === byId("comment");
    if (typing && event.key !== "Escape") return;
    // If the report has the focus, these keys scroll its text.
    const scrolls = ["ArrowUp", "ArrowDown", "PageUp", "PageDown"].includes(event.key);
    if (scrolls && document.activeElement === byId("report")) return;
    const action = this.actions(event.key.length === 1 ? event.key.toLowerCase() : event.key);
    if (action) {
      event.preventDefault();
      action();
    }
  }

  actions(key) {
    if (key >= "1" && key <= "5" && key.length === 1) return () => this.score(Number(key));
    return this.windowKey(key) || this.viewer.keyAction(key) || {
      ArrowLeft: () => this.openReport(this.current - 1),
      ArrowRight: () => this.openReport(this.current + 1),
      t: () => byId("comment").focus(),
      n: () => this.openCase(this.number + 1, 0),
      p: () => this.openCase(this.number - 1, 0),
      Escape: () => {
        document.activeElement.blur();
        this.viewer.measure(false);
        this.viewer.clearLengths();
      },
    }[key];
  }
}

async function begin() {
  const response = location.hash.length > 1 ? await ask("progress") : null;
  if (!response || !response.ok) {
    byId("welcome").hidden = false;
    if (response) byId("welcome-error").textContent = (await response.json()).error;
    return;
  }
  const progress = await response.json();
  byId("study").hidden = false;
  new Visit(progress.reader, progress);
}

window.addEventListener("hashchange", () => location.reload());
begin();
