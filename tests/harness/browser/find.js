// What a person would call a control, and the controls that are called so.
const CONTROLS = { press: "a[href], button, summary, input[type=submit], [role=button]", fill: "input, select, textarea" };
const plain = (text) => (text ?? "").replace(/\s+/g, " ").trim();
function nameOf(element) {
  if (!element || element === document.body) return "";
  const labels = element.labels?.length ? [...element.labels].map((label) => label.innerText).join(" ") : "";
  return plain(element.getAttribute("aria-label") || labels || element.innerText || element.value || element.id);
}
// An open dialog is all that there is to press.
function find(how, name) {
  const scope = document.querySelector("dialog[open]") ?? document;
  return [...scope.querySelectorAll(CONTROLS[how])].filter((element) =>
    element.checkVisibility({ visibilityProperty: true }) && !element.disabled && nameOf(element) === name);
}
