"use strict";

const { words, pairs } = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const style = getComputedStyle(document.documentElement);
const css = (name) => style.getPropertyValue(name).trim();

// Columns of the data, as report.py writes them.
const P = { time: 0, sent: 1, type: 2, number: 3, size: 4, frames: 5 };
const M = { time: 0, window: 1, flight: 2, latest: 3, smoothed: 4, min: 5 };
const S = { time: 0, sent: 1, stream: 2, offset: 3, length: 4 };
const L = { time: 0, type: 1, number: 2 };

const TYPES = { initial: "#e07b00", handshake: "#8e44ad", "0RTT": "#00897b", "1RTT": "#1e88e5" };
const STREAMS = ["#1e88e5", "#e07b00", "#2e9e4f", "#c2185b", "#8e44ad", "#00897b", "#a1887f", "#7cb342"];
const LOST = "#e53935";
const MARGIN = { left: 70, right: 10, top: 8, bottom: 20 };

let pair = pairs[0] || [];
let side = pair[0];
let full = [0, 1];
let view = [0, 1];
let marked = null;

const bytes = (value) => value >= 1e6 ? `${+(value / 1e6).toFixed(2)} MB` : value >= 1e3 ? `${+(value / 1e3).toFixed(1)} kB` : `${value} B`;
const ms = (value) => Math.abs(value) >= 1000 ? `${+(value / 1000).toFixed(3)} s` : `${+value.toFixed(3)} ms`;

/* First index of a sorted column whose value is not less. */
function lower(column, value) {
  let low = 0, high = column.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

/* Times can go back in broken traces: what is drawn is put in order first. */
function ordered(columns) {
  const times = columns[0];
  if (times.every((time, index) => index === 0 || times[index - 1] <= time)) return columns;
  const order = times.map((_, index) => index).sort((a, b) => times[a] - times[b]);
  return columns.map((column) => order.map((index) => column[index]));
}

function prepare() {
  for (const each of pairs.flat()) {
    for (const name of ["packets", "metrics", "streams", "losses"]) each[name] = ordered(each[name]);
    each.lost = new Set(each.losses[L.time].map((_, i) => `${each.losses[L.type][i]}/${each.losses[L.number][i]}`));
  }
}

class Chart {
  /* `draw(context)` puts the marks, `most()` tells the largest value of y. */
  constructor(id, height, draw) {
    this.canvas = element(id);
    this.height = height;
    this.drawing = draw;
    this.canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(this.time(event.offsetX), event.deltaY < 0 ? 0.8 : 1.25); }, { passive: false });
    this.canvas.addEventListener("dblclick", () => show(full));
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.from = event.offsetX;
      this.canvas.setPointerCapture(event.pointerId);
    });
    // However the drag ends: a menu or another window may keep the button's release from us.
    this.canvas.addEventListener("lostpointercapture", () => { this.from = undefined; });
    this.canvas.addEventListener("pointermove", (event) => this.moved(event));
    this.canvas.addEventListener("pointerleave", () => { element("tip").hidden = true; });
  }
  get inner() { return this.width - MARGIN.left - MARGIN.right; }
  get bottom() { return this.height - MARGIN.bottom; }
  x(time) { return MARGIN.left + (time - view[0]) / (view[1] - view[0]) * this.inner; }
  time(x) { return view[0] + (x - MARGIN.left) / this.inner * (view[1] - view[0]); }
  y(value) { return this.bottom - value / this.most * (this.bottom - MARGIN.top); }
  moved(event) {
    if (this.from !== undefined) {
      const by = this.time(this.from) - this.time(event.offsetX);
      this.from = event.offsetX;
      show([view[0] + by, view[1] + by]);
    } else if (this.tip) {
      tip(event, this.tip(this.time(event.offsetX), event.offsetY));
    }
  }
  draw() {
    const scale = devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.canvas.style.height = `${this.height}px`;
    this.canvas.width = this.width * scale;
    this.canvas.height = this.height * scale;
    const c = this.context = this.canvas.getContext("2d");
    c.scale(scale, scale);
    c.font = "11px system-ui, sans-serif";
    this.axis();
    c.save();
    c.beginPath();
    c.rect(MARGIN.left, 0, this.inner, this.bottom + 1);
    c.clip();
    this.drawing(this, c);
    if (marked !== null) line(c, this.x(marked), 0, this.x(marked), this.bottom, LOST);
    c.restore();
  }
  axis() {
    const c = this.context, step = nice((view[1] - view[0]) / 8);
    c.fillStyle = css("--dim");
    for (let time = Math.ceil(view[0] / step) * step; time <= view[1]; time += step) {
      line(c, this.x(time), MARGIN.top, this.x(time), this.bottom, css("--line"));
      c.fillText(ms(+time.toFixed(6)), this.x(time) + 2, this.height - 6);
    }
  }
  /* Lines and words for y; `text` makes words of a value. */
  scale(most, text) {
    const c = this.context;
    this.most = most || 1;
    c.restore();
    c.save();
    c.fillStyle = css("--dim");
    const step = nice(this.most / 4);
    for (let value = 0; value <= this.most; value += step) {
      line(c, MARGIN.left, this.y(value), this.width - MARGIN.right, this.y(value), css("--line"));
      c.fillText(text(+value.toFixed(6)), 4, this.y(value) + 4);
    }
    c.beginPath();
    c.rect(MARGIN.left, 0, this.inner, this.bottom + 1);
    c.clip();
  }
  nothing(text) {
    this.context.fillStyle = css("--dim");
    this.context.fillText(text, MARGIN.left + 10, this.height / 2);
  }
  legend(entries) {
    const c = this.context;
    let x = MARGIN.left + 8;
    for (const [text, colour] of entries) {
      c.fillStyle = colour;
      c.fillRect(x, 4, 9, 9);
      c.fillStyle = css("--ink");
      c.fillText(text, x + 13, 13);
      x += 24 + c.measureText(text).width;
    }
  }
}

function line(c, x1, y1, x2, y2, colour) {
  c.strokeStyle = colour;
  c.beginPath();
  c.moveTo(x1, y1);
  c.lineTo(x2, y2);
  c.stroke();
}

function nice(step) {
  const power = 10 ** Math.floor(Math.log10(step || 1));
  return [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= step);
}

/* Indices of what is in view, with one before so that lines come from somewhere. */
function inView(times) {
  return [Math.max(lower(times, view[0]) - 1, 0), lower(times, view[1])];
}

function drawPackets(chart, c) {
  const lanes = pair.flatMap((each) => [[each, 1], [each, 0]]);
  const height = (chart.bottom - MARGIN.top) / lanes.length;
  lanes.forEach(([each, sent], row) => {
    const base = MARGIN.top + (row + 1) * height;
    const p = each.packets, [from, to] = inView(p[P.time]);
    const bar = (i, colour, wide) => {
      c.fillStyle = colour;
      const tall = Math.max(3, Math.min(p[P.size][i] / 1500, 1) * (height - 6));
      c.fillRect(chart.x(p[P.time][i]), base - tall, wide, tall);
    };
    const lost = [];
    for (let i = from; i < to; i++) {
      if (p[P.sent][i] !== sent) continue;
      if (sent && each.lost.has(`${p[P.type][i]}/${p[P.number][i]}`)) lost.push(i);
      else bar(i, TYPES[words[p[P.type][i]]] || css("--dim"), 1);
    }
    // Last, so that their neighbours don't hide them.
    for (const i of lost) bar(i, LOST, 2);
    line(c, MARGIN.left, base, chart.width, base, css("--line"));
    c.restore();
    c.fillStyle = css("--ink");
    c.fillText(each.role, 4, base - height / 2);
    c.fillText(sent ? "sent" : "received", 4, base - height / 2 + 13);
    c.save();
    c.beginPath();
    c.rect(MARGIN.left, 0, chart.inner, chart.bottom + 1);
    c.clip();
  });
  chart.legend([...Object.entries(TYPES), ["lost", LOST]]);
}

function packetTip(time, y) {
  const lanes = pair.flatMap((each) => [[each, 1], [each, 0]]);
  const row = Math.floor((y - MARGIN.top) / (charts.packets.bottom - MARGIN.top) * lanes.length);
  if (!lanes[row]) return "";
  const [each, sent] = lanes[row], p = each.packets, near = (view[1] - view[0]) / 200;
  let best = -1;
  for (let i = lower(p[P.time], time - near); i < p[P.time].length && p[P.time][i] <= time + near; i++) {
    if (p[P.sent][i] === sent && (best < 0 || Math.abs(p[P.time][i] - time) < Math.abs(p[P.time][best] - time))) best = i;
  }
  if (best < 0) return "";
  const number = p[P.number][best] < 0 ? "" : ` ${p[P.number][best]}`;
  const lost = sent && each.lost.has(`${p[P.type][best]}/${p[P.number][best]}`) ? ", lost" : "";
  return `${ms(p[P.time][best])}: ${words[p[P.type][best]]}${number}, ${bytes(p[P.size][best])}${lost}: ${words[p[P.frames][best]] || "no frames logged"}`;
}

function drawMetrics(rows, text, empty) {
  return (chart, c) => {
    const m = side.metrics, [from, to] = inView(m[0]);
    let most = 0;
    for (const [, column] of rows) for (let i = from; i < to; i++) most = Math.max(most, m[column][i] || 0);
    if (!most) return chart.nothing(empty);
    chart.scale(most * 1.1, text);
    for (const [, column, colour] of rows) {
      c.strokeStyle = colour;
      c.beginPath();
      let before = null;
      for (let i = from; i < to; i++) {
        const value = m[column][i];
        if (value === null) continue;
        if (before === null) c.moveTo(chart.x(m[0][i]), chart.y(value));
        else { c.lineTo(chart.x(m[0][i]), chart.y(before)); c.lineTo(chart.x(m[0][i]), chart.y(value)); }
        before = value;
      }
      if (before !== null && to === m[0].length) c.lineTo(chart.x(full[1]), chart.y(before));
      c.stroke();
    }
    for (const time of side.losses[L.time]) if (time >= view[0] && time <= view[1]) line(c, chart.x(time), chart.bottom - 8, chart.x(time), chart.bottom, LOST);
    chart.legend([...rows.map(([name, , colour]) => [name, colour]), ["loss", LOST]]);
    chart.tip = (time) => {
      const i = lower(m[0], time) - 1;
      return i < 0 ? "" : `${ms(m[0][i])}: ${rows.map(([name, column]) => `${name} ${m[column][i] === null ? "?" : text(m[column][i])}`).join(", ")}`;
    };
  };
}

function drawStreams(chart, c) {
  const s = side.streams, [from, to] = inView(s[S.time]);
  let most = 0;
  for (let i = from; i < to; i++) most = Math.max(most, s[S.offset][i] + s[S.length][i]);
  if (from >= to) return chart.nothing("no STREAM frames were logged here");
  chart.scale(most * 1.1, bytes);
  const seen = new Map();
  for (let i = from; i < to; i++) {
    const stream = s[S.stream][i];
    if (!seen.has(stream)) seen.set(stream, STREAMS[seen.size % STREAMS.length]);
    c.fillStyle = seen.get(stream);
    const top = chart.y(s[S.offset][i] + s[S.length][i]);
    const tall = Math.max(chart.y(s[S.offset][i]) - top, 2);
    if (s[S.sent][i]) c.fillRect(chart.x(s[S.time][i]), top, 2, tall);
    else c.fillRect(chart.x(s[S.time][i]), top, 1, tall);
  }
  chart.legend([...seen].slice(0, 12).map(([stream, colour]) => [`stream ${stream}`, colour]));
  chart.tip = (time, y) => {
    const near = (view[1] - view[0]) / 200, value = (chart.bottom - y) / (chart.bottom - MARGIN.top) * chart.most;
    let best = -1, least = Infinity;
    for (let i = lower(s[S.time], time - near); i < s[S.time].length && s[S.time][i] <= time + near; i++) {
      const far = Math.abs(s[S.offset][i] - value);
      if (far < least) { best = i; least = far; }
    }
    return best < 0 ? "" : `${ms(s[S.time][best])}: stream ${s[S.stream][best]} ${s[S.sent][best] ? "sent" : "received"} ${s[S.offset][best]} to ${s[S.offset][best] + s[S.length][best]}`;
  };
}

/* The packets up to the first few of 1-RTT, one row each, with the other side's end where both logged. */
function ladderRows() {
  const client = pair.find((each) => each.role === "client"), server = pair.find((each) => each.role !== "client");
  const rows = [];
  for (const each of pair) {
    const p = each.packets, other = each === client ? server : client, arrivals = new Map();
    if (other) other.packets[0].slice(0, 400).forEach((time, i) => {
      const key = `${other.packets[P.type][i]}/${other.packets[P.number][i]}`;
      if (!other.packets[P.sent][i] && !arrivals.has(key)) arrivals.set(key, time);
    });
    let late = 0;
    for (let i = 0; i < Math.min(p[0].length, 400) && late < 6; i++) {
      if (!p[P.sent][i] && other) continue;
      if (words[p[P.type][i]] === "1RTT") late++;
      const key = `${p[P.type][i]}/${p[P.number][i]}`, fromClient = (each === client) === !!p[P.sent][i];
      const end = p[P.sent][i] ? arrivals.get(key) : p[0][i];
      rows.push({ sent: p[P.sent][i] ? p[0][i] : undefined, end, fromClient, both: !!other,
        text: `${words[p[P.type][i]]}${p[P.number][i] < 0 ? "" : ` ${p[P.number][i]}`}: ${words[p[P.frames][i]]}`, type: words[p[P.type][i]] });
    }
  }
  return rows.sort((a, b) => (a.sent ?? a.end) - (b.sent ?? b.end)).slice(0, 40);
}

function drawLadder() {
  const canvas = element("ladder"), rows = ladderRows(), scale = devicePixelRatio || 1;
  const width = canvas.clientWidth, step = 26, height = rows.length * step + 60;
  canvas.style.height = `${height}px`;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const c = canvas.getContext("2d"), left = 110, right = width - 110;
  c.scale(scale, scale);
  c.font = "12px system-ui, sans-serif";
  c.fillStyle = css("--ink");
  c.fillText("client", left - 15, 14);
  c.fillText("server", right - 15, 14);
  line(c, left, 20, left, height, css("--dim"));
  line(c, right, 20, right, height, css("--dim"));
  rows.forEach((row, index) => {
    const y = 40 + index * step, colour = TYPES[row.type] || css("--dim");
    const lost = row.both && row.end === undefined;
    const [x1, x2] = row.fromClient ? [left, right] : [right, left];
    const stop = lost ? (x1 + x2) / 2 : x2, slope = 12 * Math.abs(stop - x1) / (right - left);
    line(c, x1, y, stop, y + slope, lost ? LOST : colour);
    c.fillStyle = lost ? LOST : colour;
    c.beginPath();
    const back = row.fromClient ? -8 : 8;
    c.moveTo(stop, y + slope); c.lineTo(stop + back, y + slope - 4); c.lineTo(stop + back, y + slope + 4);
    c.fill();
    c.fillStyle = css("--ink");
    c.textAlign = "center";
    c.fillText(row.text.slice(0, 90) + (lost ? " (lost)" : ""), (left + right) / 2, y - 1, right - left - 40);
    c.textAlign = "left";
    c.fillStyle = css("--dim");
    const start = row.sent === undefined ? "" : ms(row.sent), end = row.end === undefined ? "" : ms(row.end);
    c.fillText(row.fromClient ? start : end, 8, y + 4);
    c.fillText(row.fromClient ? end : start, right + 10, y + 8);
  });
}

function cells(values, tag = "td") {
  const row = document.createElement("tr");
  for (const value of values) {
    const cell = document.createElement(tag);
    cell.textContent = value;
    if (String(value).length > 40) cell.className = "wide";
    row.append(cell);
  }
  return row;
}

/* A row that leads to a time in the charts. */
function placed(row, time) {
  if (time === null) return row;
  row.className = "place";
  row.onclick = () => {
    marked = time;
    const half = Math.min((full[1] - full[0]) / 40, 100);
    show([time - half, time + half]);
    element("packets").scrollIntoView({ block: "center" });
  };
  return row;
}

function listFindings() {
  const table = element("findings");
  table.replaceChildren(cells(["time", "side", "severity", "what", "rule", "count"], "th"));
  let any = false;
  for (const each of pair) for (const [time, index, severity, rule, name, text, reference, count] of each.findings) {
    any = true;
    const where = index === null ? "header" : `event ${index} ${name}`;
    const row = cells([time === null ? "" : ms(time), each.role, severity, `${where}: ${text}${reference ? ` [${reference}]` : ""}`, rule, count]);
    row.children[2].className = severity;
    table.append(placed(row, time));
  }
  if (!any) table.replaceChildren(cells(["The validator found nothing."]));
}

function listEvents() {
  const table = element("events"), wanted = element("filter").value.toLowerCase(), found = [];
  for (const each of pair) for (const [time, index, name, text] of each.events) {
    if (time >= view[0] && time <= view[1] && `${name} ${text}`.toLowerCase().includes(wanted)) found.push([time, each.role, index, name, text]);
  }
  found.sort((a, b) => a[0] - b[0]);
  const most = 300, unlisted = pair.reduce((sum, each) => sum + each.unlisted, 0);
  element("shown").textContent = `${Math.min(found.length, most)} of ${found.length} in view` + (unlisted ? `; ${unlisted} more are not on this page` : "");
  table.replaceChildren(cells(["time", "side", "event", "name", "data"], "th"));
  for (const [time, role, index, name, text] of found.slice(0, most)) table.append(placed(cells([ms(time), role, index, name, text]), time));
}

function summarise() {
  const box = element("summary");
  box.replaceChildren();
  for (const each of pair) {
    const p = each.packets, sent = p[P.sent].filter((value) => value).length;
    let goodput = 0;
    each.streams[S.length].forEach((length) => { goodput += length; });
    const bold = document.createElement("b"), text = document.createElement("span");
    bold.textContent = `${each.role} ${each.name}`;
    const shown = each.findings.filter((finding) => finding[2] === "error").length;
    text.textContent = `${each.file} (qlog ${each.era}): ${sent} packets sent, ${p[0].length - sent} received, ${each.losses[0].length} lost, ${bytes(goodput)} in STREAM frames, ${each.findings.length} findings (${shown} errors)`;
    box.append(bold, text);
  }
}

function tip(event, text) {
  const box = element("tip");
  box.hidden = !text;
  box.textContent = text;
  box.style.left = `${Math.min(event.clientX + 14, innerWidth - 470)}px`;
  box.style.top = `${event.clientY + 14}px`;
}

function zoom(around, by) {
  show([around - (around - view[0]) * by, around + (view[1] - around) * by]);
}

let planned = false;
function show(range) {
  const least = 0.01, span = Math.max(Math.min(range[1] - range[0], full[1] - full[0]), least);
  const from = Math.max(full[0], Math.min(range[0], full[1] - span));
  view = [from, from + span];
  if (!planned) {
    planned = true;
    requestAnimationFrame(() => { planned = false; drawAll(); });
  }
}

function drawAll() {
  element("span").textContent = `${ms(view[0])} to ${ms(view[1])}`;
  document.body.classList.toggle("zoomed", view[1] - view[0] < full[1] - full[0]);
  if (side) for (const chart of Object.values(charts)) chart.draw();
  listEvents();
}

function choosePair(index) {
  pair = pairs[index] || [];
  element("side").replaceChildren(...pair.map((each, i) => new Option(each.role, i)));
  // Congestion is the business of the side that sends the data.
  const sender = pair.reduce((best, each, i) => each.streams[S.sent].filter((x) => x).length > pair[best].streams[S.sent].filter((x) => x).length ? i : best, 0);
  element("side").value = sender;
  side = pair[sender];
  let last = 1;
  for (const each of pair) for (const times of [each.packets[0], each.metrics[0]]) if (times.length) last = Math.max(last, times[times.length - 1]);
  full = [0, last * 1.01];
  marked = null;
  summarise();
  listFindings();
  if (pair.length) drawLadder();
  show(full);
}

const charts = {
  packets: new Chart("packets", 220, drawPackets),
  window: new Chart("window", 200, drawMetrics([["congestion window", M.window, "#8e44ad"], ["bytes in flight", M.flight, "#1e88e5"]], bytes, "no congestion window was logged")),
  rtt: new Chart("rtt", 150, drawMetrics([["latest", M.latest, "#90a4ae"], ["smoothed", M.smoothed, "#1e88e5"], ["min", M.min, "#2e9e4f"]], ms, "no round-trip times were logged")),
  streams: new Chart("streams", 220, drawStreams),
};
charts.packets.tip = packetTip;

prepare();
element("pair").replaceChildren(...pairs.map((each, i) => new Option(each.map((s) => s.group || s.file)[0] || `connection ${i + 1}`, i)));
element("pair").onchange = (event) => choosePair(+event.target.value);
element("side").onchange = (event) => { side = pair[+event.target.value]; drawAll(); };
element("filter").oninput = listEvents;
element("all").onclick = () => { marked = null; show(full); };
addEventListener("resize", () => { drawAll(); if (pair.length) drawLadder(); });
choosePair(0);
document.body.dataset.drawn = "yes";
