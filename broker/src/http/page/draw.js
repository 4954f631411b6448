// Numbers as lines: small ones on cards, large ones with axes.

const SVG = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, children = []) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Draws values as a line that fills the element; from 0 unless told otherwise. */
export function sparkline(element, values, { fromZero = true, area = true } = {}) {
  const width = 200, height = 46;
  element.setAttribute("viewBox", `0 0 ${width} ${height}`);
  element.setAttribute("preserveAspectRatio", "none");
  if (values.length < 2) return element.replaceChildren();
  const low = fromZero ? 0 : Math.min(...values);
  const span = Math.max(...values) - low || 1;
  const at = (value, index) => {
    const x = (index / (values.length - 1)) * width;
    return `${x.toFixed(1)},${(height - 3 - ((value - low) / span) * (height - 8)).toFixed(1)}`;
  };
  const points = values.map(at).join(" ");
  const line = svg("polyline", { class: "line", points });
  const below = svg("polygon", { class: "area", points: `0,${height} ${points} ${width},${height}` });
  element.replaceChildren(...(area ? [below, line] : [line]));
}

/** A chart of points [time in ms, value], with axes and the value under the pointer. */
export function chart(figure, points, label) {
  if (points.length < 2) return figure.replaceChildren();
  const width = Math.max(figure.clientWidth, 280), height = 240;
  const left = 52, bottom = 22, top = 12;
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const values = points.map(([, value]) => value);
  const ticks = niceTicks(Math.min(...values), Math.max(...values), 5);
  const [low, high] = [ticks[0], ticks.at(-1)];
  const x = (time) => left + ((time - first) / (last - first || 1)) * (width - left - 8);
  const y = (value) => height - bottom - ((value - low) / (high - low || 1)) * (height - bottom - top);
  const path = points.map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const tick of ticks) {
    root.append(svg("line", { class: "grid", x1: left, x2: width, y1: y(tick), y2: y(tick) }));
    root.append(text(left - 8, y(tick) + 4, short(tick), "end"));
  }
  for (const part of [0, 0.5, 1]) {
    const time = first + part * (last - first);
    root.append(text(x(time), height - 4, clock(time), ["start", "middle", "end"][part * 2]));
  }
  const floor = height - bottom;
  root.append(
    svg("polygon", { class: "area", points: `${x(first)},${floor} ${path} ${x(last)},${floor}` }),
    svg("polyline", { class: "line", points: path }),
  );
  root.append(pointed(root, points, { x, y, left, width, top, floor }));
  figure.replaceChildren(root);
}

/** A guide that follows the pointer and says what is there. */
function pointed(root, points, { x, y, left, width, top, floor }) {
  const group = svg("g", { visibility: "hidden" });
  const guide = svg("line", { class: "guide", y1: top, y2: floor });
  const mark = svg("circle", { class: "mark", r: 3.5 });
  const said = text(0, top, "", "middle");
  group.append(guide, mark, said);
  root.addEventListener("pointerleave", () => group.setAttribute("visibility", "hidden"));
  root.addEventListener("pointermove", (event) => {
    const box = root.getBoundingClientRect();
    const wanted = ((event.clientX - box.left) / box.width) * width;
    const near = (best, point) => Math.abs(x(point[0]) - wanted) < Math.abs(x(best[0]) - wanted);
    const [time, value] = points.reduce((best, point) => (near(best, point) ? point : best));
    for (const end of ["x1", "x2"]) guide.setAttribute(end, x(time));
    mark.setAttribute("cx", x(time));
    mark.setAttribute("cy", y(value));
    said.setAttribute("x", Math.min(Math.max(x(time), left + 60), width - 70));
    said.textContent = `${value} at ${clock(time)}`;
    group.setAttribute("visibility", "visible");
  });
  return group;
}

function text(x, y, content, anchor) {
  const element = svg("text", { x, y, "text-anchor": anchor });
  element.textContent = content;
  return element;
}

/** Round numbers from below the lowest to above the highest. */
export function niceTicks(low, high, count) {
  if (low === high) [low, high] = [low - 1, high + 1];
  const rough = (high - low) / (count - 1);
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((s) => s * magnitude).find((s) => s >= rough);
  const ticks = [];
  for (let tick = Math.floor(low / step) * step; tick < high + step; tick += step) {
    ticks.push(Number(tick.toPrecision(12)));
  }
  return ticks;
}

/** 1234567: 1.23 M. */
export function short(number) {
  const size = Math.abs(number);
  for (const [unit, name] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (size >= unit) {
      const scaled = name === "k" ? number / 1e3 : number / unit;
      return `${Number(scaled.toPrecision(3))} ${name}`;
    }
  }
  return String(Number(number.toPrecision(size < 1 ? 2 : 5)));
}

/** Bytes in the unit in which they can be read. */
export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${unit ? number.toPrecision(3) : Math.round(number)} ${units[unit]}`;
}

export function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour12: false });
}
