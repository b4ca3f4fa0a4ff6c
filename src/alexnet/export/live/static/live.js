"use strict";
// The network. Activities are {data: Float32Array, channels, side}: channel after channel, row after row.

const bytesOf = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
const floats = (text) => new Float32Array(bytesOf(text).buffer);

// Integers, row after row, with a scale for each row.
function weights({ bits, integers, scale }) {
  const whole = new (bits === 8 ? Int8Array : Int16Array)(bytesOf(integers).buffer), scales = floats(scale);
  const row = whole.length / scales.length;
  return Float32Array.from(whole, (each, i) => each * scales[Math.floor(i / row)]);
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
// Abramowitz and Stegun 7.1.26, within 1.5e-7.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - tail * Math.exp(-x * x));
}
const NONLINEARITIES = {
  relu: (x) => (x > 0 ? x : 0), tanh: Math.tanh, sigmoid, silu: (x) => x * sigmoid(x),
  gelu: (x) => (x / 2) * (1 + erf(x / Math.SQRT2)), leaky_relu: (x, { slope }) => (x > 0 ? x : slope * x),
};

const OPERATIONS = {
  multiply: (x, { by }) => ({ ...x, data: x.data.map((each) => each * by) }),

  nonlinearity: (x, step) => ({ ...x, data: x.data.map((each) => NONLINEARITIES[step.name](each, step)) }),

  // As a product of matrices: a row of `seen` is what one weight of the kernels sees at every place.
  conv({ data: maps, side }, { weight, bias, shape: [channels, inputs, size], padding }) {
    const area = side * side, taps = inputs * size * size, seen = new Float32Array(taps * area);
    for (let i = 0, row = 0; i < inputs; i++)
      for (let dy = -padding; dy < size - padding; dy++)
        for (let dx = -padding; dx < size - padding; dx++, row += area) {
          const left = Math.max(0, -dx), right = Math.min(side, side - dx);
          for (let y = Math.max(0, -dy); y < Math.min(side, side - dy); y++) {
            const from = (i * side + y + dy) * side + dx;
            for (let column = left; column < right; column++) seen[row + y * side + column] = maps[from + column];
          }
        }
    const data = new Float32Array(channels * area), sums = new Float64Array(area);
    for (let c = 0; c < channels; c++) {
      sums.fill(bias[c]);
      for (let tap = 0; tap < taps; tap++) {
        const by = weight[c * taps + tap], row = tap * area;
        for (let place = 0; place < area; place++) sums[place] += by * seen[row + place];
      }
      data.set(sums, c * area);
    }
    return { data, channels, side };
  },

  // Section 3.3: each activity divided by its neighbours' energy across channels.
  lrn(x, { size, alpha, beta, k }) {
    const plane = x.side ** 2, data = new Float32Array(x.data.length), reach = Math.floor(size / 2);
    for (let c = 0; c < x.channels; c++) {
      const first = Math.max(0, c - reach), last = Math.min(x.channels - 1, c + reach);
      for (let i = 0; i < plane; i++) {
        let energy = 0;
        for (let j = first; j <= last; j++) energy += x.data[j * plane + i] ** 2;
        data[c * plane + i] = x.data[c * plane + i] / (k + alpha * energy) ** beta;
      }
    }
    return { ...x, data };
  },

  affine(x, { scale, shift }) {
    const plane = x.side ** 2;
    return { ...x, data: x.data.map((each, i) => each * scale[Math.floor(i / plane)] + shift[Math.floor(i / plane)]) };
  },

  // The last window of a row may extend beyond the edge: sizes are rounded up.
  pool(x, { kind, pixels, stride }) {
    const side = 1 + Math.ceil((x.side - pixels) / stride), data = new Float32Array(x.channels * side * side);
    for (let c = 0, to = 0; c < x.channels; c++)
      for (let y = 0; y < side; y++)
        for (let column = 0; column < side; column++, to++) {
          const bottom = Math.min(x.side, y * stride + pixels), right = Math.min(x.side, column * stride + pixels);
          let largest = -Infinity, sum = 0, count = 0;
          for (let row = y * stride; row < bottom; row++)
            for (let place = column * stride; place < right; place++, count++) {
              const value = x.data[(c * x.side + row) * x.side + place];
              sum += value;
              if (value > largest) largest = value;
            }
          data[to] = kind === "max" ? largest : sum / count;
        }
    return { data, channels: x.channels, side };
  },

  linear(x, { weight, bias, shape: [outputs, inputs] }) {
    const data = new Float32Array(outputs);
    for (let o = 0; o < outputs; o++) {
      let sum = bias[o];
      for (let i = 0; i < inputs; i++) sum += weight[o * inputs + i] * x.data[i];
      data[o] = sum;
    }
    return { data, channels: outputs, side: 1 };
  },
};

function softmax(logits) {
  const largest = Math.max(...logits), powers = Array.from(logits, (each) => Math.exp(each - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((each) => each / sum);
}

// Images: as Pillow and torch resample, with a filter that is as wide as a new pixel.

const sinc = (x) => Math.sin(Math.PI * x) / (Math.PI * x);
const FILTERS = {
  triangle: [1, (x) => 1 - x],
  hamming: [1, (x) => (x ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 1)],
  cubic: [2, (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : ((-0.5 * x + 2.5) * x - 4) * x + 2)],
};

function resize(planes, from, to, filter, round = (x) => x) {
  if (from === to) return planes;
  const [support, weigh] = FILTERS[filter], scale = from / to, wide = Math.max(1, scale);
  const taps = Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support * wide + 0.5));
    const last = Math.min(from, Math.floor(centre + support * wide + 0.5));
    const factors = [];
    for (let j = first; j < last; j++) {
      const distance = Math.abs(j - centre + 0.5) / wide;
      factors.push(distance < support ? weigh(distance) : 0);
    }
    const sum = factors.reduce((a, b) => a + b);
    return { first, factors: factors.map((each) => each / sum) };
  });
  return planes.map((plane) => {
    const rows = new Float32Array(from * to), result = new Float32Array(to * to);
    for (let y = 0; y < from; y++)
      taps.forEach(({ first, factors }, x) => {
        let sum = 0;
        factors.forEach((each, j) => (sum += each * plane[y * from + first + j]));
        rows[y * to + x] = round(sum);
      });
    taps.forEach(({ first, factors }, y) => {
      for (let x = 0; x < to; x++) {
        let sum = 0;
        factors.forEach((each, j) => (sum += each * rows[(first + j) * to + x]));
        result[y * to + x] = round(sum);
      }
    });
    return result;
  });
}

const level = (x) => Math.min(255, Math.max(0, Math.round(x)));

// A square image of any size -> three planes of whole levels, of the size of the training images.
const asTrained = (planes, side, full) => resize(planes, side, full, side > full ? "hamming" : "cubic", level);

// What the network sees: the central view less the mean, at the network's size.
function input(planes, { full, pixels, size, mean }) {
  const margin = (full - pixels) >> 1, area = pixels * pixels;
  const views = planes.map((plane, c) => {
    const view = new Float32Array(area);
    for (let y = 0; y < pixels; y++)
      for (let x = 0; x < pixels; x++)
        view[y * pixels + x] = plane[(y + margin) * full + x + margin] - mean[c * area + y * pixels + x];
    return view;
  });
  const data = new Float32Array(3 * size * size);
  resize(views, pixels, size, "triangle").forEach((plane, c) => data.set(plane, c * size * size));
  return { data, channels: 3, side: size };
}

function unpack(page) {
  for (const view of page.views) view.mean = floats(view.mean);
  for (const arm of page.arms) {
    arm.view = page.views[arm.view];
    for (const step of arm.steps) {
      for (const name of ["bias", "scale", "shift"]) if (typeof step[name] === "string") step[name] = floats(step[name]);
      if (step.weight) step.weight = weights(step.weight);
    }
  }
  for (const sample of page.samples) sample.planes = planesOf(bytesOf(sample.pixels), page.full);
  return page;
}

// Bytes channel after channel; a grey image is repeated over red, green and blue.
function planesOf(bytes, full) {
  const area = full * full, count = bytes.length / area;
  return [0, 1, 2].map((c) => Float32Array.from(bytes.subarray((c % count) * area, (c % count) * area + area)));
}

// {probabilities, maps}: the maps are those of the first layer, after its nonlinearity.
function run(arm, planes) {
  let x = input(planes, arm.view), maps = null;
  for (const step of arm.steps) {
    x = OPERATIONS[step.op](x, step);
    if (step.op === "nonlinearity" && !maps) maps = x;
  }
  return { probabilities: softmax(x.data), maps };
}
