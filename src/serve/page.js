"use strict";
// Everything that comes from outside is set as text, never as HTML.
const $ = (id) => document.getElementById(id);
const COLOURS = matchMedia("(prefers-color-scheme: dark)").matches
  ? ["#8db6f5", "#f2a26b", "#6fcf97", "#c9a0e8", "#e3c26a", "#5fd3d3"]
  : ["#2a5db0", "#c2571a", "#2e8b57", "#8e44ad", "#9a6f00", "#00797a"];
const SHOWN = 8; // classes that are asked for
const DRAWN = 6; // series that are drawn
let about = null;
let chosen = []; // files, in the order of their choice

function make(tag, { text, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function drawn(tag, attributes = {}, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// A picture; a small one keeps its pixels where it is shown larger.
function image(attributes) {
  const node = make("img", attributes);
  node.addEventListener("load", () => node.classList.toggle("tiny", node.naturalWidth < 200));
  return node;
}

const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 2 : 1)} %`;
const number = (value) => (Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3) ? value.toExponential(2) : String(+value.toPrecision(5)));
const said = (value) => (value === null ? "–" : typeof value === "number" ? number(value) : String(value));

function fail(sentence) {
  $("answer").replaceChildren(make("p", { class: "wrong", role: "alert", text: sentence }));
}

// --- what is asked

async function begin() {
  try {
    about = await (await fetch("describe")).json();
  } catch {
    return fail("The service cannot be reached.");
  }
  document.title = `${about.name} · torchatlas`;
  $("name").textContent = about.name;
  const classes = about.classes && about.task === "classification" ? `, ${about.classes.length} classes` : "";
  $("about").textContent = `${about.network}, ${about.task.replaceAll("_", " ")}${classes}`;
  const typed = about.form === "text" || about.form === "table";
  $("texts").hidden = !typed;
  $("files").hidden = false;
  $("file").accept = about.endings.join(",");
  $("endings").textContent = about.endings.slice(0, 8).join(" ") + (about.endings.length > 8 ? " …" : "");
  $("paste").hidden = about.form !== "image";
  $("record").hidden = !(about.form === "sound" && navigator.mediaDevices && window.MediaRecorder);
  if (typed) {
    const names = about.sides.length ? about.sides : [about.form === "table" ? "table as CSV" : "text"];
    names.forEach((name, i) => {
      const box = make("textarea", { id: `side${i}`, rows: 5, spellcheck: "false" });
      const columns = [about.time, ...(about.series || [])].filter(Boolean).join(",");
      if (about.form === "table") box.placeholder = `${columns}\n…  at least ${about.lookback || 1} rows`;
      $("texts").append(make("label", { for: box.id, text: name[0].toUpperCase() + name.slice(1) }), box);
    });
  }
  for (const option of about.options) $("options").append(field(option));
  $("more").hidden = !about.options.length;
  $("lines").textContent = lines();
}

function field(option) {
  const id = `option-${option.name}`;
  const value = option.name === "top" ? Math.min(SHOWN, (about.classes || []).length) : option.default;
  let input;
  if (option.choices.length || option.kind === "bool") {
    input = make("select", { id });
    const choices = option.choices.length ? option.choices : ["true", "false"];
    input.append(...(value === null ? ["", ...choices] : choices).map((text) => make("option", { text })));
    input.value = value === null ? "" : String(value);
  } else {
    const numeric = option.kind === "int" || option.kind === "float";
    input = make("input", { id, type: numeric ? "number" : "text", ...(numeric ? { step: option.kind === "int" ? 1 : "any" } : {}) });
    input.value = value === null ? "" : value;
  }
  input.name = option.name;
  return make("label", { for: id, text: option.name }, make("small", { text: option.help }), input);
}

function lines() {
  const address = new URL("predict", location.href).href;
  const file = { image: "photo.jpg", sound: "sound.wav", text: "texts.txt", table: "table.csv", file: "file" }[about.form];
  const found = [`curl -F file=@${file} ${address}`];
  if (about.options.some((option) => option.name === "top")) found.push(`curl -F file=@${file} -F top=3 ${address}`);
  if (about.sides.length) {
    const value = JSON.stringify(Object.fromEntries(about.sides.map((side) => [side, "..."])));
    found.push(`curl --json '{"input": ${value}}' ${address}`);
  } else if (about.form === "text") found.push(`curl --json '{"inputs": ["one text", "another"]}' ${address}`);
  else if (about.form === "image") found.push(`curl --json '{"input": [[0, 255], [255, 0]]}' ${address}   # an array of pixels`);
  else if (about.form === "sound") found.push(`curl --json '{"input": {"array": [0.0, 0.1, 0.0], "sample_rate": ${about.sample_rate}}}' ${address}`);
  else if (about.form === "table") {
    const columns = [about.time, ...(about.series || [])].filter(Boolean).map((name) => `${JSON.stringify(name)}: [...]`);
    found.push(`curl --json '{"input": {${columns.join(", ")}}}' ${address}`);
  }
  found.push(`curl ${new URL("describe", location.href).href}`);
  return found.join("\n");
}

function choose(files) {
  chosen = [...files].slice(0, about.limits.inputs);
  $("chosen").replaceChildren(
    ...chosen.map((file) => {
      const parts = [make("span", { text: file.name || "pasted" })];
      if (about.form === "image") parts.unshift(image({ src: URL.createObjectURL(file), alt: "" }));
      if (about.form === "sound") parts.push(make("audio", { src: URL.createObjectURL(file), controls: "" }));
      return make("li", {}, ...parts);
    }),
  );
}

$("file").addEventListener("change", (event) => choose(event.target.files));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && about && event.dataTransfer.files.length) {
      choose(event.dataTransfer.files);
      $("form").requestSubmit();
    }
  });
}
document.addEventListener("paste", (event) => {
  if (about && event.clipboardData.files.length) {
    choose(event.clipboardData.files);
    $("form").requestSubmit();
  }
});

// --- the microphone: what the browser records is decoded here, as the service reads no WebM

let recorder = null;
$("record").addEventListener("click", async () => {
  if (recorder) return recorder.stop();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = async () => {
      recorder = null;
      $("record").textContent = "Record";
      stream.getTracks().forEach((track) => track.stop());
      const sound = await new AudioContext().decodeAudioData(await new Blob(parts).arrayBuffer());
      choose([new File([wave(sound.getChannelData(0), sound.sampleRate)], "recording.wav", { type: "audio/wav" })]);
      $("form").requestSubmit();
    };
    recorder.start();
    $("record").textContent = "Stop";
    setTimeout(() => recorder && recorder.stop(), 1000 * about.limits.seconds);
  } catch (error) {
    fail(`The microphone cannot be used: ${error.message}`);
  }
});

function wave(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const put = (at, text) => [...text].forEach((sign, i) => view.setUint8(at + i, sign.charCodeAt(0)));
  put(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); put(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  put(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, value)), true));
  return view.buffer;
}

// --- asking

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!about) return;
  const boxes = [...document.querySelectorAll("#texts textarea")].map((box) => box.value);
  const body = new FormData();
  for (const file of chosen) body.append("file", file, file.name || "pasted.png");
  if (!chosen.length && boxes.some((text) => text.trim())) {
    if (about.form === "table") body.append("input", boxes[0]);
    else (about.sides.length ? about.sides : ["text"]).forEach((side, i) => body.append(side, boxes[i]));
  }
  if (![...body.keys()].length) return fail(boxes.length ? "Type something, or choose a file." : "Choose a file.");
  for (const option of about.options) {
    const value = $(`option-${option.name}`).value;
    if (value !== "") body.append(option.name, value);
  }
  $("send").disabled = true;
  $("answer").setAttribute("aria-busy", "true");
  try {
    const answer = await fetch("predict", { method: "POST", body });
    const found = await answer.json();
    if (answer.ok) {
      if (about.form === "table" && chosen.length) boxes.splice(0, 1, ...(await Promise.all(chosen.map((file) => file.text()))));
      show(found.answers, chosen, boxes);
    } else fail(found.error);
  } catch {
    fail("The service cannot be reached, or has ended the connection.");
  }
  $("send").disabled = false;
  $("answer").setAttribute("aria-busy", "false");
  if (about.form === "text" || about.form === "table") {
    chosen = [];
    $("file").value = "";
    $("chosen").replaceChildren();
  }
});

// --- what is answered

function show(answers, files, boxes) {
  $("answer").replaceChildren(
    ...answers.flatMap((answer, i) => {
      const parts = answers.length > 1 || answer.name ? [make("h3", { text: answer.name || `${i + 1}` })] : [];
      if (answer.error) return [...parts, make("p", { class: "wrong", role: "alert", text: answer.error })];
      return [...parts, ...drawing(answer.rows, files[i], boxes[about.form === "table" ? i : 0])];
    }),
  );
}

function drawing(rows, file, typed) {
  const first = rows[0];
  if ("mask" in first) return mask(first, file);
  if ("class" in first || "class_1" in first) return rows.flatMap((row) => bars(row, file, rows.length > 1));
  if ("kind" in first && "entity" in first) return entities(rows);
  if ("word" in first && "tag" in first) return [table(rows.map(({ place, text, ...row }) => row))];
  if ("answer" in first) return rows.flatMap((row) => [make("p", { class: "quiet", text: row.question }), make("p", {}, make("strong", { text: row.answer || "no answer in the text" }), ` (score ${said(row.score)})`)]);
  if ("continuation" in first) return rows.flatMap((row) => continued(row, file ? "" : typed));
  if ("time" in first) return plot(rows, typed);
  return [table(rows)];
}

function picture(file) {
  return about.form === "image" && file ? [image({ src: URL.createObjectURL(file), alt: file.name || "the picture", class: "shown" })] : [];
}

function bars(row, file, named) {
  const found = "class" in row ? [[row.class, row.probability, row.spread]] : [];
  for (let i = 1; `class_${i}` in row; i++) found.push([row[`class_${i}`], row[`probability_${i}`], row[`spread_${i}`]]);
  const list = make("ul", { class: "bars" });
  for (const [name, share, spread] of found) {
    const bar = make("b");
    bar.style.width = `${100 * share}%`;
    const value = percent(share) + (spread === undefined ? "" : ` ± ${percent(spread)}`);
    list.append(make("li", {}, make("div", {}, make("span", { text: name }), make("span", { text: value })), make("i", { "aria-hidden": "true" }, bar)));
  }
  const above = named && row.text ? [make("p", { class: "quiet", text: row.text })] : [];
  return [...picture(file), ...above, list];
}

function mask(row, file) {
  const over = image({ src: row.mask, alt: "the mask" });
  const layers = make("div", { class: "layers" });
  if (file) layers.append(image({ src: URL.createObjectURL(file), alt: file.name }));
  layers.append(over);
  const slider = make("input", { type: "range", id: "strength", min: 0, max: 1, step: 0.05, value: 0.6 });
  const set = () => (over.style.opacity = file ? slider.value : 1);
  slider.addEventListener("input", set);
  set();
  const key = make("ul", { class: "key" });
  (about.classes || []).forEach((name, i) => {
    const share = row[`share_${name}`];
    if (!share) return;
    const box = make("i");
    if (about.colours) box.style.background = `rgb(${about.colours[i].join(",")})`;
    key.append(make("li", {}, box, `${name} ${percent(share)}`));
  });
  return [layers, make("label", { for: "strength", text: "Strength of the mask" }), slider, key];
}

function entities(rows) {
  const passages = new Map();
  for (const row of rows) passages.set(row.text, [...(passages.get(row.text) || []), row]);
  return [...passages].map(([text, found]) => {
    const line = make("p", { class: "passage" });
    let at = 0;
    for (const row of found.filter((row) => row.entity)) {
      const place = text.indexOf(row.entity, at);
      if (place < 0) continue;
      line.append(text.slice(at, place), make("mark", { title: percent(row.probability) }, row.entity, make("small", { text: row.kind })));
      at = place + row.entity.length;
    }
    line.append(text.slice(at));
    if (found.some((row) => row.entity)) return make("div", {}, line, table(found.map(({ entity, kind, probability }) => ({ entity, kind, probability }))));
    return make("div", {}, line, make("p", { class: "quiet", text: "No entity was found." }));
  });
}

function continued({ continuation, file: _, ...figures }, typed) {
  return [make("p", { class: "passage" }, typed, make("mark", { text: continuation })), table([figures])];
}

function table(rows) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col", text: name.replaceAll("_", " ") })));
  const body = rows.map((row) => make("tr", {}, ...columns.map((name) => make("td", { text: said(row[name] ?? "") }))));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}

// Lines over time: what was sent, as far as it can be read here, and then what is answered.
function plot(rows, sent) {
  const numeric = Object.keys(rows[0]).filter((name) => rows.some((row) => typeof row[name] === "number"));
  const own = (about.series || []).filter((name) => numeric.includes(name));
  const series = (own.length ? own : numeric).slice(0, DRAWN);
  const before = "score" in rows[0] ? [] : history(sent, series, 4 * rows.length);
  const all = [...before, ...rows];
  const parts = series.flatMap((name) => [name, ...numeric.filter((other) => other.startsWith(`${name} `) && !other.endsWith(" score"))].map((line) => [line, name]));
  const values = parts.flatMap(([line]) => all.map((row) => row[line]).filter((value) => typeof value === "number"));
  const low = Math.min(...values), high = Math.max(...values) > low ? Math.max(...values) : low + 1;
  const w = Math.max(280, Math.min(640, $("answer").clientWidth));  // so that letters keep their size
  const [h, left, right, top, bottom] = [280, 58, 8, 24, 26];
  const x = (i) => left + ((w - left - right) * i) / Math.max(1, all.length - 1);
  const y = (value) => top + (h - top - bottom) * (1 - (value - low) / (high - low));
  const [first, last] = [said(all[0].time), said(all[all.length - 1].time)];
  const svg = drawn("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": `${series.join(", ")} from ${first} to ${last}` });
  for (const share of [0, 0.5, 1]) {
    const value = low + share * (high - low);
    svg.append(drawn("line", { x1: left, x2: w - right, y1: y(value), y2: y(value), class: "axis" }));
    svg.append(drawn("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)));
  }
  if (before.length) {
    const place = (x(before.length - 1) + x(before.length)) / 2;
    svg.append(drawn("line", { x1: place, x2: place, y1: 4, y2: h - bottom, class: "axis" }));
    svg.append(drawn("text", { x: place - 4, y: 14, "text-anchor": "end" }, `forecast from ${said(rows[0].time)}`));
  }
  svg.append(drawn("text", { x: left, y: h - 6 }, first), drawn("text", { x: w - right, y: h - 6, "text-anchor": "end" }, last));
  const key = make("ul", { class: "key" });
  for (const [line, name] of parts) {
    const stroke = COLOURS[series.indexOf(name)];
    svg.append(drawn("path", { d: path(before, line, x, y, 0), stroke, class: "before" }));
    svg.append(drawn("path", { d: path(rows, line, x, y, before.length), stroke, ...(line === name ? {} : { "stroke-dasharray": "4 4" }) }));
    if (line !== name) continue;
    rows.forEach((row, i) => {
      if (row.anomaly && typeof row[name] === "number") svg.append(drawn("circle", { cx: x(before.length + i), cy: y(row[name]), r: 4, class: "anomaly" }));
    });
    const box = make("i");
    box.style.background = stroke;
    key.append(make("li", {}, box, name));
  }
  return [svg, key, make("details", {}, make("summary", { text: `As a table, ${rows.length} rows` }), table(rows))];
}

function path(rows, name, x, y, from) {
  let pen = "M", line = "";
  rows.forEach((row, i) => {
    if (typeof row[name] !== "number") return (pen = "M");
    line += `${pen}${x(from + i).toFixed(1)} ${y(row[name]).toFixed(1)}`;
    pen = "L";
  });
  return line;
}

// The last rows of a plain table with a line of names; of any other nothing is drawn in front.
function history(text, series, most) {
  const [head, ...rest] = (text || "").split(/\r?\n/).filter((line) => line.trim());
  const separator = ["\t", ";", ","].find((sign) => (head || "").includes(sign)) || ",";
  const names = (head || "").split(separator).map((name) => name.trim().replaceAll('"', ""));
  if (!series.every((name) => names.includes(name))) return [];
  return rest.slice(-most).map((line) => {
    const cells = line.split(separator);
    const row = { time: (cells[names.indexOf(about.time)] || "").trim().slice(0, 16) };
    for (const name of series) {
      const cell = (cells[names.indexOf(name)] || "").trim();
      if (cell !== "" && Number.isFinite(Number(cell))) row[name] = Number(cell);
    }
    return row;
  });
}

begin();
