// The picture of the graph: draws what the layout placed, larger or smaller, and brings a part of it into view.
"use strict";

const picture = tree && (() => {
  const { $ } = page;
  const { ancestors, shorten, typeOf, nameOf, labelOf, changeOf, secondOf } = tree;
  const SVG = "http://www.w3.org/2000/svg";
  const LETTERS = 25; // of a name in a box
  const MOST_OPEN = 80; // boxes to begin with
  const open = new Set([tree.root, tree.network]);
  let zoom = 1, drawn = null;

  function openToBegin() {
    let count = tree.network.children.length;
    let level = tree.network.children.filter((item) => item.children);
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

  function sizeOf(item) {
    if (item.kind === "input" || item.kind === "output") return { width: 84, height: 30 };
    if (item.kind === "operation") return { width: Math.max(56, 24 + 7.4 * item.label.length), height: 32 };
    return { width: 224, height: 42 };
  }
  const headingWidth = (group) => 56 + 7.6 * shorten(labelOf(group), LETTERS).length + 6.9 * secondOf(group, 30).length;
  const shadeOf = (share) => (share === null || share < 0.0005 ? 0 : Math.min(4, Math.ceil(share * 4 - 1e-9)));

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
    return draw_("g", { class: "toggle", "aria-hidden": "true" },
      draw_("rect", { x, y, width: 18, height: 18, rx: 4 }),
      draw_("text", { x: x + 9, y: y + 14, "text-anchor": "middle" }, box.open ? "−" : "+"));
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
        draw_("tspan", { class: "name" }, shorten(labelOf(item), LETTERS)),
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

  function draw() {
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
    drawn = {
      ...placed, svg, elements, lines,
      boxOf: new Map(placed.boxes.map((box) => [box.item.id, box])),
      order: placed.boxes.map((box) => box.item),
    };
    $("graph").replaceChildren(svg);
    scale();
  }

  function scale() {
    drawn.svg.setAttribute("width", drawn.width * zoom);
    drawn.svg.setAttribute("height", drawn.height * zoom);
    drawn.svg.classList.toggle("far", zoom < 0.2); // too far away to read
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

  function bringIntoView(item) {
    const box = drawn.boxOf.get(item.id), view = $("graph");
    const left = (view.scrollWidth - drawn.width * zoom) / 2;
    const height = box.open ? 60 : box.height;
    view.scrollTo({
      left: left + box.x * zoom - view.clientWidth / 2,
      top: (box.y - box.height / 2 + height / 2) * zoom - view.clientHeight / 2,
      behavior: "instant",
    });
  }

  return {
    open, openToBegin, visible, draw, zoomTo, fit, bringIntoView,
    get drawn() { return drawn; },
    get zoom() { return zoom; },
  };
})();
