// The live page: swaps the sections that changed, keeps what the reader was doing, and moves the alert budget.
"use strict";

const byId = (id) => document.getElementById(id);

/** Puts new HTML in a section; open details, focus, scrolling and the budget stay as they were. */
function swap(id, html) {
  const section = byId(id);
  if (!section) return;
  const open = [...section.querySelectorAll("details[open]")].map((each) => each.id);
  const scrolled = [...section.querySelectorAll("[tabindex='0']")].map((each) => [each.scrollLeft, each.scrollTop]);
  const focused = section.contains(document.activeElement) ? place(section, document.activeElement) : null;
  const budget = section.querySelector("[data-budget] input")?.value;
  section.innerHTML = html;
  open.forEach((each) => byId(each)?.setAttribute("open", ""));
  section.querySelectorAll("[tabindex='0']").forEach((each, index) => {
    if (scrolled[index]) [each.scrollLeft, each.scrollTop] = scrolled[index];
  });
  if (id === "thresholds") startBudget(budget);
  watchEdges(section);
  if (focused !== null) section.querySelectorAll(FOCUSABLE)[focused]?.focus({ preventScroll: true });
}

const FOCUSABLE = "a[href], summary, input, [tabindex='0']";
const place = (section, element) => Math.max([...section.querySelectorAll(FOCUSABLE)].indexOf(element), 0);

/** The slider reads the table of thresholds: every figure it shows is one of the table's own. */
function startBudget(former) {
  const box = document.querySelector("[data-budget]");
  if (!box) return;
  const slider = box.querySelector("input");
  const rows = [...document.querySelectorAll("[data-thresholds] tbody tr")];
  const begin = rows.findIndex((row) => row.cells[1].querySelector("data").value === slider.dataset.start);
  slider.value = former ?? Math.max(begin, 0);
  const read = () => {
    const row = rows[Number(slider.value)];
    for (const out of box.querySelectorAll("[data-cell]")) {
      out.replaceChildren(...[...row.cells[Number(out.dataset.cell)].childNodes].map((node) => node.cloneNode(true)));
    }
    const said = [...box.querySelectorAll("dl > div")].filter((each) => ["0", "4", "5", "7"].includes(each.children[1].dataset.cell));
    slider.setAttribute("aria-valuetext", said.map((each) => `${each.children[0].textContent} ${each.children[1].textContent}`).join(", "));
    for (const half of document.querySelectorAll(".chart-precision-recall svg")) {
      half.querySelectorAll(".overlay .serie-0 .dots").forEach((dot, index) => dot.classList.toggle("chosen", index === Number(slider.value)));
    }
  };
  slider.addEventListener("input", read);
  read();
}

/** Says of each box that scrolls on which side there is more, for the style sheet to show. */
function markEdges(box) {
  const more = [];
  if (box.scrollLeft + box.clientWidth < box.scrollWidth - 1) more.push("right");
  if (box.scrollTop + box.clientHeight < box.scrollHeight - 1) more.push("below");
  if (more.length) box.dataset.more = more.join(" ");
  else delete box.dataset.more;
  box.toggleAttribute("data-wide", box.scrollWidth > box.clientWidth + 1);
}

const resized = new ResizeObserver((entries) => entries.forEach((each) => markEdges(each.target)));

function watchEdges(part) {
  for (const box of part.querySelectorAll(".scroll, .banks, .events")) {
    box.addEventListener("scroll", () => markEdges(box), { passive: true });
    resized.observe(box);
    markEdges(box);
  }
}

function follow(version) {
  const stream = new EventSource(`/events?seen=${encodeURIComponent(version)}`);
  stream.addEventListener("message", (message) => {
    const changed = JSON.parse(message.data);
    for (const [id, html] of Object.entries(changed)) {
      if (id === "title") document.title = html;
      else swap(id, html);
    }
    document.body.dataset.version = message.lastEventId;
  });
  stream.addEventListener("open", () => document.body.classList.remove("cut"));
  stream.addEventListener("error", () => {
    document.body.classList.add("cut");
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => follow(document.body.dataset.version), 3000);
  });
}

startBudget();
watchEdges(document);
if (document.body.dataset.version) follow(document.body.dataset.version);
