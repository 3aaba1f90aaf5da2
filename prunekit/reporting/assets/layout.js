// Where nodes and modules stand. Each module is laid out on its own, by dagre, and is one box for the module around it.
"use strict";

const layout = (() => {
  const GAP = 26; // between rows
  const PAD = 14; // inside of a module
  const HEAD = 30; // its heading
  const IN = "in", OUT = "out"; // where data enter and leave a module

  // The items of one module, `{id, width, height}` in the order of execution, with edges between their numbers.
  // Everything goes through some items; what stands between two of these is laid out on its own, so that the time grows
  // with the longest such part and not with the network.
  function place(items, edges) {
    const cover = new Int32Array(items.length + 1);
    for (const [a, b] of edges) {
      const [low, high] = a < b ? [a, b] : [b, a];
      if (high - low > 1) { cover[low + 1]++; cover[high]--; }
    }
    const cuts = [];
    for (let i = 0, open = 0; i < items.length; i++) {
      open += cover[i];
      if (open === 0) cuts.push(i);
    }
    if (!cuts.length || cuts[0] !== 0) cuts.unshift(0);
    if (cuts[cuts.length - 1] !== items.length - 1) cuts.push(items.length - 1);
    const at = items.map(() => null);
    const routes = new Map();
    const key = (a, b) => a * items.length + b;
    at[0] = { x: 0, y: items[0].height / 2 };
    for (let c = 1; c < cuts.length; c++) {
      const first = cuts[c - 1], last = cuts[c];
      if (last === first + 1) {
        at[last] = { x: at[first].x, y: at[first].y + items[first].height / 2 + GAP + items[last].height / 2 };
        continue;
      }
      const part = new dagre.graphlib.Graph();
      part.setGraph({ rankdir: "TB", nodesep: 22, edgesep: 14, ranksep: GAP });
      part.setDefaultEdgeLabel(() => ({}));
      for (let i = first; i <= last; i++) part.setNode(String(i), { width: items[i].width, height: items[i].height });
      const inside = edges.filter(([a, b]) => Math.min(a, b) >= first && Math.max(a, b) <= last);
      for (const [a, b] of inside) part.setEdge(String(a), String(b));
      dagre.layout(part);
      const anchor = part.node(String(first));
      const dx = at[first].x - anchor.x, dy = at[first].y - anchor.y;
      for (let i = first + 1; i <= last; i++) {
        const node = part.node(String(i));
        at[i] = { x: node.x + dx, y: node.y + dy };
      }
      for (const [a, b] of inside) {
        const points = part.edge(String(a), String(b)).points.map((p) => ({ x: p.x + dx, y: p.y + dy }));
        routes.set(key(a, b), points);
      }
    }
    const route = ([a, b]) => routes.get(key(a, b)) ?? [
      { x: at[a].x, y: at[a].y + items[a].height / 2 },
      { x: at[b].x, y: at[b].y - items[b].height / 2 },
    ];
    return { at, routes: edges.map(route) };
  }

  // Returns {width, height, boxes, lines}: boxes with centre and size, modules before what is in them.
  function arrange(tree, group, isOpen, sizeOf, headingWidth) {
    const isRoot = group === tree.root;
    const items = [];
    const numberOf = new Map();
    const inner = new Map();
    const add = (item) => { numberOf.set(item.id, items.length); items.push(item); };
    if (!isRoot) add({ id: IN, width: 2, height: 2 });
    for (const child of group.children) {
      if (child.children && isOpen(child)) {
        const own = arrange(tree, child, isOpen, sizeOf, headingWidth);
        inner.set(child.id, own);
        add({ id: child.id, item: child, width: own.width, height: own.height });
      } else add({ id: child.id, item: child, ...sizeOf(child) });
    }
    if (!isRoot) add({ id: OUT, width: 2, height: 2 });

    const merged = new Map();
    for (const number of group.touching) {
      const [a, b] = tree.edges[number];
      const from = tree.childOf(group, a), to = tree.childOf(group, b);
      if (from === to) continue;
      const ends = [numberOf.get(from ? from.id : IN), numberOf.get(to ? to.id : OUT)];
      const key = ends.join();
      if (!merged.has(key)) merged.set(key, { ends, edges: [] });
      merged.get(key).edges.push(number);
    }
    const links = [...merged.values()];
    const { at, routes } = place(items, links.map((link) => link.ends));

    const solid = items.map((item, i) => [item, at[i]]).filter(([item]) => item.item);
    const xs = routes.flat().map((p) => p.x);
    const left = Math.min(...solid.map(([item, p]) => p.x - item.width / 2), ...xs) - PAD;
    const right = Math.max(...solid.map(([item, p]) => p.x + item.width / 2), ...xs) + PAD;
    const dx = -left;
    const dy = isRoot ? PAD : HEAD;
    const bottom = Math.max(...items.map((item, i) => at[i].y + item.height / 2));
    const width = Math.max(right - left, isRoot ? 0 : headingWidth(group));
    const shift = dx + (width - (right - left)) / 2;
    const height = bottom + dy + (isRoot ? PAD : 8);
    const boxes = [], lines = [];
    const ports = {};
    const move = (p, x, y) => ({ x: p.x + x, y: p.y + y });

    items.forEach((item, i) => {
      const centre = move(at[i], shift, dy);
      if (item.id === IN || item.id === OUT) { ports[item.id] = centre.x; return; }
      boxes.push({ item: item.item, ...centre, width: item.width, height: item.height, open: inner.has(item.id) });
      const own = inner.get(item.id);
      if (!own) return;
      const x = centre.x - item.width / 2, y = centre.y - item.height / 2;
      for (const box of own.boxes) boxes.push({ ...box, ...move(box, x, y) });
      for (const line of own.lines) lines.push({ ...line, points: line.points.map((p) => move(p, x, y)) });
      item.ports = { in: own.ports.in + x, out: own.ports.out + x };
    });
    links.forEach((link, i) => {
      const [a, b] = link.ends;
      const points = routes[i].map((p) => move(p, shift, dy));
      const last = points.length - 1;
      // All edges leave below and arrive above, so that none runs along the side of a box into its neighbour.
      points[0] = { x: at[a].x + shift, y: at[a].y + dy + items[a].height / 2 };
      points[last] = { x: at[b].x + shift, y: at[b].y + dy - items[b].height / 2 };
      if (items[a].ports) points[0].x = items[a].ports.out;
      if (items[b].ports) points[last].x = items[b].ports.in;
      if (items[b].id === OUT) points[last] = { x: ports.out, y: height };
      if (items[a].id === IN) points.splice(0, 1, { x: ports.in, y: 0 }, { x: ports.in, y: dy - 4 }); // past the heading
      lines.push({ edges: link.edges, points, ends: items[b].id === OUT || items[b].ports ? "through" : "arrow" });
    });
    return { width, height, boxes, lines, ports: { in: ports[IN] ?? width / 2, out: ports[OUT] ?? width / 2 } };
  }

  return { arrange };
})();
