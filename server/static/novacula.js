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
  const kept = [...old.childNodes], wanted = [...fresh.childNodes];
  wanted.forEach((node, i) => (kept[i] ? morph(kept[i], node) : old.append(node)));
  kept.slice(wanted.length).forEach((node) => node.remove());
}

// A part that is live: <section data-live="/path/live">. Its lamp says whether it is up to date.
function follow(part) {
  const lamp = document.querySelector("[data-lamp]");
  const say = (state, text) => { if (lamp) { lamp.dataset.state = state; lamp.textContent = text; } };
  const source = new EventSource(part.dataset.live);
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
// A copy button without a script would do nothing, so that it is hidden until there is one.
document.querySelectorAll("[data-copy]").forEach((button) => { button.hidden = false; });
