// What all sections share: the theme, and tables that are sorted and filtered.
"use strict";

const page = (() => {
  const $ = (id) => document.getElementById(id);

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function showTheme() {
    $("theme").setAttribute("aria-pressed", String(isDark()));
  }

  $("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
  showTheme();

  function sortBy(table, heading) {
    const headings = [...heading.parentElement.children];
    const column = headings.indexOf(heading);
    const isNumber = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    // Numbers are looked at from the largest down, names from A on; the third click brings the first order back.
    const sides = isNumber ? ["descending", "ascending", null] : ["ascending", "descending", null];
    const side = sides[before ? sides.indexOf(before) + 1 : 0];
    for (const other of headings) other.removeAttribute("aria-sort");
    if (side) heading.setAttribute("aria-sort", side);
    const sign = side === null ? 0 : side === "descending" ? -1 : 1;
    const value = (row) => {
      const text = row.children[column].dataset.value;
      const number = Number(text);
      return text !== "" && !Number.isNaN(number) ? number : text === "-inf" ? -Infinity : text;
    };
    const compare = (a, b) =>
      typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [value(row), Number(row.dataset.row), row]);
    rows.sort((a, b) => sign * compare(a[0], b[0]) || a[1] - b[1]);
    body.append(...rows.map((entry) => entry[2]));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const heading of table.tHead.rows[0].cells) {
      heading.querySelector("button").addEventListener("click", () => sortBy(table, heading));
    }
  }

  const data = JSON.parse($("data").textContent);

  function filterRows() {
    const wanted = $("filter").value.trim().toLowerCase();
    let shown = 0;
    for (const row of $("layers-table").tBodies[0].rows) {
      const hasParameters = data.rows[Number(row.dataset.row)].params > 0;
      row.hidden = !row.textContent.toLowerCase().includes(wanted) || ($("with-parameters").checked && !hasParameters);
      shown += !row.hidden;
    }
    const all = data.rows.length;
    $("filter-count").textContent = shown === all ? `${all} layers` : `${shown} of ${all} layers`;
  }
  $("filter").addEventListener("input", filterRows);
  $("with-parameters").addEventListener("change", filterRows);

  return { $, make, data };
})();
