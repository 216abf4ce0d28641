"""The frame of a page, and its look."""

from __future__ import annotations

# The policy forbids scripts and anything from outside, so that the page cannot come to need them.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}: {kind}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header>
<p class="kicker">darkslim, {kind}</p>
<h1>{title}</h1>
<pre><code>{command}</code></pre>
<p class="when">{created}</p>
</header>
<main>
<div class="cards">
{cards}
</div>
{sections}
</main>
</body>
</html>
"""

STYLE = """
:root { color-scheme: light; --ink: #1a202c; --soft: #4a5568; --line: #e2e8f0; --blue: #2b6cb0; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f9; color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header, main { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 36px; }
.kicker { margin: 0; color: var(--blue); font-weight: 600; font-size: 13px; letter-spacing: .03em; }
h1 { margin: 2px 0 14px; font-size: 27px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 0 0 12px; font-size: 18px; }
h3 { margin: 0 0 6px; font-size: 13px; font-weight: 600; color: var(--soft); }
p { margin: 10px 0; color: var(--soft); max-width: 85ch; }
code { font: 12.5px/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { margin: 0; padding: 10px 14px; background: #e8ecf2; border-radius: 8px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
pre span { display: inline-block; } /* lines break between words, not after a hyphen */
.when { margin: 8px 0 20px; font-size: 13px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 14px; }
.card, section { background: #fff; border: 1px solid var(--line); border-radius: 12px; }
.card { padding: 14px 18px; }
.card .name { color: var(--soft); font-size: 13px; }
.card .number { font-size: 27px; font-weight: 650; line-height: 1.3; color: var(--blue);
  font-variant-numeric: tabular-nums; }
.card .bad { color: #c53030; }
.card .detail { color: var(--soft); font-size: 12.5px; font-variant-numeric: tabular-nums; }
section { margin: 16px 0; padding: 20px 24px; }
main { padding-bottom: 40px; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 22px 5px 0; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: 12.5px; }
th:last-child, td:last-child { padding-right: 0; }
.n { text-align: right; white-space: nowrap; }
tbody tr:last-child td { border-bottom: 0; }
.beside { display: grid; grid-template-columns: auto minmax(240px, 1fr); gap: 0 40px;
  align-items: start; }
.beside > div { min-width: 0; overflow-x: auto; }
.beside p:first-child { margin-top: 4px; }
.wide { overflow-x: auto; margin-bottom: 14px; }
td code { overflow-wrap: anywhere; }
td code.hash { display: inline-block; width: 33ch; } /* two even lines */
figure { margin: 0; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 4px; }
.chart svg { display: block; width: 100%; height: auto; }
.chart svg text { font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif
  !important; }
details { margin-top: 10px; }
summary { cursor: pointer; color: var(--blue); font-size: 13.5px; }
details table { margin-top: 8px; }
.pairs { columns: 2; column-gap: 20px; }
.pair { break-inside: avoid; margin-bottom: 20px; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; align-items: start; }
.two img { display: block; width: 100%; height: auto; border-radius: 6px; }
@media (max-width: 760px) { .beside { grid-template-columns: 1fr; } }
@media (max-width: 560px) {
  header, main { padding: 0 10px; } .pairs { columns: 1; } section { padding: 14px; }
  th, td { padding-right: 9px; } table { font-size: 12px; } .n { white-space: normal; }
  .chart { overflow-x: auto; } .chart svg { width: 860px; } /* letters that can be read */
}
@media print { body { background: #fff; } section, .card { break-inside: avoid; } }
"""
