// The graph: draws what the layout placed, and answers clicks, keys and searches.
"use strict";

(() => {
  const { $, make, data } = page;
  if (!data.nodes) return;

  const SVG = "http://www.w3.org/2000/svg";
  const LETTERS = 25; // of a name in a box
  const MOST_OPEN = 80; // boxes to begin with
  const SHADES = ["none", "up to 25 %", "25 to 50 %", "50 to 75 %", "more than 75 %"];
  const WHAT = data.pruned ? "parameters removed" : "prunable filters";
  const rowOf = new Map(data.rows.map((row, number) => [row.path, number]));

  // -- the tree of modules -----------------------------------------------------------------------------------------
  const makeGroup = (id, path, parent) => ({ id, path, children: [], touching: [], parent });
  const tree = { root: makeGroup("all", "", null), edges: data.edges };
  const ran = new Set(data.nodes.filter((node) => node[0] === "layer").map((node) => node[1]));
  // The network has a box where it holds something that none of its modules does.
  const network = rowOf.has("") && !ran.has("") ? makeGroup("g:", "", tree.root) : tree.root;
  const groups = new Map([["", network]]);
  const nodes = data.nodes.map(([kind, path, label, call], number) => ({ id: `n:${number}`, number, kind, path, label, call }));
  const parentPath = (path) => (path.includes(".") ? path.slice(0, path.lastIndexOf(".")) : "");

  function groupAt(path) {
    if (groups.has(path)) return groups.get(path);
    const parent = groupAt(parentPath(path));
    const group = makeGroup(`g:${path}`, path, parent);
    groups.set(path, group);
    parent.children.push(group);
    return group;
  }

  const homeOf = (node) => {
    if (node.kind === "input" || node.kind === "output") return tree.root;
    return groupAt(node.kind === "operation" ? node.path : parentPath(node.path));
  };
  for (const node of nodes) {
    node.parent = homeOf(node);
    node.parent.children.push(node);
    if (node.kind === "input" && network !== tree.root) tree.root.children.push(network);
    node.rows = node.kind === "layer" && rowOf.has(node.path) ? [rowOf.get(node.path)] : [];
  }
  // Layers that did not run themselves belong to the layer around them, if that one did, as in an attention.
  const layersAt = new Map();
  for (const node of nodes) if (node.kind === "layer" && node.call === 1) layersAt.set(node.path, node);
  data.rows.forEach((row, number) => {
    if (ran.has(row.path) || groups.has(row.path)) return;
    for (let path = parentPath(row.path); ; path = parentPath(path)) {
      if (layersAt.has(path)) { layersAt.get(path).rows.push(number); return; }
      if (!path) break;
    }
    const node = { id: `n:${nodes.length}`, number: nodes.length, kind: "layer", path: row.path, label: "", call: 1, rows: [number], idle: true };
    nodes.push(node);
    layersAt.set(row.path, node);
    node.parent = groupAt(parentPath(row.path));
    node.parent.children.push(node);
  });
  const items = new Map([...nodes, ...groups.values()].map((item) => [item.id, item]));

  const ancestors = (item) => { const found = []; for (let g = item.parent; g; g = g.parent) found.push(g); return found; };
  const chains = nodes.map((node) => [node, ...ancestors(node)]);
  tree.childOf = (group, number) => {
    const chain = chains[number], at = chain.indexOf(group);
    return at < 1 ? null : chain[at - 1];
  };
  const readsFrom = nodes.map(() => []), feeds = nodes.map(() => []);
  data.edges.forEach(([a, b], number) => {
    readsFrom[b].push(a);
    feeds[a].push(b);
    for (const group of new Set([...chains[a].slice(1), ...chains[b].slice(1)])) group.touching.push(number);
  });

  for (const [path, group] of groups) group.rows = rowOf.has(path) ? [rowOf.get(path)] : []; // of its own
  function rowsWithin(item) {
    const inside = new Set(item.rows);
    for (const child of item.children ?? []) for (const row of rowsWithin(child)) inside.add(row);
    return [...inside];
  }
  for (const item of items.values()) {
    item.all = rowsWithin(item).map((number) => data.rows[number]);
    item.reasons = item.rows.map((number) => data.rows[number].blocked).filter(Boolean);
    const sum = (key) => item.all.reduce((total, row) => total + row[key], 0);
    const whole = data.pruned ? sum("before") : sum("filters");
    item.share = whole ? (data.pruned ? 1 - sum("params") / whole : sum("prunable") / whole) : null;
    item.blocked = item.all.some((row) => row.blocked);
    item.params = sum("params");
  }

  // -- state -------------------------------------------------------------------------------------------------------
  const open = new Set([tree.root, network]);
  let selected = null, current = null, zoom = 1, drawn = null;

  function openToBegin() {
    let count = network.children.length;
    let level = network.children.filter((item) => item.children);
    while (level.length) { // modules of one depth all alike
      const inside = level.flatMap((group) => group.children);
      count += inside.length;
      if (count > MOST_OPEN) return;
      for (const group of level) open.add(group);
      level = inside.filter((item) => item.children);
    }
  }

  const visible = (item) => {
    const closed = ancestors(item).reverse().find((group) => !open.has(group));
    return closed ?? item;
  };

  // -- words -------------------------------------------------------------------------------------------------------
  const percent = (share) => `${(100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 0 : 1)} %`;
  const shorten = (text, most = LETTERS) => (text.length > most ? `…${text.slice(1 - most)}` : text);
  const shortenEnd = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const typeOf = (item) => data.types[item.path] ?? "";
  const nameOf = (item) => {
    if (item.kind === "operation") return `${item.label} in ${item.path || "the network"}`;
    if (item.kind === "input" || item.kind === "output") return item.label;
    return `${item.path || "the network"}${item.call > 1 ? `, call ${item.call}` : ""}`;
  };
  const labelOf = (item) => {
    if (item.kind && item.kind !== "layer") return item.label;
    const home = item.parent ? item.parent.path : "";
    const own = home ? item.path.slice(home.length + 1) : item.path;
    return (own || typeOf(item)) + (item.call > 1 ? ` (call ${item.call})` : "");
  };
  const shadeOf = (share) => (share === null || share < 0.0005 ? 0 : Math.min(4, Math.ceil(share * 4 - 1e-9)));
  const changeOf = (item) => {
    if (item.share === null) return item.idle ? "did not run" : "";
    return data.pruned ? (item.share < 0.0005 ? "0 %" : `−${percent(item.share)}`) : `${percent(item.share)} prunable`;
  };
  // The type gives way to the number.
  function secondOf(item, most) {
    const change = changeOf(item);
    return [shortenEnd(typeOf(item), Math.max(6, most - (change ? change.length + 3 : 0))), change].filter(Boolean).join(" · ");
  }

  function sizeOf(item) {
    if (item.kind === "input" || item.kind === "output") return { width: 84, height: 30 };
    if (item.kind === "operation") return { width: Math.max(56, 24 + 7.4 * item.label.length), height: 32 };
    return { width: 224, height: 42 };
  }
  const headingWidth = (group) => 56 + 7.6 * shorten(labelOf(group)).length + 6.9 * secondOf(group, 30).length;

  // -- drawing -----------------------------------------------------------------------------------------------------
  function draw_(tag, attributes, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function curve(points) {
    let path = `M${points[0].x.toFixed(1)} ${points[0].y.toFixed(1)}`;
    for (let i = 1; i < points.length; i++) {
      const a = points[i - 1], b = points[i], y = ((a.y + b.y) / 2).toFixed(1);
      path += `C${a.x.toFixed(1)} ${y} ${b.x.toFixed(1)} ${y} ${b.x.toFixed(1)} ${b.y.toFixed(1)}`;
    }
    return path;
  }

  function toggleSign(box, x, y) {
    const sign = draw_("g", { class: "toggle", "aria-hidden": "true" },
      draw_("rect", { x, y, width: 18, height: 18, rx: 4 }),
      draw_("text", { x: x + 9, y: y + 14, "text-anchor": "middle" }, box.open ? "−" : "+"));
    sign.addEventListener("click", (event) => { event.stopPropagation(); toggle(box.item); });
    return sign;
  }

  function drawBox(box) {
    const { item } = box;
    const x = box.x - box.width / 2, y = box.y - box.height / 2;
    const kinds = [item.children ? (box.open ? "group" : "node") : "node"];
    if (!box.open && (item.children || item.kind === "layer")) kinds.push(`shade-${shadeOf(item.share)}`);
    if (item.kind === "input" || item.kind === "output") kinds.push("end");
    if (item.kind === "operation") kinds.push("operation");
    if (item.reasons.length) kinds.push("blocked");
    const spoken = [nameOf(item), item.children ? (box.open ? "module, open" : "module, closed") : typeOf(item), changeOf(item), item.blocked ? "blocked in part or whole" : ""];
    const element = draw_("g", { class: kinds.join(" "), role: "button", tabindex: "-1", "data-id": item.id, "aria-pressed": "false", "aria-label": spoken.filter(Boolean).join(", ") });
    if (item.children) element.setAttribute("aria-expanded", String(box.open));
    const small = item.kind && item.kind !== "layer";
    if (item.children && !box.open) element.append(draw_("rect", { class: "behind", x: x + 4, y: y + 4, width: box.width, height: box.height, rx: 8 }));
    element.append(draw_("rect", { class: "box", x, y, width: box.width, height: box.height, rx: small ? 15 : 8 }));
    if (box.open) {
      element.append(draw_("text", { class: "heading", x: x + 34, y: y + 19 },
        draw_("tspan", { class: "name" }, shorten(labelOf(item))),
        draw_("tspan", { class: "second", dx: 8 }, secondOf(item, 30))), toggleSign(box, x + 8, y + 6));
    } else if (small) {
      element.append(draw_("text", { x: box.x, y: box.y + 4.5, "text-anchor": "middle" }, item.label));
    } else {
      const mark = item.blocked ? "⊘ " : "";
      const inset = item.children ? 34 : 11;
      element.append(
        draw_("text", { class: "name", x: x + inset, y: y + 17 }, shorten(labelOf(item), item.children ? 21 : LETTERS)),
        draw_("text", { class: "second", x: x + inset, y: y + 33 }, mark + secondOf(item, (item.children ? 29 : 33) - mark.length)));
      if (item.children) element.append(toggleSign(box, x + 9, y + 12));
    }
    const why = item.reasons.join("; ");
    element.append(draw_("title", {}, why ? `${nameOf(item)}\nblocked by: ${why}` : nameOf(item)));
    return element;
  }

  function redraw() {
    const placed = layout.arrange(tree, tree.root, (group) => open.has(group), sizeOf, headingWidth);
    const svg = draw_("svg", { viewBox: `0 0 ${placed.width} ${placed.height}` });
    svg.append(draw_("defs", {}, draw_("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto", markerUnits: "userSpaceOnUse" }, draw_("path", { class: "arrowhead", d: "M0 0L8 4L0 8z" }))));
    for (const box of placed.boxes) {
      const { x, y, width, height, item } = box;
      if (box.open) svg.append(draw_("rect", { class: "frame", "data-id": item.id, x: x - width / 2, y: y - height / 2, width, height, rx: 8 }));
    }
    const elements = new Map(placed.boxes.map((box) => [box.item.id, drawBox(box)]));
    const lines = placed.lines.map((line) => {
      const path = draw_("path", { class: "edge", d: curve(line.points) });
      if (line.ends === "arrow") path.setAttribute("marker-end", "url(#tip)");
      return { ...line, path };
    });
    svg.append(...lines.map((line) => line.path), ...placed.boxes.map((box) => elements.get(box.item.id)));
    drawn = { ...placed, svg, elements, lines, boxOf: new Map(placed.boxes.map((box) => [box.item.id, box])) };
    const order = placed.boxes.map((box) => box.item);
    drawn.order = order;
    $("graph").replaceChildren(svg);
    scale();
    if (!current || !elements.has(current.id)) current = current ? visible(current) : order[0];
    if (!elements.has(current.id)) current = order[0];
    elements.get(current.id).setAttribute("tabindex", "0");
    mark();
  }

  function scale() {
    drawn.svg.setAttribute("width", drawn.width * zoom);
    drawn.svg.setAttribute("height", drawn.height * zoom);
    $("zoom-reset").textContent = `${Math.round(100 * zoom)} %`;
  }

  function zoomTo(value, x, y) {
    const view = $("graph"), box = view.getBoundingClientRect();
    const before = zoom;
    zoom = Math.min(3, Math.max(0.05, value));
    const px = x === undefined ? box.width / 2 : x - box.left, py = y === undefined ? box.height / 2 : y - box.top;
    const at = [(view.scrollLeft + px) / before, (view.scrollTop + py) / before];
    scale();
    view.scrollTo({ left: at[0] * zoom - px, top: at[1] * zoom - py, behavior: "instant" });
  }

  function fit() {
    const view = $("graph");
    zoomTo(Math.min(1, (view.clientWidth - 8) / drawn.width, (view.clientHeight - 8) / drawn.height));
  }

  function show(item) {
    const box = drawn.boxOf.get(item.id), view = $("graph");
    const left = (view.scrollWidth - drawn.width * zoom) / 2;
    const height = box.open ? 60 : box.height;
    view.scrollTo({
      left: left + box.x * zoom - view.clientWidth / 2,
      top: (box.y - box.height / 2 + height / 2) * zoom - view.clientHeight / 2,
      behavior: "instant",
    });
  }

  // -- selection ---------------------------------------------------------------------------------------------------
  function coupled(path, kind) {
    const number = data[kind][path];
    return number === undefined ? [] : data.sets[number].map((one) => data.names[one]).filter((name) => name !== path);
  }

  function nodeOfLayer(path) {
    if (layersAt.has(path)) return layersAt.get(path);
    if (groups.has(path)) return groups.get(path);
    for (let outer = path; outer; ) {
      outer = parentPath(outer);
      if (layersAt.has(outer)) return layersAt.get(outer);
    }
    return null;
  }

  function coupledItems(item, kind) {
    const paths = item.rows.flatMap((number) => coupled(data.rows[number].path, kind));
    return [...new Set(paths.map(nodeOfLayer))].filter((other) => other && other !== item && other !== tree.root);
  }

  function mark() {
    const sides = { together: new Set(), along: new Set() };
    for (const kind of selected ? ["along", "together"] : []) {
      for (const other of coupledItems(selected, kind)) sides[kind].add(visible(other).id);
    }
    const chosen = selected ? visible(selected).id : null;
    for (const [id, element] of drawn.elements) {
      const isSelected = id === chosen;
      element.classList.toggle("selected", isSelected);
      element.setAttribute("aria-pressed", String(isSelected));
      element.classList.toggle("together", !isSelected && sides.together.has(id));
      element.classList.toggle("along", !isSelected && sides.along.has(id) && !sides.together.has(id));
    }
    for (const line of drawn.lines) {
      const lit = selected && !selected.children && line.edges.some((number) => data.edges[number].includes(selected.number));
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
    if (scrollTo) show(item);
  }

  function focusOn(item, take) {
    drawn.elements.get(current.id)?.setAttribute("tabindex", "-1");
    current = item;
    const element = drawn.elements.get(item.id);
    element.setAttribute("tabindex", "0");
    if (take) { element.focus({ preventScroll: true }); show(item); }
  }

  function toggle(group) {
    if (group === tree.root) return;
    const hadFocus = $("graph").contains(document.activeElement);
    const box = drawn.boxOf.get(group.id), view = $("graph");
    const before = box ? (box.y - box.height / 2) * zoom - view.scrollTop : 0;
    if (open.has(group)) open.delete(group); else open.add(group);
    redraw();
    focusOn(visible(group), hadFocus);
    const after = drawn.boxOf.get(visible(group).id);
    view.scrollTop = (after.y - after.height / 2) * zoom - before;
    if (selected === group) describe(group);
  }

  // -- events ------------------------------------------------------------------------------------------------------
  const view = $("graph");
  view.addEventListener("click", (event) => {
    const element = event.target.closest("[data-id]");
    if (element && !dragged) select(items.get(element.dataset.id), false);
  });
  view.addEventListener("dblclick", (event) => {
    const item = items.get(event.target.closest("[data-id]")?.dataset.id);
    if (item?.children) toggle(item);
  });
  view.addEventListener("keydown", (event) => {
    const at = drawn.order.indexOf(current);
    const keys = {
      ArrowDown: () => at + 1 < drawn.order.length && focusOn(drawn.order[at + 1], true),
      ArrowUp: () => at > 0 && focusOn(drawn.order[at - 1], true),
      Home: () => focusOn(drawn.order[0], true),
      End: () => focusOn(drawn.order[drawn.order.length - 1], true),
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
    zoomTo(zoom * Math.exp(-event.deltaY / 300), event.clientX, event.clientY);
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

  $("zoom-in").addEventListener("click", () => zoomTo(zoom * 1.25));
  $("zoom-out").addEventListener("click", () => zoomTo(zoom / 1.25));
  $("zoom-reset").addEventListener("click", () => zoomTo(1));
  $("zoom-fit").addEventListener("click", fit);
  $("expand-all").addEventListener("click", () => {
    for (const group of groups.values()) open.add(group);
    redraw();
  });
  $("collapse-all").addEventListener("click", () => {
    open.clear();
    open.add(tree.root).add(network);
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
      if (found.length) return found[(found.indexOf(selected) + 1) % found.length]; // Enter again: the next one
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
      drawn.elements.get(visible(item).id).focus({ preventScroll: true });
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

  openToBegin();
  redraw();
  view.parentElement.style.height = `clamp(420px, ${Math.ceil(drawn.height) + 24}px, max(440px, 78vh))`;
  view.scrollLeft = (view.scrollWidth - view.clientWidth) / 2;
})();
