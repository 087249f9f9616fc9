"use strict";
const SVG = "http://www.w3.org/2000/svg";

function draw(name, attributes, parent) {
  const node = document.createElementNS(SVG, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (parent) parent.appendChild(node);
  return node;
}

function quantile(sorted, share) {
  const place = (sorted.length - 1) * share, below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

/* Robust z-score: distance from the median in scaled median absolute deviations (Iglewicz 1993). */
function outlying(value, sorted) {
  if (sorted.length < 8) return false;
  const middle = quantile(sorted, 0.5);
  const spread = quantile(sorted.map(v => Math.abs(v - middle)).sort((a, b) => a - b), 0.5);
  return spread > 0 && Math.abs(value - middle) / (1.4826 * spread) > 3.5;
}

function shortNumber(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return value.toFixed(0);
  if (size < 0.001) return value.toPrecision(2);
  return value.toFixed(Math.min(4, Math.max(0, 2 - Math.floor(Math.log10(size)))));
}

function typing(event) {
  return event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
}
