"use strict";
// Asks for the figures and puts them into the page that is there: nodes stay, so focus, scroll and what is open do too.
// Whatever comes from the gateway is set as text.

const EVERY = 5000, PATIENCE = 4000, STEPS = 120, MOST = 100;
const PARTS = [["database", "database"], ["client", "network"], ["upstream", "network to the database"], ["transfer", "transfer"], ["request", "request"]];
const SPENT = [["database_seconds", "database"], ["network_seconds", "network"], ["transfer_seconds", "transfer"], ["request_seconds", "request"], ["idle_in_transaction_seconds", "idle in transactions"]];

const at = id => document.getElementById(id);
const text = (node, words) => { words = String(words ?? ""); if (node.textContent !== words) node.textContent = words; };
const set = (node, name, value) => { if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value); };
const show = (node, shown) => { if (node.hidden === shown) node.hidden = !shown; };

// Fills the fields of a node that a template made.
const fields = node => node.fields ??= Object.fromEntries([...node.querySelectorAll("[data-f]")].map(field => [field.dataset.f, field]));
const fill = (node, words) => { for (const name in words) text(fields(node)[name], words[name]); };

// Makes the children of a node be these items, each with its node as long as its key is there.
function list(parent, items, template, key, draw) {
  const had = parent.kept ?? new Map(), kept = parent.kept = new Map();
  let before = parent.firstChild;
  for (const item of items) {
    const name = key(item);
    if (kept.has(name)) continue;
    const node = had.get(name) ?? document.importNode(at(template).content, true).firstElementChild;
    had.delete(name);
    kept.set(name, node);
    draw(node, item);
    if (node === before) before = before.nextSibling;
    else parent.insertBefore(node, before);
  }
  for (const node of had.values()) node.remove();
}

// --- numbers for people ---

function millis(ms) {
  if (ms == null) return "\u2013";
  if (ms >= 599500) return length(ms / 1000);
  const [number, unit] = ms >= 995 ? [ms / 1000, "s"] : [ms, "ms"];
  if (number > 0 && number < 0.01) return `<\u202f0.01\u00a0${unit}`;
  return `${number === 0 ? 0 : number.toFixed(number >= 9.95 ? 0 : number >= 0.995 ? 1 : 2)}\u00a0${unit}`;
}
function length(seconds) {
  const [d, h, m, s] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  const all = d ? [[d, "d"], [h, "h"]] : h ? [[h, "h"], [m, "min"]] : m ? [[m, "min"], [s, "s"]] : [[s, "s"]];
  return all.map(([n, unit], i) => (n || !i ? `${n}\u00a0${unit}` : "")).join(" ").trim();
}
const count = n => Number(n).toLocaleString("en").replaceAll(",", "\u202f");
const few = n => (n >= 9.95 ? count(Math.round(n)) : n >= 0.95 || n === 0 ? String(Math.round(n * 10) / 10) : n.toFixed(1));
const share = part => part == null ? "\u2013" : part > 0 && part < 0.01 ? "<\u202f1\u00a0%" : part < 1 && part >= 0.995 ? ">\u202f99\u00a0%" : `${Math.round(part * 100)}\u00a0%`;
const clock = date => date.toLocaleTimeString("en-GB");
const plural = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;
const pair = (a, b) => {
  [a, b] = [millis(a), millis(b)];
  if (a === b || b === "\u2013") return a;
  const [[x, unit], [, other]] = [a.split("\u00a0"), b.split("\u00a0")];
  return unit === other ? `${x} / ${b}` : `${a} / ${b}`;
};

// --- what needs an eye ---

const broken = line => line.expected_rtt_ms != null && line.scope === "path" && (line.rtt_p90_ms ?? 0) > line.expected_rtt_ms;
const remote = line => line.network_share >= 0.3 && line.network_ms >= 20;
const mood = line => broken(line) || remote(line) ? "bad" : line.verdict === "fine" ? "good" : "";
const MARKS = { good: "\u2713", bad: "\u25b2", "": "" };
const judge = (node, how) => { node.className = how; text(fields(node).mark, MARKS[how]); };

function notices(status) {
  const all = [];
  const add = (what, words) => all.push({ what, words });
  if (status.problem) add("The file has errors; an older configuration is in force.", `\n${status.problem.trimEnd()}`);
  else if (status.differs.length) add("Not in force:", `what ${status.differs.join(", ")} says now. doorward reload puts it in force.`);
  for (const door of status.listeners) if (!door.upstream_up) add(`${door.name}: the database does not answer`, `at ${door.upstream}.`);
  if (status.observing.until) add(`Observing until ${status.observing.until}:`, "refusals are recorded only.");
  if (status.observing.origins.length) add("On trial:", `${status.observing.origins.join(", ")}. Refusals are recorded only.`);
  for (const [names, days] of certificates(status)) if (days < 15) add(`The certificate${names && ` for ${names}`} ${days < 0 ? "has ended." : `ends in ${plural(days, "day")}.`}`, "");
  return all;
}
const certificates = ({ certificate }) => [["", certificate.days_left, certificate.ends], ...certificate.further.map(one => [one.names.join(", "), one.days_left, one.ends])];

function tiles(status) {
  const down = status.listeners.filter(door => !door.upstream_up).length, doors = status.listeners.length;
  const days = Math.min(...certificates(status).map(([, left]) => left));
  const refused = status.refusals.reduce((sum, one) => sum + one.count, 0);
  return [
    ["Sessions", count(status.sessions), `of ${plural(status.origins.length, "origin")}`],
    [doors === 1 ? "Database" : "Databases", down ? `${down} of ${doors} down` : "up", doors === 1 ? status.listeners[0].upstream : `behind ${plural(doors, "listener")}`, down],
    ["Certificate", days < 0 ? "has ended" : plural(days, "day"), days < 0 ? "" : "left", days < 15],
    ["Generation", count(status.generation), `loaded ${moment(status.loaded)}`, status.problem],
    ["Turned away", count(refused), status.bans ? `${plural(status.bans, "source")} banned` : "since the start"],
    ["Up", length(status.uptime_seconds), ""],
  ];
}
const moment = when => { const date = new Date(when); return isNaN(date) ? when : `${date.toLocaleDateString("sv")} ${clock(date).slice(0, 5)}`; };

// --- plots: 120 wide, a half minute each, and 40 high ---

// The next round number above.
function ceiling(value) {
  const ten = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map(n => n * ten).find(n => n >= value * 0.9999);
}
const y = (value, most) => (40 - 38 * value / most).toFixed(2);
const values = (points, part) => points.map(point => part === "database" ? point.database : part === "client" ? point.network_client : part === "upstream" ? point.network_upstream : point[part]);

function drawHour(article, points, minute) {
  const { hour, "hour-most": label } = fields(article), sums = PARTS.map(([part]) => values(points, part));
  const totals = points.map((_, i) => sums.reduce((sum, part) => sum + part[i], 0)), largest = Math.max(0, ...totals);
  const most = ceiling(Math.max(largest * minute, 1e-6)) / minute, left = STEPS - points.length;
  let below = points.map(() => 0);
  PARTS.forEach(([part], k) => {
    const above = below.map((value, i) => value + sums[k][i]);
    const stairs = (heights, back) => {
      const steps = heights.map((value, i) => back ? `V${y(value, most)}H${left + i}` : `V${y(value, most)}H${left + i + 1}`);
      return (back ? steps.reverse() : steps).join("");
    };
    const none = sums[k].every(value => value === 0);
    set(hour.querySelector(`.${part}`), "d", none ? "" : `M${left} 40${stairs(above)}${stairs(below, true)}Z`);
    below = above;
  });
  text(label, largest ? `up to ${millis(most * minute * 1000)} a minute` : "nothing yet");
  const told = PARTS.map(([, name], k) => [name, sums[k].reduce((a, b) => a + b, 0)]).filter(([, sum]) => sum > 0);
  text(hour.firstElementChild, `Time of the last hour: ${told.map(([name, sum]) => `${name} ${millis(sum * 1000)}`).join(", ") || "none"}.`);
}

function drawLine(article, points, line) {
  const { line: svg, "rtt-most": label } = fields(article), all = points.map(point => point.rtt_ms), known = all.filter(rtt => rtt != null);
  const expected = line.scope === "path" ? line.expected_rtt_ms : null, largest = Math.max(...known, expected ?? 0, 0);
  const most = ceiling(Math.max(largest * 1.05, 1e-3)), left = STEPS - points.length;
  let path = "", area = "", start = null;
  all.forEach((rtt, i) => {
    if (rtt == null) return;
    const from = start === null || all[i - 1] == null;
    if (from) { start = left + i; area += `M${start} 40`; }
    path += `${from ? "M" : "L"}${left + i + 0.5} ${y(rtt, most)}`;
    area += `V${y(rtt, most)}H${left + i + 1}`;
    if (all[i + 1] == null) { path += `H${left + i + 1}`; area += "V40Z"; }
  });
  set(svg.querySelector(".line"), "d", path);
  set(svg.querySelector(".area"), "d", area);
  set(svg.querySelector(".expected"), "d", expected == null ? "" : `M0 ${y(expected, most)}H120`);
  text(label, known.length ? `up to ${millis(most)}${expected == null ? "" : `, ${millis(expected)} expected`}` : "not measured yet");
  const span = `between ${millis(Math.min(...known))} and ${millis(Math.max(...known))}, now ${millis(known.at(-1))}`;
  text(svg.firstElementChild, known.length ? `Round trip of the last hour: ${span}.` : "Round trip: not measured yet.");
}

// --- an origin ---

const HOPS = { loopback: "from this machine", balancer: "behind a balancer", turns: "behind a hop" };
const spent = split => SPENT.filter(([part]) => split[part] >= 0.0005).map(([part, name]) => `${millis(split[part] * 1000)} ${name}`).join(", ");
const partsOf = line => ({ database: line.database_ms, client: line.network_ms - line.network_upstream_ms, upstream: line.network_upstream_ms, transfer: line.transfer_ms, request: line.request_ms });

function facts(line) {
  const all = [
    ["Round trip, least", millis(line.rtt_least_ms)], ["of half / of nine tenths", pair(line.rtt_p50_ms, line.rtt_p90_ms)], ["Jitter", millis(line.jitter_ms)],
    ["Measured", line.rtt_age_seconds == null ? "\u2013" : `${length(line.rtt_age_seconds)} ago, ${plural(line.connections, "connection")}`],
    ["Expected at most", line.expected_rtt_ms == null ? "nothing said" : millis(line.expected_rtt_ms)],
    ["A turn without thinking", millis(line.turn_ms)], ["What is measured", line.scope === "path" ? "the whole path" : `the last hop (${line.hop})`],
    [`Connecting, a ${line.unit}`, `${millis(line.connecting_ms)}, ${few(line.connect_turns)} turns`],
    ["Transfer, of it estimated", `${millis(line.transfer_ms)}, ${millis(line.transfer_estimated_ms)}`], ["Request", millis(line.request_ms)],
    ["Thinking", millis(line.think_ms)], ["Idle in transaction", millis(line.idle_in_transaction_ms)],
    ["Flights, pipelined", `${count(line.flights)}, ${count(line.pipelined)}`], ["Transactions", count(line.transactions)],
    ["Segments sent again", count(line.retransmits)], ["Confidence", line.confidence],
  ];
  if (line.overlap) all.push(["Connections overlap", "sums are connection-seconds"]);
  return all.map(([what, value]) => ({ what, value }));
}

function drawOrigin(article, { line, points, step }) {
  const how = mood(line), own = fields(article), parts = partsOf(line), whole = Object.values(parts).reduce((a, b) => a + b, 0);
  article.className = how;
  const place = line.place && [line.place, line.place_p90].filter(Boolean).map(word => word.replaceAll("_", " ")).join(" / ");
  fill(article, {
    name: line.origin, where: [line.listener, place ?? HOPS[line.hop]].filter(Boolean).join(" \u00b7 "),
    mark: MARKS[how], verdict: line.verdict, share: share(line.network_share),
    "rtt-what": `Round trip${line.scope === "hop" ? " to the hop" : ""}`, rtt: pair(line.rtt_p50_ms, line.rtt_p90_ms),
    turn: millis(line.turn_ms), sessions: count(line.sessions), of: ` of ${line.origin}`,
    unit: `A ${line.unit} of ${few(line.flights_per_unit)} ${few(line.flights_per_unit) === "1" ? "flight" : "flights"}`, takes: millis(whole),
  });
  show(own["turn-row"], line.scope === "hop" && line.turn_ms != null);
  const shown = PARTS.filter(([part]) => parts[part] > 0 || part === "database" || part === "client");
  PARTS.forEach(([part], k) => {
    const width = whole > 0 ? `${(100 * parts[part] / whole).toFixed(2)}%` : "0";
    const piece = article.querySelector(".bar").children[k];
    if (piece.style.width !== width) piece.style.width = width;
    show(piece, parts[part] > 0);
  });
  list(own.legend, shown, "part", ([part]) => part, (node, [part, name]) => {
    set(node.firstElementChild, "class", part);
    fill(node, { what: name, value: millis(parts[part]) });
  });
  list(own.advice, [...line.advice.entries()], "advice", ([n]) => n, (node, [, advice]) => text(node, advice.text));
  list(own.facts, facts(line), "fact", fact => fact.what, fill);
  drawHour(article, points, 60 / step);
  drawLine(article, points, line);
}

// --- the page ---

let moods = null, down = null;

function draw(told) {
  const { status, latency, history, sessions, refused } = told, now = new Date(told.now), name = line => `${line.origin}\n${line.listener}`;
  text(at("version"), status.version);
  list(at("notices"), notices(status), "notice", notice => notice.what, (node, notice) => fill(node, { what: notice.what, text: notice.words }));
  list(at("tiles"), tiles(status), "tile", ([what]) => what.replace(/s$/, ""), (node, [what, value, more, bad]) => {
    node.className = bad ? "bad" : "";
    fill(node, { what, value, more });
  });
  const hours = new Map(history.origins.map(hour => [name(hour), hour.points.slice(-STEPS)]));
  const seen = latency.filter(line => line.flights || line.sessions || line.rtt_p50_ms != null), idle = latency.filter(line => !seen.includes(line));
  const drawn = seen.length > MOST ? seen.filter(line => hours.has(name(line))) : seen;
  list(at("origins"), drawn.map(line => ({ line, points: hours.get(name(line)) ?? [], step: history.step_seconds })), "origin", item => name(item.line), drawOrigin);
  text(at("others"), `The ${count(drawn.length)} where most time goes are drawn; doorward latency has all ${count(seen.length)}.`);
  show(at("others"), drawn.length < seen.length);
  const window = Math.max(0, ...latency.map(line => line.window_seconds));
  text(at("window"), window >= 3600 ? "in the last hour" : `in the last ${length(window)}`);
  const names = idle.slice(0, 30).map(line => line.origin).join(", ");
  text(at("idle"), `Not seen in this time: ${names}${idle.length > 30 ? ` and ${count(idle.length - 30)} more` : ""}`);
  show(at("idle"), idle.length > 0);
  show(at("nobody"), latency.length === 0);

  list(at("reasons"), status.refusals, "reason", one => one.reason, (node, one) => fill(node, { reason: one.reason, count: count(one.count) }));
  list(at("refused-rows"), refused, "refusal", one => one.reference, (node, one) => {
    set(fields(node).when, "datetime", one.last);
    fill(node, { when: ago(one.last, now), reference: one.reference, client: one.address, as: who(one.who), reason: one.reason, cause: one.cause, times: one.times > 1 ? `${count(one.times)}\u202f\u00d7` : "" });
  });
  for (const part of ["refused-table", "refused-more"]) show(at(part), refused.length > 0);
  show(at("refused-none"), refused.length === 0);

  list(at("sessions-rows"), sessions, "session", one => one.id, (node, one) => {
    set(fields(node).for, "datetime", one.since);
    fill(node, { id: one.id, origin: one.origin, client: one.address, as: who(one), application: one.application, tls: one.tls ? `TLS ${one.tls}` : "clear", spent: spent(one.split), for: length(one.seconds) });
  });
  text(at("sessions-count"), status.sessions > sessions.length ? `the newest ${sessions.length} of ${count(status.sessions)}` : "");
  show(at("sessions-table"), sessions.length > 0);
  show(at("sessions-none"), sessions.length === 0);

  list(at("listeners"), status.listeners, "listener", door => door.name, (node, door) => {
    judge(node, door.upstream_up ? "good" : "bad");
    fill(node, { name: door.name, protocol: door.protocol, way: `${door.listen.join(" ")} \u2192 ${door.upstream}`, state: door.upstream_up ? "up" : "DOWN" });
  });
  list(at("certificates"), certificates(status), "certificate", ([names]) => names, (node, [names, days, ends]) => {
    judge(node, days < 15 ? "bad" : "good");
    fill(node, { names: names && `for ${names}`, days: days < 0 ? "has ended" : `${plural(days, "day")} left`, ends: `until ${moment(ends)}` });
  });
  list(at("hosts"), status.hosts, "host", host => host.host, (node, host) => {
    judge(node, host.state === "fresh" ? "good" : "bad");
    fill(node, { host: host.host, addresses: [...host.addresses, ...host.inward].join(" "), state: [host.state, host.trouble].filter(Boolean).join(", ") });
  });
  announce(status, latency);
}
const who = one => one ? `${one.user} \u2192 ${one.database ?? one.user}${one.replication ? " (replication)" : ""}` : "nobody yet";
const ago = (when, now) => `${length(Math.max(0, (now - new Date(when)) / 1000))} ago`;

// Says aloud only what has really changed.
function announce(status, latency) {
  const says = [], is = new Map(latency.map(line => [`${line.origin} on ${line.listener}`, mood(line)]));
  const dark = new Set(status.listeners.filter(door => !door.upstream_up).map(door => door.name));
  if (moods) {
    for (const line of latency) {
      const key = `${line.origin} on ${line.listener}`, was = moods.get(key) ?? "";
      if (mood(line) === "bad" && was !== "bad") says.push(`${key}: ${line.verdict}.`);
      if (mood(line) !== "bad" && was === "bad") says.push(`${key}: ${line.verdict}.`);
    }
    for (const door of dark) if (!down.has(door)) says.push(`The database behind ${door} does not answer.`);
    for (const door of down) if (!dark.has(door)) says.push(`The database behind ${door} answers again.`);
  }
  [moods, down] = [is, dark];
  if (says.length) text(at("said"), says.join(" "));
}

// --- asking ---

let last = null, lost = false, asking = false, timer;

async function figures() {
  try {
    const answer = await fetch("/status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

async function ask() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  try {
    const told = await figures();
    if (told) {
      draw(told);
      last = new Date();
    }
    if (lost !== !told) text(at("said"), told ? "The gateway answers again." : "The gateway does not answer.");
    lost = !told;
    document.body.className = lost ? "lost" : "alive";
    text(at("liveness"), lost ? "does not answer" : "live");
    text(at("updated"), last ? `${lost ? "figures of " : ""}${clock(last)}` : "");
  } finally {
    asking = false;
    timer = setTimeout(ask, EVERY);
  }
}
document.addEventListener("visibilitychange", () => document.hidden ? clearTimeout(timer) : ask());
ask();
