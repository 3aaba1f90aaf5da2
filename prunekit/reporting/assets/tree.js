// The tree of modules with the layers and operations in them, what is coupled to what, and how all that is called.
"use strict";

const tree = page.data.nodes && (() => {
  const { data } = page;
  const WHAT = data.pruned ? "parameters removed" : "prunable filters";
  const rowOf = new Map(data.rows.map((row, number) => [row.path, number]));

  const makeGroup = (id, path, parent) => ({ id, path, children: [], touching: [], parent });
  const root = makeGroup("all", "", null);
  const ran = new Set(data.nodes.filter((node) => node[0] === "layer").map((node) => node[1]));
  // The network has a box where it holds something that none of its modules does.
  const network = rowOf.has("") && !ran.has("") ? makeGroup("g:", "", root) : root;
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
    if (node.kind === "input" || node.kind === "output") return root;
    return groupAt(node.kind === "operation" ? node.path : parentPath(node.path));
  };
  for (const node of nodes) {
    node.parent = homeOf(node);
    node.parent.children.push(node);
    if (node.kind === "input" && network !== root) root.children.push(network);
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
  const childOf = (group, number) => {
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
    return [...new Set(paths.map(nodeOfLayer))].filter((other) => other && other !== item && other !== root);
  }

  const percent = (share) => `${(100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 0 : 1)} %`;
  const shorten = (text, most) => (text.length > most ? `…${text.slice(1 - most)}` : text);
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
  const changeOf = (item) => {
    if (item.share === null) return item.idle ? "did not run" : "";
    return data.pruned ? (item.share < 0.0005 ? "0 %" : `−${percent(item.share)}`) : `${percent(item.share)} prunable`;
  };
  // The type gives way to the number.
  function secondOf(item, most) {
    const change = changeOf(item);
    const type = item === network ? "the whole network" : typeOf(item);
    return [shortenEnd(type, Math.max(6, most - (change ? change.length + 3 : 0))), change].filter(Boolean).join(" · ");
  }

  return {
    root, network, groups, nodes, items, ancestors, childOf, readsFrom, feeds, edges: data.edges,
    coupledItems, nodeOfLayer, WHAT, percent, shorten, typeOf, nameOf, labelOf, changeOf, secondOf,
  };
})();
