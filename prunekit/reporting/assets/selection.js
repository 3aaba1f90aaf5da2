// The selected layer or module: what is marked in the picture and in the table, and the panel beside it.
"use strict";

const selection = tree && (() => {
  const { $, make, data } = page;
  const { nodes, ancestors, readsFrom, feeds, coupledItems, percent, typeOf, nameOf, WHAT } = tree;
  const { open, visible, bringIntoView } = picture;
  let selected = null, current = null; // `current` is where the keyboard is

  function mark() {
    const sides = { together: new Set(), along: new Set() };
    for (const kind of selected ? ["along", "together"] : []) {
      for (const other of coupledItems(selected, kind)) sides[kind].add(visible(other).id);
    }
    const chosen = selected ? visible(selected).id : null;
    for (const [id, element] of picture.drawn.elements) {
      const isSelected = id === chosen;
      element.classList.toggle("selected", isSelected);
      element.setAttribute("aria-pressed", String(isSelected));
      element.classList.toggle("together", !isSelected && sides.together.has(id));
      element.classList.toggle("along", !isSelected && sides.along.has(id) && !sides.together.has(id));
    }
    for (const line of picture.drawn.lines) {
      const lit = selected && !selected.children && line.edges.some((number) => tree.edges[number].includes(selected.number));
      line.path.classList.toggle("lit", Boolean(lit));
    }
    const rows = new Set(selected ? selected.rows : []);
    for (const row of $("layers-table").tBodies[0].rows) row.classList.toggle("selected", rows.has(Number(row.dataset.row)));
  }

  function chips(title, found) {
    if (!found.length) return [];
    const list = make("div", { class: "chips" });
    const shown = found.slice(0, 40);
    for (const item of shown) {
      const button = make("button", { type: "button" }, nameOf(item));
      button.addEventListener("click", () => select(item, true));
      list.append(button);
    }
    if (found.length > shown.length) list.append(`and ${found.length - shown.length} more`);
    return [make("h4", {}, title), list];
  }

  const entry = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));

  function describe(item) {
    const box = $("details");
    const parts = [make("h3", {}, nameOf(item))];
    if (item.children) {
      const list = make("dl", {}, entry("Type", typeOf(item)), entry("Layers", item.all.length.toLocaleString("en")), entry("Parameters", item.params.toLocaleString("en")));
      if (item.share !== null) list.append(entry(WHAT[0].toUpperCase() + WHAT.slice(1), percent(item.share)));
      parts.push(list);
      const action = make("button", { type: "button" }, open.has(item) ? "Collapse this module" : "Expand this module");
      action.addEventListener("click", () => toggle(item));
      parts.push(make("p", { style: "margin-top: 12px" }, action));
    }
    for (const number of item.rows) {
      const row = data.rows[number];
      if (item.rows.length > 1 || item.children) parts.push(make("h4", {}, item.children ? "Of its own" : row.name));
      const list = make("dl", {});
      data.columns.forEach((column, at) => {
        if (at > 0 && at < data.columns.length - 1) list.append(entry(column, row.cells[at]));
      });
      parts.push(list);
      if (row.blocked) parts.push(make("p", { class: "reason" }, make("strong", {}, "⊘ Blocked by: "), row.blocked));
    }
    if (item.idle) parts.push(make("p", { class: "note" }, "This layer did not run on the example inputs."));
    if (item.kind === "operation") parts.push(make("p", { class: "note" }, "An operation of the model's code that brings data of several layers together."));
    const together = coupledItems(item, "together");
    parts.push(...chips("Filters in the same units", together));
    parts.push(...chips("Loses inputs or entries along with it", coupledItems(item, "along").filter((other) => !together.includes(other))));
    if (!item.children) {
      parts.push(...chips("Reads from", (readsFrom[item.number] ?? []).map((number) => nodes[number])));
      parts.push(...chips("Feeds", (feeds[item.number] ?? []).map((number) => nodes[number])));
    }
    box.replaceChildren(...parts);
    box.parentElement.scrollTop = 0;
  }

  function redraw() {
    picture.draw();
    const { elements, order } = picture.drawn;
    if (!current || !elements.has(current.id)) current = current ? visible(current) : order[0];
    if (!elements.has(current.id)) current = order[0];
    elements.get(current.id).setAttribute("tabindex", "0");
    mark();
  }

  function reveal(item) {
    const closed = ancestors(item).filter((group) => !open.has(group));
    for (const group of closed) open.add(group);
    if (closed.length) redraw();
  }

  function select(item, scrollTo) {
    selected = item;
    reveal(item);
    focusOn(item, false);
    mark();
    describe(item);
    if (scrollTo) bringIntoView(item);
  }

  function focusOn(item, take) {
    picture.drawn.elements.get(current.id)?.setAttribute("tabindex", "-1");
    current = item;
    const element = picture.drawn.elements.get(item.id);
    element.setAttribute("tabindex", "0");
    if (take) { element.focus({ preventScroll: true }); bringIntoView(item); }
  }

  function toggle(group) {
    if (group === tree.root) return;
    const hadFocus = $("graph").contains(document.activeElement);
    const box = picture.drawn.boxOf.get(group.id), view = $("graph");
    const before = box ? (box.y - box.height / 2) * picture.zoom - view.scrollTop : 0;
    if (open.has(group)) open.delete(group); else open.add(group);
    redraw();
    focusOn(visible(group), hadFocus);
    const after = picture.drawn.boxOf.get(visible(group).id);
    view.scrollTop = (after.y - after.height / 2) * picture.zoom - before;
    if (selected === group) describe(group);
  }

  return {
    select, toggle, redraw, focusOn,
    get selected() { return selected; },
    get current() { return current; },
  };
})();
