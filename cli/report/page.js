"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  root.classList.add("js");

  // --- colours ---------------------------------------------------------------------------------

  const theme = document.getElementById("theme");
  const dark = () =>
    root.dataset.theme === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const showTheme = () => theme.setAttribute("aria-pressed", String(dark()));
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    showTheme();
  });
  showTheme();

  // --- one layer -------------------------------------------------------------------------------

  const choose = (key) => {
    if (!document.getElementById(key)?.classList.contains("layer")) return;
    for (const held of all(".chosen")) {
      held.classList.remove("chosen");
      held.removeAttribute("aria-current");
    }
    document.getElementById(key).classList.add("chosen");
    for (const held of all(`[data-layer="${key}"]`)) {
      held.classList.add("chosen");
      if (held.matches("a")) held.setAttribute("aria-current", "true");
    }
  };
  // The graph scrolls in its own frame; the page stays where it is.
  const show = (key) => {
    const box = document.querySelector(`svg.network [data-layer="${key}"]`);
    const frame = box?.closest(".scroll");
    if (frame) frame.scrollTop = box.getBBox().y - frame.clientHeight / 2;
  };
  const follow = (event) => {
    const link = event.target.closest('a[href^="#layer-"]');
    if (!link) return;
    event.preventDefault();
    const key = link.getAttribute("href").slice(1);
    choose(key);
    history.replaceState(null, "", `#${key}`);
    if (!link.closest("svg")) show(key);
    const panel = document.getElementById(key);
    panel.focus({ preventScroll: true });
    panel.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("click", follow);
  window.addEventListener("hashchange", () => choose(location.hash.slice(1)));
  choose(document.getElementById("panels").dataset.first ?? "");
  choose(location.hash.slice(1));
  show(document.querySelector(".layer.chosen")?.id);

  // --- tables ----------------------------------------------------------------------------------

  const order = new Intl.Collator("en", { numeric: true });
  const sort = (table, heading) => {
    const column = [...heading.parentNode.children].indexOf(heading);
    const numeric = heading.classList.contains("num");
    const before = heading.getAttribute("aria-sort");
    // Numbers are looked at from the largest, names from A.
    const down = before ? before === "ascending" : numeric;
    for (const other of all("th[aria-sort]", table.tHead)) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const rows = [...table.tBodies[0].rows].map((row, place) => ({ row, place, key: value(row) }));
    const empty = ({ key }) => key === "" || key === undefined;
    rows.sort((a, b) => {
      if (empty(a) || empty(b)) return empty(a) - empty(b) || a.place - b.place;
      const found = numeric ? Number(a.key) - Number(b.key) : order.compare(a.key, b.key);
      return (down ? -found : found) || a.place - b.place;
    });
    table.tBodies[0].append(...rows.map(({ row }) => row));
  };
  for (const table of all("table.sortable")) {
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) sort(table, button.closest("th"));
    });
  }

  const filter = document.getElementById("filter");
  const count = document.getElementById("count");
  const rows = all("#layers tbody tr");
  if (rows.length) filter.closest(".tools").hidden = false;
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });

  // --- the mesh --------------------------------------------------------------------------------

  const tip = document.getElementById("tip");
  document.addEventListener("pointerover", (event) => {
    const cell = event.target.closest?.(".np[data-tip]");
    if (cell) tip.textContent = cell.dataset.tip;
  });
  document.addEventListener("click", (event) => {
    const cell = event.target.closest?.(".np[data-layer]");
    if (cell) choose(cell.dataset.layer);
  });
})();
