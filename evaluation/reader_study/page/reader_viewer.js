"use strict";

const SLICES_KEPT = 240; // of 512 x 512 int16: 120 MB
const SLICES_AHEAD = 3;

// The volume's axes along each plane's rows and columns: axis 0 is D (slices), 1 is H (rows), 2 is W (columns).
// Coronal and sagittal pictures have the head on top, so their rows go down along D.
const PLANE_AXES = {
  axial: { through: 0, down: 1, across: 2, downTurned: false },
  coronal: { through: 1, down: 0, across: 2, downTurned: true },
  sagittal: { through: 2, down: 0, across: 1, downTurned: true },
};

// The three planes of one scan. Slices come as HU and are windowed here, so that a new window needs no request.
class Viewer {
  constructor(root) {
    this.root = root;
    this.slices = new Map();
    this.planes = [];
    this.at = [0, 0, 0];
    this.active = 0;
    this.window = { name: "", level: 0, width: 1 };
    new ResizeObserver(() => this.fit()).observe(root);
  }

  open(caseNumber, planes) {
    this.caseNumber = caseNumber;
    this.slices.clear();
    this.root.replaceChildren();
    this.at = planes.map((plane) => Math.floor(plane.count / 2));
    this.planes = planes.map((plane, index) => this.build(plane, index));
    this.activate(0);
    this.fit();
    this.drawAll();
  }

  build(plane, index) {
    const box = element("div", "plane " + plane.name);
    const picture = element("div", "picture");
    const canvas = element("canvas");
    canvas.width = plane.columns;
    canvas.height = plane.rows;
    const across = element("div", "line across");
    const down = element("div", "line down");
    picture.append(canvas, across, down);
    box.append(picture);
    for (const side of ["left", "right", "top", "bottom"]) box.append(element("div", "edge " + side, plane[side]));
    const corner = element("div", "corner");
    const windowText = element("div", "window");
    const trouble = element("div", "trouble");
    box.append(corner, windowText, trouble);
    this.root.append(box);
    const view = { ...plane, ...PLANE_AXES[plane.name], box, picture, canvas, across_line: across, down_line: down, corner, windowText, trouble };
    box.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.activate(index);
      this.scroll(Math.sign(event.deltaY));
    }, { passive: false });
    box.addEventListener("pointerdown", (event) => this.press(view, index, event));
    box.addEventListener("contextmenu", (event) => event.preventDefault());
    return view;
  }

  press(view, index, event) {
    this.activate(index);
    view.box.setPointerCapture(event.pointerId);
    const follow = event.button === 2 ? this.dragWindow(event) : (moved) => this.point(view, moved);
    if (event.button !== 2) this.point(view, event);
    const end = () => {
      view.box.removeEventListener("pointermove", follow);
      view.box.removeEventListener("pointerup", end);
      view.box.removeEventListener("pointercancel", end);
    };
    view.box.addEventListener("pointermove", follow);
    view.box.addEventListener("pointerup", end);
    view.box.addEventListener("pointercancel", end);
  }

  // Dragging to the right makes the window wider, upwards makes the picture brighter, as on a workstation.
  dragWindow(start) {
    const { level, width } = this.window;
    return (event) => this.setWindow({
      name: "own",
      width: Math.max(1, Math.round(width + 3 * (event.clientX - start.clientX))),
      level: Math.round(level + 2 * (event.clientY - start.clientY)),
    });
  }

  point(view, event) {
    const frame = view.canvas.getBoundingClientRect();
    const share = (value) => Math.min(0.999999, Math.max(0, value));
    const column = Math.floor(share((event.clientX - frame.left) / frame.width) * view.columns);
    const row = Math.floor(share((event.clientY - frame.top) / frame.height) * view.rows);
    this.at[view.across] = column;
    this.at[view.down] = view.downTurned ? view.rows - 1 - row : row;
    this.drawAll();
  }

  activate(index) {
    this.active = index;
    this.planes.forEach((view, other) => view.box.classList.toggle("active", other === index));
  }

  // Scrolling down moves toward the feet, the back and the left, the usual order of reading.
  scroll(steps) {
    const view = this.planes[this.active];
    if (!view) return;
    const direction = view.through === 0 ? -1 : 1;
    const axis = view.through;
    this.at[axis] = Math.min(view.count - 1, Math.max(0, this.at[axis] + direction * steps));
    this.drawAll();
  }

  setWindow(window) {
    this.window = window;
    this.drawAll();
    this.root.dispatchEvent(new CustomEvent("window", { detail: window }));
  }

  fit() {
    for (const view of this.planes) {
      const room = view.box.getBoundingClientRect();
      const scale = Math.min(room.width / view.width_mm, room.height / view.height_mm);
      const width = view.width_mm * scale, height = view.height_mm * scale;
      Object.assign(view.picture.style, {
        width: width + "px", height: height + "px",
        left: (room.width - width) / 2 + "px", top: (room.height - height) / 2 + "px",
      });
    }
  }

  drawAll() {
    for (const view of this.planes) this.draw(view);
  }

  async draw(view) {
    const index = this.at[view.through];
    view.corner.textContent = `${view.name[0].toUpperCase()}${view.name.slice(1)}  ${index + 1} / ${view.count}`;
    view.windowText.textContent = `${this.window.name}  W ${this.window.width}  L ${this.window.level}`;
    const row = view.downTurned ? view.rows - 1 - this.at[view.down] : this.at[view.down];
    view.across_line.style.top = (100 * (row + 0.5)) / view.rows + "%";
    view.down_line.style.left = (100 * (this.at[view.across] + 0.5)) / view.columns + "%";
    try {
      const hu = await this.slice(view, index);
      if (view.box.isConnected && this.at[view.through] === index) {
        this.paint(view, hu);
        view.box.dataset.shown = index;
        view.trouble.textContent = "";
        for (let step = 1; step <= SLICES_AHEAD; step++) {
          for (const near of [index - step, index + step]) {
            if (near >= 0 && near < view.count) this.slice(view, near).catch(() => {});
          }
        }
      }
    } catch (error) {
      view.trouble.textContent = "This slice could not be loaded. " + error.message;
    }
  }

  slice(view, index) {
    const key = view.name + index;
    let slice = this.slices.get(key);
    if (!slice) {
      slice = this.load(view, index).catch((error) => {
        this.slices.delete(key);
        throw error;
      });
      this.slices.set(key, slice);
      if (this.slices.size > SLICES_KEPT) this.slices.delete(this.slices.keys().next().value);
    }
    return slice;
  }

  async load(view, index) {
    const response = await ask(`case/${this.caseNumber}/${view.name}/${index}`);
    if (!response.ok) throw new Error((await response.json()).error);
    const bytes = new DataView(await response.arrayBuffer());
    const hu = new Int16Array(view.rows * view.columns);
    for (let pixel = 0; pixel < hu.length; pixel++) hu[pixel] = bytes.getInt16(2 * pixel, true);
    return hu;
  }

  paint(view, hu) {
    const context = view.canvas.getContext("2d");
    const picture = context.createImageData(view.columns, view.rows);
    const shades = new Uint32Array(picture.data.buffer);
    const low = this.window.level - this.window.width / 2;
    const scale = 255 / this.window.width;
    for (let pixel = 0; pixel < hu.length; pixel++) {
      const shade = Math.min(255, Math.max(0, Math.round((hu[pixel] - low) * scale)));
      shades[pixel] = 0xff000000 | (shade << 16) | (shade << 8) | shade;
    }
    context.putImageData(picture, 0, 0);
  }
}

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
