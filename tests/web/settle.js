// Times and random ids become ones that every run shares: a picture is to change with its page, and with nothing else.
const START = Date.UTC(2026, 10, 22, 9, 0, 0), MINUTE = 60000;
const newest = Math.max(...[...document.querySelectorAll("time[datetime]")].map((time) => Date.parse(time.dateTime)).filter((at) => at < Date.now() + 50 * 3600000));
const two = (n) => String(n).padStart(2, "0");
for (const time of document.querySelectorAll("time[datetime]")) {
  // Ages in whole minutes are the stage's; seconds are the machine's.
  const at = new Date(START + Math.round((Date.parse(time.dateTime) - newest) / MINUTE) * MINUTE);
  time.textContent = `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:07`;
}
const RANDOM = [
  [/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "0192f3a1-7c44-7d10-9b5e-2f6a8d01c37e"],
  [/\b[0-9A-F]{16}\b/g, "7F3A09C5D21E84B6"],
  // Ids of tokens: base32, beginning with the time.
  [/\b(?=[a-z]*\d)[0-9a-v]{17}\b/g, "ubnq5k2vh7m3c0d9e"],
  [/\b[0-9a-f]{64}\b/g, "9c1d4b7e02f85a36".repeat(4)],
];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  for (const [random, same] of RANDOM) walker.currentNode.nodeValue = walker.currentNode.nodeValue.replace(random, same);
}
