// Three linked planes of one scan, and if wanted a picture in 3D, drawn by niivue. Everything comes from the page's own
// server. Places are RAS+ mm of the patient.
import { DRAG_MODE, NVImage, Niivue, SLICE_TYPE } from "/niivue.js";

const PLANES = [
  // `axis` of niivue's voxels, which rise to the right, the front and the head, runs through the slices; slices are
  // counted as radiologists' arrays have them: from the feet, from the front, from the patient's right.
  { name: "axial", type: SLICE_TYPE.AXIAL, axis: 2, turned: false },
  { name: "coronal", type: SLICE_TYPE.CORONAL, axis: 1, turned: true },
  { name: "sagittal", type: SLICE_TYPE.SAGITTAL, axis: 0, turned: true },
];
const DIRECTIONS = [["R", "L"], ["A", "P"], ["H", "F"]];
const OPTIONS = {
  backColor: [0, 0, 0, 1],
  crosshairColor: [0.36, 0.72, 1, 1],
  dragAndDropEnabled: false,
  isForceMouseClickToVoxelCenters: true,
  isOrientationTextVisible: false,
  isRadiologicalConvention: true,
  sagittalNoseLeft: true,
  // Keys are the page's.
  clipPlaneHotKey: "", cycleClipPlaneHotKey: "", viewModeHotKey: "",
  loadingText: "",
  logLevel: "error",
  measureLineColor: [1, 0.82, 0.4, 1],
  measureTextColor: [1, 0.82, 0.4, 1],
  rulerWidth: 2,
};
// Bone, and skin as a veil, of voxels from -300 to 1200 HU.
const SOLID_WINDOW = [-300, 1200];
const SOLID_COLORS = {
  R: [0, 190, 230, 255], G: [0, 130, 200, 250], B: [0, 110, 165, 235], A: [0, 6, 20, 150], I: [0, 40, 90, 255],
};
const MAP_COLORS = "inferno";
const MOST_ZOOM = 16;
const SOLID_PAUSE_MS = 60; // 3D is drawn when the crosshair rests: a computer without a graphics card needs long for it

// niivue computes every voxel of the scan anew when a map comes or goes, for most of a minute where the processor draws;
// here it does when the scan or its window has changed.
class Layers extends Niivue {
  refreshLayers(volume, layer) {
    if (layer > 0) return super.refreshLayers(volume, layer);
    const wanted = `${volume.id} ${volume.cal_min} ${volume.cal_max}`;
    if (this.computed === wanted) return this.countLayers();
    super.refreshLayers(volume, layer);
    this.computed = wanted;
  }

  countLayers() {
    for (const shader of [this.renderShader, this.pickingImageShader, this.sliceMMShader]) {
      shader.use(this.gl);
      this.gl.uniform1f(shader.uniforms.overlays, this.overlays.length);
    }
  }
}

export class CTViewer {
  // `root` becomes the viewer. It sends events: "window" when the window changes, "place" when the crosshair moves,
  // "measured" when a length was drawn, "measuring" when the ruler is taken or put away.
  constructor(root, { solid = false } = {}) {
    this.root = root;
    this.window = { name: "", level: 0, width: 1 };
    this.active = 0;
    this.map = null;
    root.classList.add("ct-viewer");
    root.viewer = this;
    const layer = element("div", "layer");
    this.canvas = element("canvas");
    layer.append(this.canvas);
    root.replaceChildren(layer);
    this.views = PLANES.map((plane) => this.build(plane));
    this.planes = new Layers({ ...OPTIONS, sliceType: SLICE_TYPE.MULTIPLANAR, crosshairWidth: 0 });
    once(this.planes, 0, (busy) => {
      root.toggleAttribute("data-drawing", busy);
      if (!busy && this.sizes) this.label();
    });
    this.planes.onLocationChange = () => this.moved();
    this.planes.onMeasurementCompleted = (line) => this.tell("measured", { mm: line.distance });
    if (solid) this.buildSolid();
    root.addEventListener("mousedown", (event) => this.press(event), true);
    root.addEventListener("wheel", (event) => this.wheel(event), { capture: true, passive: false });
    root.addEventListener("contextmenu", (event) => event.preventDefault());
    // niivue would reset the window.
    root.addEventListener("dblclick", (event) => event.stopPropagation(), true);
    this.ready = this.attach();
  }

  build(plane) {
    const box = element("div", "plane " + plane.name);
    const view = { ...plane, box, picture: element("div", "picture"), edges: {} };
    // niivue's own crosshair is a solid body, which thin slices hide.
    view.lines = ["left", "right", "up", "down"].map((name) => element("div", "line " + name));
    view.picture.append(...view.lines);
    box.append(view.picture);
    for (const side of ["left", "right", "top", "bottom"]) {
      view.edges[side] = element("div", "edge " + side);
      box.append(view.edges[side]);
    }
    view.corner = element("div", "corner");
    view.windowText = element("div", "window");
    box.append(view.corner, view.windowText);
    this.root.append(box);
    return view;
  }

  buildSolid() {
    const box = element("div", "plane solid");
    const layer = element("div", "layer");
    this.solidCanvas = element("canvas");
    layer.append(this.solidCanvas);
    box.append(layer, element("div", "corner", "3D"));
    this.root.append(box);
    this.solid = new Layers({ ...OPTIONS, sliceType: SLICE_TYPE.RENDER, show3Dcrosshair: true });
    this.solid.addColormap("solid", SOLID_COLORS);
    once(this.solid, SOLID_PAUSE_MS, () => {});
  }

  async attach() {
    await this.planes.attachToCanvas(this.canvas);
    if (this.solid) await this.solid.attachToCanvas(this.solidCanvas);
    new ResizeObserver(() => this.layOut()).observe(this.root);
  }

  // `scan` and `coarse` are NIfTI files in memory; `coarse` is for 3D.
  async open(scan, coarse = null) {
    await this.ready;
    this.clearMap();
    this.sizes = null;
    for (const view of this.views) delete view.box.dataset.shown;
    for (const volume of [...this.planes.volumes]) this.planes.removeVolume(volume);
    const [low, high] = this.range();
    this.planes.addVolume(await NVImage.new(scan, "scan.nii", "gray", 1, null, low, high));
    this.planes.setPan2Dxyzmm([0, 0, 0, 1]);
    this.clearLengths();
    if (this.solid && coarse) {
      for (const volume of [...this.solid.volumes]) this.solid.removeVolume(volume);
      this.solid.addVolume(await NVImage.new(coarse, "coarse.nii", "solid", 1, null, ...SOLID_WINDOW));
      this.solid.setRenderAzimuthElevation(200, 10);
    }
    this.sizes = [1, 2, 3].map((axis) => this.planes.volumes[0].dimsRAS[axis]);
    this.layOut();
    this.activate(0);
    // The middle voxel, counted as arrays are.
    const middle = this.views.map((view) => this.voxelOf(view, Math.floor(this.sizes[view.axis] / 2)));
    this.goToVoxel([middle[2], middle[1], middle[0]]);
  }

  voxelOf(view, index) {
    return view.turned ? this.sizes[view.axis] - 1 - index : index;
  }

  range() {
    return [this.window.level - this.window.width / 2, this.window.level + this.window.width / 2];
  }

  // Puts the planes where the boxes of the page are.
  layOut() {
    if (!this.sizes) return;
    const frame = this.root.getBoundingClientRect();
    if (!frame.width || !frame.height) return;
    this.planes.setCustomLayout(this.views.map((view) => {
      const box = view.box.getBoundingClientRect();
      return {
        sliceType: view.type,
        position: [(box.left - frame.left) / frame.width, (box.top - frame.top) / frame.height,
                   box.width / frame.width, box.height / frame.height],
      };
    }));
  }

  // Tells at once where the planes are, which are drawn a moment later.
  number() {
    const voxel = this.planes.frac2vox(this.planes.scene.crosshairPos);
    for (const view of this.views) {
      view.index = this.voxelOf(view, voxel[view.axis]);
      view.corner.textContent = `${view.name[0].toUpperCase()}${view.name.slice(1)}  ${view.index + 1} / ${this.sizes[view.axis]}`;
      view.windowText.textContent = `${this.window.name}  W ${this.window.width}  L ${this.window.level}`;
    }
  }

  // Writes beside what was drawn.
  label() {
    this.number();
    const ratio = this.planes.uiData.dpr || 1;
    const frame = this.root.getBoundingClientRect();
    for (const view of this.views) {
      const tile = this.planes.screenSlices.find((slice) => slice.axCorSag === view.type);
      if (!tile) continue;
      const box = view.box.getBoundingClientRect();
      const [left, top, width, height] = tile.leftTopWidthHeight.map((pixels) => pixels / ratio);
      Object.assign(view.picture.style, {
        left: left + frame.left - box.left + "px", top: top + frame.top - box.top + "px",
        width: width + "px", height: height + "px",
      });
      this.letter(view, tile.leftTopWidthHeight);
      this.cross(view, tile.leftTopWidthHeight);
      view.box.dataset.shown = view.index;
    }
  }

  // The letters at the edges are asked of what is drawn, not assumed.
  letter(view, [left, top, width, height]) {
    const place = (x, y) => this.planes.frac2mm(this.planes.canvasPos2frac([left + x * width, top + y * height]));
    const name = (from, to) => {
      const change = [0, 1, 2].map((axis) => to[axis] - from[axis]);
      const axis = change.reduce((best, step, own) => (Math.abs(step) > Math.abs(change[best]) ? own : best), 0);
      return DIRECTIONS[axis][change[axis] > 0 ? 0 : 1];
    };
    const across = [place(0.9, 0.5), place(0.1, 0.5)], down = [place(0.5, 0.9), place(0.5, 0.1)];
    view.edges.left.textContent = name(...across);
    view.edges.right.textContent = name(...across.reverse());
    view.edges.top.textContent = name(...down);
    view.edges.bottom.textContent = name(...down.reverse());
  }

  // Draws the crosshair, open in the middle so that it hides nothing there.
  cross(view, [left, top, width, height]) {
    const at = this.planes.frac2canvasPosWithTile(this.planes.scene.crosshairPos, view.type);
    const shown = at && at.pos[0] >= left && at.pos[0] <= left + width && at.pos[1] >= top && at.pos[1] <= top + height;
    view.picture.classList.toggle("crossed", Boolean(shown));
    if (!shown) return;
    const share = [(at.pos[0] - left) / width, (at.pos[1] - top) / height].map((part) => 100 * part);
    view.picture.style.setProperty("--across", share[0] + "%");
    view.picture.style.setProperty("--down", share[1] + "%");
  }

  moved() {
    if (!this.sizes) return;
    this.number();
    if (this.solid && this.solid.volumes.length) {
      this.solid.scene.crosshairPos = this.solid.mm2frac(this.place());
      this.solid.drawScene();
    }
    this.tellPlace();
  }

  tellPlace() {
    this.tell("place", { mm: this.place(), hu: this.valueAt(0), map: this.map ? this.valueAt(1) : null });
  }

  // The crosshair in RAS+ mm.
  place() {
    return [...this.planes.frac2mm(this.planes.scene.crosshairPos, 0, true)].slice(0, 3);
  }

  valueAt(number) {
    const volume = this.planes.volumes[number];
    return volume.getValue(...volume.mm2vox(this.place()));
  }

  goTo(mm) {
    this.planes.scene.crosshairPos = this.planes.mm2frac(mm, 0, true);
    this.planes.drawScene();
    this.planes.createOnLocationChange();
  }

  goToVoxel(voxel) {
    this.planes.scene.crosshairPos = this.planes.vox2frac(voxel);
    this.planes.drawScene();
    this.planes.createOnLocationChange();
  }

  activate(index) {
    this.active = index;
    this.views.forEach((view, other) => view.box.classList.toggle("active", other === index));
  }

  // Scrolling down moves toward the feet, the back and the left, the usual order of reading.
  scroll(steps) {
    if (!this.sizes) return;
    const move = [0, 0, 0];
    move[this.views[this.active].axis] = -steps;
    this.planes.moveCrosshairInVox(...move);
  }

  setWindow(window) {
    this.window = window;
    if (this.sizes) {
      [this.planes.volumes[0].cal_min, this.planes.volumes[0].cal_max] = this.range();
      this.planes.updateGLVolume();
      this.number();
    }
    this.tell("window", window);
  }

  // Zooms all planes about the crosshair.
  zoom(factor) {
    if (!this.sizes) return;
    const [x, y, z, before] = this.planes.scene.pan2Dxyzmm;
    const after = Math.min(MOST_ZOOM, Math.max(1, before * factor));
    const mm = this.planes.frac2mm(this.planes.scene.crosshairPos);
    const pan = after === 1 ? [0, 0, 0] : [x, y, z].map((part, axis) => part + (before - after) * mm[axis]);
    this.planes.setPan2Dxyzmm([...pan, after]);
  }

  // `map` is a NIfTI file in memory with 1 at its largest value; below `least` nothing is drawn.
  async showMap(map, least) {
    this.wanted = map;
    const image = await NVImage.new(map.slice(0), "map.nii", MAP_COLORS, 0.5, null, least, 1);
    const second = this.solid && await NVImage.new(map.slice(0), "map.nii", MAP_COLORS, 0.8, null, 2 * least, 1);
    if (this.wanted !== map) return; // another was asked for meanwhile, or none
    this.clearMap();
    this.map = image;
    this.planes.addVolume(image);
    if (second) this.solid.addVolume(second);
    this.tellPlace();
  }

  clearMap() {
    this.wanted = null;
    if (!this.map) return;
    this.planes.removeVolume(this.map);
    if (this.solid) this.solid.removeVolume(this.solid.volumes[1]);
    this.map = null;
    this.tellPlace();
  }

  measure(wanted) {
    this.measuring = wanted;
    this.planes.setMouseEventConfig({
      leftButton: { primary: wanted ? DRAG_MODE.measurement : DRAG_MODE.crosshair },
      rightButton: DRAG_MODE.none, centerButton: DRAG_MODE.pan,
    });
    this.root.classList.toggle("measuring", wanted);
    this.tell("measuring", wanted);
  }

  clearLengths() {
    this.planes.clearMeasurements();
    this.tell("measured", { mm: null });
  }

  planeAt(event) {
    return this.views.findIndex(({ box }) => {
      const { left, right, top, bottom } = box.getBoundingClientRect();
      return event.clientX >= left && event.clientX < right && event.clientY >= top && event.clientY < bottom;
    });
  }

  press(event) {
    const index = this.planeAt(event);
    if (index < 0) return;
    this.activate(index);
    if (event.button !== 2) return;
    event.stopPropagation();
    event.preventDefault();
    const { level, width } = this.window;
    let next = null;
    // Dragging to the right makes the window wider, upwards makes the picture brighter, as on a workstation.
    const follow = (moved) => {
      if (!next) requestAnimationFrame(() => { this.setWindow(next); next = null; });
      next = {
        name: "own",
        width: Math.max(1, Math.round(width + 3 * (moved.clientX - event.clientX))),
        level: Math.round(level + 2 * (moved.clientY - event.clientY)),
      };
    };
    const end = () => {
      window.removeEventListener("mousemove", follow);
      window.removeEventListener("mouseup", end);
    };
    window.addEventListener("mousemove", follow);
    window.addEventListener("mouseup", end);
  }

  wheel(event) {
    const index = this.planeAt(event);
    if (index < 0) return;
    event.preventDefault();
    event.stopPropagation();
    this.activate(index);
    if (event.ctrlKey) this.zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2);
    else this.scroll(Math.sign(event.deltaY));
  }

  tell(name, detail) {
    this.root.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // What a key does to the pictures, or undefined.
  keyAction(key) {
    return {
      ArrowUp: () => this.scroll(-1),
      ArrowDown: () => this.scroll(1),
      PageUp: () => this.scroll(-10),
      PageDown: () => this.scroll(10),
      a: () => this.activate(0),
      c: () => this.activate(1),
      s: () => this.activate(2),
      r: () => this.measure(!this.measuring),
      "+": () => this.zoom(1.25),
      "-": () => this.zoom(1 / 1.25),
      "0": () => this.zoom(0),
    }[key];
  }
}

// Fills `row` with a button for each window, which follows the viewer's; returns what a window's key does.
export function windowButtons(row, viewer, windows) {
  row.replaceChildren(...windows.map((window) => {
    const button = element("button", "", window.name);
    button.type = "button";
    button.title = `W ${window.width}, L ${window.level} HU (key ${window.key.toUpperCase()})`;
    button.addEventListener("click", () => viewer.setWindow(window));
    return button;
  }));
  viewer.root.addEventListener("window", (event) => {
    [...row.children].forEach((button) => button.setAttribute("aria-pressed", button.textContent === event.detail.name));
  });
  return (key) => {
    const window = windows.find((other) => other.key === key);
    return window && (() => viewer.setWindow(window));
  };
}

// Returns whether this browser has no graphics card to draw with.
export function drawsOnProcessor() {
  const gl = element("canvas").getContext("webgl2");
  const told = gl && gl.getExtension("WEBGL_debug_renderer_info");
  const name = gl ? gl.getParameter(told ? told.UNMASKED_RENDERER_WEBGL : gl.RENDERER) : "";
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

// Lets a niivue draw once for all that changes before the next frame; `tell` is told of the wait and of its end.
function once(niivue, pauseMs, tell) {
  const draw = niivue.drawScene.bind(niivue);
  let waiting = false;
  const now = () => {
    waiting = false;
    draw();
    tell(false);
  };
  niivue.drawScene = () => {
    if (waiting) return;
    waiting = true;
    tell(true);
    setTimeout(() => requestAnimationFrame(now), pauseMs);
  };
}

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
