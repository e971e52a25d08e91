"""The style of the demo's page: light and dark, wide and narrow screens."""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --paper: #fff; --card: #f6f8fa;
  --line: #d1d9e0; --right: #1a7f37; --wrong: #cf222e;
  --link: #0969da; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --paper: #0d1117;
  --card: #151b23; --line: #3d444d; --right: #3fb950; --wrong: #ff7b72;
  --link: #4493f8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1rem 4rem; max-width: 60rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.5rem; margin: 3.5rem 0 .75rem; padding-top: 1.5rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
nav ul { padding-left: 1.2rem; }
a { color: var(--link); }
p { max-width: 46rem; }
.note { color: var(--soft); font-size: .875rem; }
.right { color: var(--right); }
.wrong { color: var(--wrong); }
.wide { overflow-x: auto; }
.curve { display: block; width: 100%; min-width: 40rem; }
.curve.game { width: 40rem; min-width: 26rem; }
.curve.epsilon { width: 30rem; min-width: 20rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem 1rem .3rem 0; text-align: left; border-bottom: 1px solid var(--line); }
tbody tr:last-child td { border-bottom: 0; }
details { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  margin: .75rem 0; padding: .75rem 1rem; }
code { white-space: nowrap; }
summary { cursor: pointer; font-weight: 600; }
.how { color: var(--soft); font-size: .875rem; font-weight: 400; margin-left: .5rem; }
.row { display: grid; grid-template-columns: 6.5rem minmax(0, 28rem) 1fr; gap: .25rem 1rem;
  align-items: center; padding: .4rem 0; border-top: 1px solid var(--line); }
.row.head { border-top: 0; color: var(--soft); align-items: end; }
.row.head span { font-size: .78rem; }
.grid .row { grid-template-columns: 9rem minmax(34rem, 1fr); }
.grid .how { display: block; margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(var(--tiles), minmax(0, 5.5rem));
  gap: .4rem; }
.tiles img { display: block; width: 100%; image-rendering: pixelated; border-radius: .2rem; }
.contenders { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.5rem;
  margin: 1rem 0; }
.contenders p { margin: 0 0 .5rem; }
.samples { display: grid; grid-template-columns: repeat(8, 1fr); gap: .25rem; }
.samples img { display: block; width: 100%; image-rendering: pixelated; border-radius: .15rem; }
.said { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; font-size: .9rem; }
@media (max-width: 44rem) {
  .row, .contenders { grid-template-columns: 1fr; }
  .row.head span { font-size: .66rem; }
  .row.head .said, .row.head > :first-child { display: none; }
  .how { display: block; margin: 0; }
  .said span::before { content: attr(data-who) ": "; color: var(--soft); }
}
"""
