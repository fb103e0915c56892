// What is live, and nothing else that a page needs: without this script every page and form works.
"use strict";

// Times: written in the reader's zone, in the width of the server's text; UTC stays in the title.
const pad = (n) => String(n).padStart(2, "0");
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (isNaN(at)) continue;
    time.textContent = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ` +
      `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  }
}

// Makes `old` look like `fresh` and touches only what differs: focus, open details and scroll positions stay.
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (fresh.querySelector(":scope > [data-key]")) return morphRows(old, fresh);
  const kept = [...old.childNodes], wanted = [...fresh.childNodes];
  wanted.forEach((node, i) => (kept[i] ? morph(kept[i], node) : old.append(node)));
  kept.slice(wanted.length).forEach((node) => node.remove());
}

// Rows with keys stay what they are when others come above them: an open one stays open.
function morphRows(old, fresh) {
  const kept = new Map([...old.children].map((row) => [row.dataset.key, row]));
  const rows = [...fresh.children].map((row) => {
    const own = kept.get(row.dataset.key);
    if (own) morph(own, row);
    return own ?? row;
  });
  const wanted = new Set(rows);
  [...old.childNodes].forEach((node) => wanted.has(node) || node.remove());
  // Nothing that is in its place is moved: a row that is moved loses the focus.
  rows.forEach((row, i) => old.children[i] === row || old.insertBefore(row, old.children[i] ?? null));
}

// The server says something every 15 s. Silence that is longer than two of them is a network that died without a word.
const SILENCE_MS = 40_000;

// A part that is live: <section data-live="/path/live">. Its lamp says whether it is up to date.
function follow(part) {
  const lamp = document.querySelector("[data-lamp]");
  const say = (state, text) => { if (lamp) { lamp.dataset.state = state; lamp.textContent = text; } };
  const source = new EventSource(part.dataset.live);
  let heard = Date.now();
  const watch = setInterval(() => {
    if (source.readyState === EventSource.CLOSED) return clearInterval(watch);
    if (Date.now() - heard < SILENCE_MS) return;
    clearInterval(watch);
    source.close();
    say("away", "connection lost, dialling again");
    follow(part);
  }, 5_000);
  for (const kind of ["open", "beat", "part"]) source.addEventListener(kind, () => { heard = Date.now(); });
  const show = (event) => {
    const fresh = part.cloneNode(false);
    fresh.innerHTML = event.data;
    localTimes(fresh);
    morph(part, fresh);
    say("live", "live");
  };
  source.addEventListener("open", () => say("live", "live"));
  source.addEventListener("part", show);
  source.addEventListener("last", (event) => { show(event); source.close(); say("over", ""); });
  source.addEventListener("error", () => {
    // CLOSED: the server refused, as it does when the session ended. Anything else is dialled again by the browser.
    if (source.readyState === EventSource.CLOSED) say("away", "not live: reload the page");
    else say("away", "connection lost, dialling again");
  });
}

// A link to a page that asks for a decision opens it above this one: <a data-dialog href="…">.
async function decide(link) {
  const answer = await fetch(link.href, { headers: { accept: "text/html" } });
  const main = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  if (!answer.ok || answer.redirected || !main) return location.assign(link.href);
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", main.querySelector("h1")?.textContent ?? "");
  dialog.append(...main.childNodes);
  localTimes(dialog);
  dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) { event.preventDefault(); dialog.close(); }
  });
  document.body.append(dialog);
  dialog.showModal();
}

// An artifact goes up by itself, from where it was cut, before its form is sent without it: <form data-upload>. What it is
// stands in the signature. Where anything is not as expected, the form is sent whole, as it is without this script.
async function upload(form, said, bar) {
  const file = form.elements.file.files[0];
  const comment = await form.elements.signature.files[0].text();
  const told = (key) => comment.match(new RegExp(`^trusted comment: .* ${key}=(\\S+)`, "m"))?.[1] ?? "";
  if (Number(told("size")) !== file.size) {
    throw new Error(`The file has ${file.size} bytes, and the signature is of one with ${told("size") || "an unknown number of"} bytes.`);
  }
  const name = location.pathname.replace(/^\/|\/upload$/g, "");
  const query = new URLSearchParams({ release: name, platform: `${told("os")}/${told("arch")}`, file: told("file") });
  const url = `/upload/${told("sha256")}`;
  const headers = { "x-novacula-forgery-token": form.elements.forgery_token.value };
  for (let tries = 0; ; tries += 1) {
    try {
      const there = await fetch(url, { method: "HEAD", headers });
      if (there.status === 404) return; // No such door here: the form goes whole.
      if (!there.ok) throw new TypeError(`the control plane answered ${there.status}`);
      const from = Number(there.headers.get("upload-offset"));
      const range = from < file.size ? `${from}-${file.size - 1}` : "*";
      const answer = await put(`${url}?${query}`, { ...headers, "content-range": `bytes ${range}/${file.size}` },
        file.slice(from), (sent) => {
          bar.value = Math.floor(100 * (from + sent) / file.size);
          said.textContent = `${bar.value} % of ${file.size} bytes`;
        });
      if (answer.status === 200) { form.elements.file.disabled = true; return; }
      // 429 and 503 pass; where it goes on elsewhere than was thought, the next look says where.
      if (!answer.goesOn && ![429, 503].includes(answer.status)) throw new Error(answer.message);
      if (tries > 20) throw new Error("The upload was begun too often; try again later.");
    } catch (error) {
      if (!(error instanceof TypeError) || tries > 20) throw error;
    }
    said.textContent = "Connection lost; it goes on from there.";
    await new Promise((done) => setTimeout(done, Math.min(500 * 2 ** tries, 10000)));
  }
}

// fetch tells nothing about how much was sent.
function put(url, headers, body, progress) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("error", () => failed(new TypeError("the connection was cut")));
    request.addEventListener("load", () => {
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* No words: the code has to do. */ }
      const goesOn = request.getResponseHeader("upload-offset") !== null;
      done({ status: request.status, goesOn, message: told.message ?? `The control plane answered ${request.status}.` });
    });
    request.send(body);
  });
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-upload]");
  if (!form || !form.elements.file.files[0] || form.elements.external_url.value) return;
  event.preventDefault();
  const sending = form.querySelector("[data-sending]"), said = form.querySelector("[data-said]");
  const button = form.querySelector("[type=submit]");
  sending.hidden = false;
  button.disabled = true;
  upload(form, said, sending.querySelector("progress"))
    .then(() => form.submit())
    .catch((error) => { said.textContent = error.message; button.disabled = false; });
});

// A secret is in one answer only: a second click must not take its place. Coming back to the form lets it be sent again.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-single]")) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => document.querySelectorAll("[data-sent]").forEach((form) => delete form.dataset.sent));

document.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const link = event.target.closest("a[data-dialog]");
  if (link) { event.preventDefault(); decide(link).catch(() => location.assign(link.href)); }
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent)
      .then(() => { copy.textContent = "Copied"; });
  }
});

document.documentElement.dataset.script = "on";
localTimes(document);
document.querySelectorAll("[data-live]").forEach(follow);
// A secret is shown once: reloading leads away from the form that made it.
document.querySelectorAll("[data-once]").forEach((head) => history.replaceState(null, "", head.dataset.once));
// A copy button without a script would do nothing, so that it is hidden until there is one.
document.querySelectorAll("[data-copy]").forEach((button) => { button.hidden = false; });
