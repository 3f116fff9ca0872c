// The page of `argus view`: a report, and the scan it was written for. A click on a sentence moves the crosshair to the
// peak of its map and shows the map.
import { CTViewer, drawsOnProcessor, element, windowButtons } from "/viewer/ct_viewer.js";

const byId = (id) => document.getElementById(id);

// The secret is behind the #, a part of an address that browsers never send by themselves.
async function ask(path) {
  const response = await fetch("/api/" + path, { headers: { Authorization: "Bearer " + location.hash.slice(1) } });
  if (!response.ok) {
    const told = await response.json().catch(() => ({ error: `argus view answered ${response.status}` }));
    throw new Error(told.error);
  }
  return response;
}

class ReportPage {
  constructor(content) {
    this.content = content;
    this.current = -1;
    this.maps = new Map();
    this.viewer = new CTViewer(byId("viewer"), { solid: true });
    this.windowKey = windowButtons(byId("windows"), this.viewer, content.windows);
    byId("viewer").addEventListener("place", (event) => this.showPlace(event.detail));
    byId("viewer").addEventListener("measured", ({ detail }) => {
      byId("length").textContent = detail.mm === null ? "" : detail.mm.toFixed(1) + " mm";
    });
    byId("viewer").addEventListener("measuring", ({ detail }) => byId("ruler").setAttribute("aria-pressed", detail));
    byId("whole").addEventListener("click", () => this.open(true).catch(tell));
    byId("ruler").addEventListener("click", () => this.viewer.measure(!this.viewer.measuring));
    const lines = [content.limits.join(" "), ...content.warnings.map((told) => `Warning: ${told}.`)];
    byId("limits").replaceChildren(...lines.map((line) => element("p", "", line)));
    this.writeReport();
    // Before niivue's own keys.
    document.addEventListener("keydown", (event) => this.key(event), true);
    this.viewer.setWindow(content.windows.find((window) => window.name === content.first_window));
    this.viewer.measure(false);
  }

  writeReport() {
    const { report, sentences } = this.content;
    // Places count characters, of which some have two places in a string of JavaScript.
    const characters = Array.from(report);
    const text = (start, end) => characters.slice(start, end).join("");
    let written = 0;
    const pieces = [];
    this.marks = sentences.map((sentence, index) => {
      pieces.push(text(written, sentence.start));
      written = sentence.end;
      const mark = document.createElement("span");
      mark.className = sentence.peak_mm ? "sentence mapped" : "sentence";
      mark.textContent = text(sentence.start, sentence.end);
      mark.tabIndex = 0;
      mark.setAttribute("role", "button");
      mark.addEventListener("click", () => this.choose(index));
      pieces.push(mark);
      return mark;
    });
    byId("report").replaceChildren(...pieces, text(written));
    if (!report.trim()) byId("report").textContent = "(this report is empty)";
  }

  // Opens the scan; one that the processor would draw for too long on larger voxels, unless `whole`.
  async open(whole = false) {
    const reduced = !whole && this.content.reduced_mm && drawsOnProcessor() ? this.content.reduced_mm : null;
    byId("whole").hidden = true;
    byId("state").textContent = "loading the scan …";
    const names = [reduced ? "reduced" : "scan", "coarse"];
    const [scan, coarse] = await Promise.all(names.map(async (name) => (await ask(name)).arrayBuffer()));
    await this.viewer.open(scan, coarse);
    const size = reduced && reduced.map((side) => side.toFixed(1)).join(" x ");
    byId("state").textContent = size ? `no graphics card: shown in voxels of ${size} mm, HU are their means` : "";
    byId("whole").hidden = !reduced;
    document.body.dataset.ready = names[0];
    if (this.current >= 0) await this.choose(this.current);
  }

  async choose(index) {
    if (index < 0 || index >= this.marks.length) return;
    this.current = index;
    this.marks.forEach((mark, other) => mark.setAttribute("aria-current", other === index));
    this.marks[index].scrollIntoView({ block: "nearest" });
    const sentence = this.content.sentences[index];
    const support = sentence.support === null ? "" : `Support ${sentence.support.toFixed(1)} nats. `;
    if (!sentence.peak_mm) {
      this.viewer.clearMap();
      byId("told").textContent = `${support}No map: ${sentence.reason.replace(/^no map: /, "")}.`;
      byId("evidence").dataset.shown = index;
      return;
    }
    try {
      if (!this.maps.has(index)) this.maps.set(index, await (await ask(`map/${index}`)).arrayBuffer());
      if (this.current !== index) return;
      await this.viewer.showMap(this.maps.get(index), this.content.least_shown);
      if (this.current !== index) return;
      this.viewer.goTo(sentence.peak_mm);
      byId("told").textContent = `${support}The crosshair is at the peak of its map. A map shows what moved the model, ` +
        "not what is right.";
    } catch (error) {
      byId("told").textContent = error.message;
    }
    byId("evidence").dataset.shown = index;
  }

  showPlace({ mm, hu, map }) {
    const shown = mm.map((part) => part.toFixed(1));
    byId("place").textContent = `${shown.join(" ")} mm (RAS)  ${Math.round(hu)} HU` +
      (map === null ? "" : `  map ${(100 * map).toFixed(0)} %`);
    byId("place").dataset.mm = JSON.stringify(mm);
  }

  // Takes the map away, or shows that of the chosen sentence again.
  toggleMap() {
    if (this.viewer.map) this.viewer.clearMap();
    else if (this.maps.has(this.current)) this.viewer.showMap(this.maps.get(this.current), this.content.least_shown);
  }

  key(event) {
    if (event.target instanceof HTMLCanvasElement) event.stopPropagation();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const mark = this.marks.indexOf(document.activeElement);
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = mark >= 0 && (name === "Enter" || name === " ") ? () => this.choose(mark) : this.action(name);
    if (action) {
      event.preventDefault();
      action();
    }
  }

  action(key) {
    return this.windowKey(key) || this.viewer.keyAction(key) || {
      ArrowLeft: () => this.choose(this.current - 1),
      ArrowRight: () => this.choose(this.current + 1),
      e: () => this.toggleMap(),
      Escape: () => {
        this.viewer.measure(false);
        this.viewer.clearLengths();
      },
    }[key];
  }
}

function tell(error) {
  byId("page").hidden = true;
  byId("trouble").hidden = false;
  byId("trouble").textContent = error.message;
}

async function begin() {
  await new ReportPage(await (await ask("report")).json()).open();
}

begin().catch(tell);
