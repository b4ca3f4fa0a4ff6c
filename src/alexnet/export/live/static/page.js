"use strict";
// What the page shows, and how images get into it.

const page = unpack(JSON.parse(document.getElementById("data").textContent));
const element = (id) => document.getElementById(id);
const made = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};
const percent = (x) => `${(100 * x).toFixed(1)} %`;
const state = { arm: 0, planes: page.samples[0].planes, truth: page.samples[0].label };

function paint(canvas, width, height, colour) {
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i += 4) image.data.set([...colour(x, y), 255], i);
  context.putImageData(image, 0, 0);
  return canvas;
}

// Without a margin of so many pixels, which a network that has learnt from crops does not see.
const picture = (canvas, planes, margin = 0) =>
  paint(canvas, page.full - 2 * margin, page.full - 2 * margin, (x, y) =>
    planes.map((plane) => plane[(y + margin) * page.full + x + margin]));

// Zero is grey; positive is blue, negative orange, each against the largest of all maps.
const mixed = (t, [r, g, b]) => [r, g, b].map((each) => 236 + (each - 236) * t);
const signed = (t) => (t >= 0 ? mixed(Math.min(1, t), [0, 76, 140]) : mixed(Math.min(1, -t), [213, 94, 0]));

function showMaps({ data, channels, side }) {
  const largest = data.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-30);
  const box = element("maps");
  while (box.children.length < channels) box.append(made("canvas"));
  for (let c = 0; c < channels; c++)
    paint(box.children[c], side, side, (x, y) => signed(data[(c * side + y) * side + x] / largest));
}

// Of grey images a kernel sees the sum of the three channels.
function showKernels({ weight, shape: [channels, , size] }) {
  const area = size * size;
  element("kernels").replaceChildren(...Array.from({ length: channels }, (_, k) => {
    let kernel = weight.subarray(k * 3 * area, (k + 1) * 3 * area);
    if (page.grey) kernel = kernel.map((_, i) => [0, 1, 2].reduce((sum, c) => sum + kernel[c * area + (i % area)], 0));
    const largest = kernel.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-30);
    return paint(made("canvas"), size, size, (x, y) =>
      [0, 1, 2].map((c) => 127.5 + (127.5 * kernel[c * area + y * size + x]) / largest));
  }));
}

function show() {
  const results = page.arms.map((arm) => run(arm, state.planes));
  const { probabilities, maps } = results[state.arm];
  const arm = page.arms[state.arm];
  picture(element("seen"), state.planes, (page.full - arm.view.pixels) >> 1);
  element("truth").textContent = state.truth === null ? "" : `A test image: ${page.classes[state.truth]}`;
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 10);
  element("bars").replaceChildren(...order.map((i) => {
    const bar = made("i");
    bar.style.width = `${100 * probabilities[i]}%`;
    const row = made("li", {}, made("span", { textContent: page.classes[i] }), made("b", {}, bar),
      made("output", { textContent: percent(probabilities[i]) }));
    if (i === state.truth) row.className = "true";
    return row;
  }));
  results.forEach(({ probabilities: found }, index) => {
    const best = found.indexOf(Math.max(...found)), button = element("arms").children[index];
    button.setAttribute("aria-pressed", index === state.arm);
    button.lastChild.textContent = `${page.classes[best]} ${percent(found[best])}`;
  });
  element("about").textContent = arm.about;
  showMaps(maps);
  showKernels(arm.steps.find((step) => step.op === "conv"));
}

function take(planes, truth = null) {
  Object.assign(state, { planes, truth });
  show();
}

async function takeFile(file) {
  const status = element("status");
  status.textContent = "";
  try {
    const bitmap = await createImageBitmap(file);
    const square = Math.min(bitmap.width, bitmap.height), side = Math.min(square, 2048);
    const canvas = made("canvas", { width: side, height: side }), context = canvas.getContext("2d");
    context.fillStyle = "white"; // beneath what is transparent
    context.fillRect(0, 0, side, side);
    const left = (bitmap.width - square) >> 1, top = (bitmap.height - square) >> 1;
    context.drawImage(bitmap, left, top, square, square, 0, 0, side, side);
    take(asTrained(planesFrom(context, side), side, page.full));
  } catch {
    status.textContent = `${file.name || "This"} cannot be read as an image. Give a JPEG or PNG file.`;
  }
}

function planesFrom(context, side) {
  const { data } = context.getImageData(0, 0, side, side);
  const planes = [0, 1, 2].map((c) => Float32Array.from({ length: side * side }, (_, i) => data[4 * i + c]));
  if (!page.grey) return planes;
  // As Pillow makes an image grey (ITU-R 601).
  const grey = planes[0].map((r, i) => Math.round(0.299 * r + 0.587 * planes[1][i] + 0.114 * planes[2][i]));
  return [grey, grey, grey];
}

// As in MNIST: the digit fills a box of 20 pixels, and its centre of mass is that of the image.
function digit(plane, side) {
  let [left, right, top, bottom, mass] = [side, -1, side, -1, 0];
  plane.forEach((ink, i) => {
    if (!ink) return;
    const x = i % side, y = Math.floor(i / side);
    [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
    mass += ink;
  });
  if (!mass) return null;
  const longer = Math.max(right - left, bottom - top) + 1, box = new Float32Array(longer * longer);
  for (let y = top; y <= bottom; y++)
    for (let x = left; x <= right; x++) box[(y - top) * longer + x - left] = plane[y * side + x];
  const inner = Math.round((20 * page.full) / 28), [small] = resize([box], longer, inner, "triangle", level);
  let [sum, sumX, sumY] = [0, 0, 0];
  small.forEach((ink, i) => {
    sum += ink;
    sumX += ink * (i % inner + 0.5);
    sumY += ink * (Math.floor(i / inner) + 0.5);
  });
  const shift = (moment) => Math.round(page.full / 2 - moment / sum);
  const [dx, dy] = [shift(sumX), shift(sumY)], result = new Float32Array(page.full ** 2);
  small.forEach((ink, i) => {
    const x = (i % inner) + dx, y = Math.floor(i / inner) + dy;
    if (x >= 0 && y >= 0 && x < page.full && y < page.full) result[y * page.full + x] = ink;
  });
  return [result, result, result];
}

function letDraw(canvas) {
  const context = canvas.getContext("2d", { willReadFrequently: true }), { width } = canvas;
  const clear = () => {
    context.fillStyle = "black";
    context.fillRect(0, 0, width, width);
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * width) / box.height];
  };
  Object.assign(context, { lineWidth: width / 12, lineCap: "round", lineJoin: "round", strokeStyle: "white" });
  clear();
  let last = null, isWaiting = false;
  canvas.addEventListener("pointerdown", (event) => {
    last = place(event);
    canvas.dispatchEvent(new PointerEvent("pointermove", event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = place(event);
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...next);
    context.stroke();
    last = next;
    // Once for all movements of a frame.
    if (!isWaiting) requestAnimationFrame(() => {
      isWaiting = false;
      const planes = digit(planesFrom(context, width)[0], width);
      if (planes) take(planes);
    });
    isWaiting = true;
  });
  for (const type of ["pointerup", "pointerleave", "pointercancel"]) canvas.addEventListener(type, () => (last = null));
  element("clear").addEventListener("click", clear);
}

element("arms").append(...page.arms.map((arm, index) => made("button",
  { type: "button", onclick: () => { state.arm = index; show(); } },
  made("strong", { textContent: arm.label }), made("span"))));
element("samples").append(...page.samples.map(({ planes, label }) => made("button",
  { type: "button", title: page.classes[label], onclick: () => take(planes, label) }, picture(made("canvas"), planes))));
element("file").addEventListener("change", (event) => event.target.files[0] && takeFile(event.target.files[0]));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files[0]) takeFile(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => event.clipboardData.files[0] && takeFile(event.clipboardData.files[0]));
if (page.digits) letDraw(element("drawing"));
show();
