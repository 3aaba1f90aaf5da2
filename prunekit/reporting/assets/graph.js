// What a reader does with the graph: clicks, keys, dragging, searches.
"use strict";

if (tree) (() => {
  const { $, make, data } = page;
  const { nodes, groups, items, typeOf, nodeOfLayer, WHAT } = tree;
  const { open, visible, zoomTo, fit } = picture;
  const { select, toggle, redraw, focusOn } = selection;
  const SHADES = ["none", "up to 25 %", "25 to 50 %", "50 to 75 %", "more than 75 %"];

  const view = $("graph");
  view.addEventListener("click", (event) => {
    const element = event.target.closest("[data-id]");
    const toggled = event.target.closest(".toggle");
    if (toggled) toggle(items.get(element.dataset.id));
    else if (element && !dragged) select(items.get(element.dataset.id), false);
  });
  view.addEventListener("dblclick", (event) => {
    const item = items.get(event.target.closest("[data-id]")?.dataset.id);
    if (item?.children && !event.target.closest(".toggle")) toggle(item);
  });
  view.addEventListener("keydown", (event) => {
    const { current } = selection, { order } = picture.drawn;
    const at = order.indexOf(current);
    const keys = {
      ArrowDown: () => at + 1 < order.length && focusOn(order[at + 1], true),
      ArrowUp: () => at > 0 && focusOn(order[at - 1], true),
      Home: () => focusOn(order[0], true),
      End: () => focusOn(order[order.length - 1], true),
      Enter: () => select(current, false),
      " ": () => select(current, false),
      ArrowRight: () => current.children && !open.has(current) && toggle(current),
      ArrowLeft: () => {
        const group = current.children && open.has(current) ? current : current.parent;
        if (group && group !== tree.root) toggle(group);
      },
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomTo(picture.zoom * Math.exp(-event.deltaY / 300), event.clientX, event.clientY);
  }, { passive: false });

  let dragged = false, start = null;
  view.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType !== "mouse") return;
    const box = view.getBoundingClientRect();
    if (event.clientX > box.left + view.clientWidth || event.clientY > box.top + view.clientHeight) return; // scroll bars
    dragged = false;
    start = { x: event.clientX, y: event.clientY, left: view.scrollLeft, top: view.scrollTop };
  });
  addEventListener("pointermove", (event) => {
    if (!start) return;
    const dx = event.clientX - start.x, dy = event.clientY - start.y;
    if (!dragged && Math.hypot(dx, dy) < 5) return;
    dragged = true;
    view.classList.add("dragging");
    view.scrollTo({ left: start.left - dx, top: start.top - dy, behavior: "instant" });
  });
  addEventListener("pointerup", () => {
    start = null;
    view.classList.remove("dragging");
    setTimeout(() => { dragged = false; });
  });

  $("zoom-in").addEventListener("click", () => zoomTo(picture.zoom * 1.25));
  $("zoom-out").addEventListener("click", () => zoomTo(picture.zoom / 1.25));
  $("zoom-reset").addEventListener("click", () => zoomTo(1));
  $("zoom-fit").addEventListener("click", fit);
  $("expand-all").addEventListener("click", () => {
    for (const group of groups.values()) open.add(group);
    redraw();
  });
  $("collapse-all").addEventListener("click", () => {
    open.clear();
    open.add(tree.root).add(tree.network);
    redraw();
  });

  function search(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return null;
    const all = [...nodes.filter((node) => node.kind === "layer"), ...[...groups.values()].filter((group) => group !== tree.root)];
    const tests = [
      (item) => item.path.toLowerCase() === wanted,
      (item) => item.path.toLowerCase().endsWith(wanted),
      (item) => item.path.toLowerCase().includes(wanted),
      (item) => typeOf(item).toLowerCase().includes(wanted),
    ];
    for (const test of tests) {
      const found = all.filter(test);
      if (found.length) return found[(found.indexOf(selection.selected) + 1) % found.length]; // Enter again: the next one
    }
    return null;
  }
  $("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const found = search($("search").value);
    if (found) select(found, true);
    else $("details").replaceChildren(make("p", { class: "note" }, `No layer's name or type contains “${$("search").value}”.`));
  });
  $("search-list").append(...data.rows.map((row) => make("option", { value: row.name })));

  for (const row of $("layers-table").tBodies[0].rows) {
    row.querySelector("button.link").addEventListener("click", () => {
      const item = nodeOfLayer(data.rows[Number(row.dataset.row)].path);
      select(item, true);
      $("network").scrollIntoView();
      picture.drawn.elements.get(visible(item).id).focus({ preventScroll: true });
    });
  }

  const key = (cls, text) => make("span", {}, make("i", { class: cls, "aria-hidden": "true" }), text);
  $("legend").append(
    make("span", {}, `${WHAT[0].toUpperCase()}${WHAT.slice(1)}:`),
    ...SHADES.map((text, shade) => key(`shade-${shade}`, text)),
    key("dashed", "⊘ has filters that cannot go"),
    key("selected", "selected"),
    key("together", "in the same units"),
    key("along", "loses along with it"));

  picture.openToBegin();
  redraw();
  view.parentElement.style.setProperty("--drawn", `${Math.ceil(picture.drawn.height) + 24}px`);
  view.scrollLeft = (view.scrollWidth - view.clientWidth) / 2;
})();
