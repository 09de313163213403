"""The report's style sheet: quiet, readable on a phone, light or dark as the reader's system is."""

from typing import Final

STYLE: Final = """
:root { --ink: #1c2430; --soft: #66707f; --line: #e3e7ee; --paper: #fff; --card: #f7f8fb;
  --s0: #2563eb; --s1: #d9480f; --s2: #2b8a3e; --productive: #2b8a3e; --data: #e0a800; --eval: #2563eb;
  --checkpoint: #7048e8; --start: #94a3b8; --lost: #c92a2a; --queue: #495057; --pull: #868e96; --rendezvous: #0b7285;
  --restore: #5f3dc4; --hang: #862e2e; --scale: #1098ad; --uncommitted: #a9c99f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf1; --soft: #9aa4b5; --line: #2c3442; --paper: #12161d;
  --card: #1a2029; --s0: #6ea2ff; --s1: #ff9566; --s2: #69db7c; --productive: #51b364; --start: #64748b; --queue: #8a94a3; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1360px; padding: 24px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 26px; } h2 { margin: 36px 0 10px; font-size: 18px; }
.url { margin: 2px 0 20px; color: var(--soft); word-break: break-all; font-size: 13px; }
.facts { display: flex; flex-wrap: wrap; gap: 10px; margin: 0 0 24px; }
.facts div { padding: 10px 16px; border-radius: 8px; background: var(--card); }
.facts dt { color: var(--soft); font-size: 12px; } .facts dd { margin: 0; font-size: 20px; font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 16px; }
figure { margin: 0; padding: 14px; border-radius: 8px; background: var(--card); }
figcaption { font-weight: 600; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 11px; }
.bar { height: 26px; border-radius: 6px; } .grid { stroke: var(--line); }
.mark { stroke: var(--lost); stroke-dasharray: 3 3; }
polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
polyline.s0 { stroke: var(--s0); } polyline.s1 { stroke: var(--s1); } polyline.s2 { stroke: var(--s2); }
.legend { min-height: 20px; font-size: 12px; color: var(--soft); } .key { margin-right: 14px; }
.key::before { content: ''; display: inline-block; width: 14px; height: 3px; margin: 0 5px 3px 0; background: var(--s0); }
.key.s1::before { background: var(--s1); } .key.s2::before { background: var(--s2); }
.swatch { display: inline-block; width: 11px; height: 11px; margin-right: 8px; border-radius: 3px; }
.c-productive { fill: var(--productive); background: var(--productive); } .c-data { fill: var(--data); background: var(--data); }
.c-eval { fill: var(--eval); background: var(--eval); } .c-checkpoint { fill: var(--checkpoint); background: var(--checkpoint); }
.c-start { fill: var(--start); background: var(--start); } .c-lost_work { fill: var(--lost); background: var(--lost); }
.c-queue { fill: var(--queue); background: var(--queue); } .c-pull { fill: var(--pull); background: var(--pull); }
.c-rendezvous { fill: var(--rendezvous); background: var(--rendezvous); } .c-restore { fill: var(--restore); background: var(--restore); }
.c-hang { fill: var(--hang); background: var(--hang); } .c-scale { fill: var(--scale); background: var(--scale); }
.c-uncommitted { fill: var(--uncommitted); background: var(--uncommitted); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin-top: 10px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { color: var(--soft); font-size: 12px; font-weight: 500; } summary { cursor: pointer; }
"""
