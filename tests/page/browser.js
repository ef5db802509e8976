// The status page in a real browser: `node browser.js VERB ADDRESS [MORE]`, with playwright-core and Debian's chromium.
// The verbs are below; what does not hold ends with status 1 and the reason.
"use strict";
const assert = require("node:assert/strict");
const { chromium } = require("playwright-core");
const { example } = require("./example.js");

const [verb, address, more] = process.argv.slice(2);
const copy = value => JSON.parse(JSON.stringify(value));
let browser;
const complaints = [];

// A page at the address. With `told`, the gateway's figures are replaced by what it returns; `null` is no answer.
async function open({ told, width = 1160, height = 900, scheme = "light", clock = false, scale = 1 }) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, timezoneId: "UTC", deviceScaleFactor: scale });
  const page = await context.newPage();
  page.on("console", message => complaints.push(`console ${message.type()}: ${message.text()}`));
  page.on("pageerror", error => complaints.push(`error: ${error.stack}`));
  page.on("request", request => { if (new URL(request.url()).host !== address && !request.url().startsWith("data:")) complaints.push(`asks outside: ${request.url()}`); });
  if (clock) await page.clock.install({ time: new Date(example.now) });
  if (told) {
    await page.route("**/status.json", route => {
      const figures = told();
      return figures ? route.fulfill({ json: figures }) : route.abort();
    });
  }
  await page.goto(`http://${address}/`);
  await page.locator("body.alive").waitFor();
  return page;
}
const texts = (page, selector) => page.locator(selector).evaluateAll(nodes => nodes.map(node => node.innerText.replaceAll(/\s+/g, " ").trim()));
const has = (all, part) => assert.ok([all].flat().some(one => one.includes(part)), `${part} is not in ${JSON.stringify(all)}`);
// The next figures are asked for, and drawn when the time of the latest has changed. The page's own clock stands still meanwhile.
async function later(page) {
  const live = () => page.locator("#live").innerText();
  const before = await live(), deadline = Date.now() + 20000;
  await page.clock.runFor(5100);
  while (await live() === before) {
    assert.ok(Date.now() < deadline, "no new figures");
    await new Promise(done => setTimeout(done, 20));
  }
}

const VERBS = {
  // What a real gateway has seen; MORE: what must be on the page, and the names that are marks of HTML, as JSON.
  async live() {
    const { shown, names } = JSON.parse(more);
    const page = await open({});
    const all = (await texts(page, "body"))[0];
    for (const part of shown) has(all, part);
    for (const name of names) has(all, name);
    assert.equal(await page.locator("img, b b, main script").count(), 0, "a name became a node");
    assert.equal(await page.evaluate(() => globalThis.pwned), undefined);
    assert.equal(await page.locator("article").count(), 1);
    assert.notEqual(await page.locator("article path.database").getAttribute("d"), "");
    assert.notEqual(await page.locator("article path.line").getAttribute("d"), "");
    // neither a script nor a style of somebody else, nor any other address
    const tried = await page.evaluate(async () => {
      const caught = [];
      document.addEventListener("securitypolicyviolation", event => caught.push(event.effectiveDirective));
      const script = document.createElement("script");
      try { script.textContent = "globalThis.pwned = 1"; } catch { caught.push("trusted types"); }
      try { document.body.insertAdjacentHTML("beforeend", "<b>x</b>"); } catch { caught.push("trusted types"); }
      await fetch("https://example.com/").catch(() => {});
      const style = document.body.appendChild(document.createElement("style"));
      style.textContent = "body{display:none}";
      // reports of violations come later
      await new Promise(done => setTimeout(done, 200));
      return [caught, getComputedStyle(document.body).display];
    });
    assert.equal(tried[0].filter(one => one === "trusted types").length, 2, JSON.stringify(tried));
    assert.ok(tried[0].includes("connect-src"), JSON.stringify(tried));
    assert.equal(tried[1], "block");
    complaints.splice(0, complaints.length, ...complaints.filter(one => !/Content Security Policy|TrustedHTML|TrustedScript|Failed to fetch|asks outside: https:..example.com|ERR_/.test(one)));
  },

  // Everything that the figures say is on the page, with its words for those who do not see.
  async contents() {
    const page = await open({ told: () => example });
    const articles = await texts(page, "article");
    assert.equal(articles.length, 4);
    for (const part of ["blog", "another continent", "99 %", "148 / 151 ms", "A connection of 42 flights", "network 7.1 s", "database 58 ms", "saves up to 5.3 s", "bring app and database together"]) has(articles[0], part);
    has(articles[2], "a balancer is in between");
    has(articles[3], "fine");
    has(await texts(page, "#idle"), "nightly");
    for (const part of ["Sessions 20", "258 days", "Generation 12", "2 sources banned", "3 d 3 h"]) has(await texts(page, "#tiles"), part);
    const refused = await texts(page, "#refused-rows tr");
    for (const part of ["12 s ago", "7K3QZ9AB", "10.0.1.9", "shop_app \u2192 shop", "tls_required", "the connection is not encrypted", "6"]) has(refused[0], part);
    has(await texts(page, "#reasons"), "no_origin 1 874");
    const sessions = await texts(page, "#sessions-rows tr");
    for (const part of ["19877", "shop-web", "10.0.1.7", "gunicorn", "TLS 1.3", "1 h 30 min", "42 s idle in transactions"]) has(sessions, part);
    has(await texts(page, "#sessions-count"), "the newest 6 of 20");
    has(await texts(page, ".panel"), "127.0.0.1:5432 up");
    // by the accessibility tree: landmarks, headings, tables with captions, plots with words
    const tree = await page.locator("body").ariaSnapshot();
    for (const part of ["- banner", "- main", "- contentinfo", 'heading "Where the time goes', 'table "The latest refusals"', 'table "The live sessions', 'columnheader "Reference"', 'img "Time of the last hour: database', 'img "Round trip of the last hour: between 12 ms and', "- status"]) has(tree, part);
    assert.equal(await page.evaluate(() => document.documentElement.lang), "en");
    // the outline is that of the headings
    assert.deepEqual(await page.locator("h1, h2, h3").evaluateAll(all => all.map(one => one.tagName).join(" ")), "H1 H2 H3 H3 H3 H3 H2 H2 H2");
  },

  // New figures change texts, and no node that is still meant is another one; what is not as it should be is said, once.
  async refresh() {
    let figures = copy(example);
    const page = await open({ told: () => figures, clock: true, height: 500 });
    const said = () => page.locator("#said").textContent();
    await page.locator("summary").nth(1).click();
    await page.locator("summary").nth(1).focus();
    await page.evaluate(() => {
      globalThis.before = [...document.querySelectorAll("article, article *, #refused-rows tr, #sessions-rows tr, #tiles *")];
      scrollTo(0, 700);
    });
    const drawn = await page.locator("article path.client").first().getAttribute("d");
    await later(page);
    assert.equal(await page.evaluate(() => before.filter(node => !node.isConnected).length), 0, "the same figures make no node anew");
    assert.equal(await said(), "");
    figures = copy(example);
    figures.status.uptime_seconds += 5;
    figures.status.sessions = 21;
    figures.latency[0].rtt_p50_ms = 151.4;
    figures.history.origins[0].points.push(figures.history.origins[0].points[3]);
    figures.sessions.unshift({ ...copy(figures.sessions[0]), id: 20500, application: "new" });
    figures.refused.pop();
    await page.evaluate(() => {
      globalThis.added = 0;
      const watch = new MutationObserver(all => { for (const one of all) added += [...one.addedNodes].filter(node => node.nodeType === 1).length; });
      watch.observe(document.body, { childList: true, subtree: true });
    });
    await later(page);
    assert.equal(await page.evaluate(() => added), 1, "one session is new, and one node");
    const gone = await page.evaluate(() => before.filter(node => !node.isConnected).map(node => node.closest("tr")?.innerText));
    assert.ok(gone.every(text => text === undefined || text.includes("WJ6YB0FP")), JSON.stringify(gone));
    assert.ok(await page.evaluate(() => before.filter(node => node.matches("article *")).every(node => node.isConnected)));
    has(await texts(page, "#tiles"), "Sessions 21");
    has(await texts(page, "article"), "151 ms");
    assert.notEqual(await page.locator("article path.client").first().getAttribute("d"), drawn);
    assert.equal(await page.evaluate(() => scrollY), 700, "nobody scrolls but the reader");
    assert.ok(await page.evaluate(() => document.querySelectorAll("details")[1].open && document.activeElement === document.querySelectorAll("summary")[1]));
    assert.equal(await said(), "", "new figures are no news");
    figures = copy(example);
    figures.latency[3] = { ...figures.latency[3], rtt_p50_ms: 90, rtt_p90_ms: 90, verdict: "the path takes 90 ms, and 1.0 ms is the longest that is expected" };
    figures.status.listeners[0].upstream_up = false;
    await later(page);
    for (const part of ["shop-web on pg: the path takes 90 ms", "database behind pg does not answer"]) has(await said(), part);
    has(await texts(page, "#notices"), "pg: the database does not answer");
    has(await texts(page, "#tiles"), "1 of 1 down");
    figures = null;
    await later(page);
    assert.equal(await page.locator("body").getAttribute("class"), "lost");
    has(await texts(page, "#live"), "does not answer figures of 09:14:");
    assert.equal(await said(), "The gateway does not answer.");
    assert.equal(await page.locator("article").count(), 4, "the last figures stay");
    figures = copy(example);
    await later(page);
    has(await texts(page, "#live"), "live");
    assert.equal(await said(), "The gateway answers again.");
    complaints.splice(0, complaints.length, ...complaints.filter(one => !one.includes("ERR_FAILED")));
  },

  // What is wrong comes first, and in words.
  async wrong() {
    const figures = copy(example);
    Object.assign(figures.status, { problem: "error: line 14: octet 300 is larger than 255\n", bans: 1 });
    figures.status.observing = { until: "2026-12-01T00:00:00Z", origins: ["reports"] };
    figures.status.certificate.days_left = -1;
    figures.status.certificate.further = [{ names: ["a.example"], ends: figures.now, days_left: 3 }];
    figures.status.hosts[0] = { ...figures.status.hosts[0], state: "stale", trouble: "no server answers" };
    const page = await open({ told: () => figures });
    const notices = await texts(page, "#notices li");
    for (const part of ["The file has errors; an older configuration is in force. error: line 14", "Observing until", "reports", "The certificate has ended.", "for a.example ends in 3 days."]) has(notices, part);
    has(await texts(page, "#hosts"), "stale, no server answers");
    has(await texts(page, "#tiles"), "Certificate has ended");
    Object.assign(figures, { latency: [], sessions: [], refused: [] });
    figures.status = { ...copy(example.status), origins: [], refusals: [], sessions: 0 };
    figures.history.origins = [];
    const empty = await open({ told: () => figures });
    const all = (await texts(empty, "main"))[0];
    for (const part of ["nobody is admitted", "Nobody, as far as is remembered.", "Nobody is connected."]) has(all, part);
  },

  // Hundreds of origins: those whose hour the gateway tells are drawn, and the rest is not passed over in silence.
  async many() {
    const figures = copy(example), [line, hour] = [figures.latency[1], figures.history.origins[1]];
    figures.latency = Array.from({ length: 300 }, (_, n) => ({ ...line, origin: `origin-${n}` }));
    figures.history.origins = Array.from({ length: 100 }, (_, n) => ({ ...hour, origin: `origin-${3 * n}` }));
    const page = await open({ told: () => figures });
    assert.equal(await page.locator("article").count(), 100);
    has(await texts(page, "article:nth-child(2) h3"), "origin-3");
    has(await texts(page, "#others"), "The 100 where most time goes are drawn; doorward latency has all 300.");
  },

  // Dark and light, from a wide screen to a phone: legible, and nothing to scroll sideways.
  async sizes() {
    for (const scheme of ["light", "dark"]) {
      for (const width of [1160, 760, 360, 320]) {
        const figures = copy(example);
        figures.latency[0].origin = figures.history.origins[0].origin = "a-name-that-is-as-long-as-names-may-be-in-this-file-of-ours-0123";
        figures.sessions[0].application = figures.refused[0].cause = "W".repeat(200);
        figures.sessions[0].address = "2001:0db8:85a3:0008:1111:8a2e:0370:7334";
        const page = await open({ told: () => figures, width, scheme });
        for (const summary of await page.locator("summary").all()) await summary.click();
        const [wide, light, poor] = await page.evaluate(() => {
          const parse = colour => colour.match(/[\d.]+/g).map(Number);
          const lum = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
          const ground = node => { for (; node; node = node.parentElement) { const colour = parse(getComputedStyle(node).backgroundColor); if (colour[3] !== 0) return colour; } };
          const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          const poor = [];
          for (const node of document.querySelectorAll("body *")) {
            const own = [...node.childNodes].some(one => one.nodeType === 3 && one.textContent.trim());
            if (!own || !node.checkVisibility() || node.closest("svg")) continue;
            const got = ratio(lum(parse(getComputedStyle(node).color)), lum(ground(node)));
            if (got < 4.5) poor.push(`${node.textContent.slice(0, 30)} ${got.toFixed(2)}`);
          }
          return [document.documentElement.scrollWidth - innerWidth, lum(ground(document.body)) > 0.5, poor];
        });
        assert.ok(wide <= 0, `${scheme} ${width}: ${wide} px too wide`);
        assert.equal(light, scheme === "light");
        assert.deepEqual(poor, [], `${scheme} ${width}`);
        await page.context().close();
      }
    }
  },

  // Everything that can be opened is reached and opened by keys, and what has the focus is seen.
  async keyboard() {
    const page = await open({ told: () => example });
    const focused = () => page.evaluate(() => [document.activeElement.tagName, document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]);
    await page.keyboard.press("Tab");
    has((await focused())[1], "To the origins");
    await page.keyboard.press("Enter");
    for (const origin of ["blog", "metabase"]) {
      await page.keyboard.press("Tab");
      const [tag, words, outline] = await focused();
      assert.equal(tag, "SUMMARY");
      has(words, `All figures of ${origin}`);
      assert.notEqual(outline, "none");
      await page.keyboard.press("Enter");
    }
    assert.deepEqual(await page.locator("details").evaluateAll(all => all.map(one => one.open)), [true, true, false, false]);
    for (const part of ["Jitter 3.1 ms", "Segments sent again 23", "Confidence good", "912 ms, 6 turns"]) has(await texts(page, "details dl"), part);
  },

  // The picture of the README; MORE: the file.
  async picture() {
    const figures = copy(example), in_it = one => ["blog", "shop-web"].includes(one.origin);
    figures.latency = figures.latency.filter(in_it);
    figures.status.origins = figures.status.origins.filter(in_it);
    figures.status.sessions = 14;
    const page = await open({ told: () => figures, width: 1120, clock: true });
    const end = await page.locator("#refused-table").boundingBox();
    await page.screenshot({ path: more, fullPage: true, clip: { x: 0, y: 0, width: 1120, height: Math.round(end.y + end.height + 8) } });
  },
};

(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  try {
    await VERBS[verb]();
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
  }
})().catch(error => {
  console.error(error);
  process.exit(1);
});
