// The style sheet of the page: light and dark, desktop and phone.
#pragma once

namespace bitsmith {

inline constexpr const char* kReportStyle = R"css(
:root { --bg: #ffffff; --fg: #1b1f24; --dim: #5c6670; --rule: #d9dee3; --box: #f4f6f8; --alarm: #a33000; }
.c0 { --c: #0069b4; } .c1 { --c: #d1570f; } .c2 { --c: #007f5f; } .c3 { --c: #b5488e; }
.c4 { --c: #8a6d00; } .c5 { --c: #3a9bd1; } .c6 { --c: #6f4bb0; } .c7 { --c: #666e76; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #14171a; --fg: #e4e8ec; --dim: #9aa5b0; --rule: #343b42; --box: #1d2226; --alarm: #ff9c6b; }
  .c0 { --c: #5bb0f0; } .c1 { --c: #ff9550; } .c2 { --c: #3fcf9f; } .c3 { --c: #e893c8; }
  .c4 { --c: #dcb83a; } .c5 { --c: #93d3ff; } .c6 { --c: #b79af0; } .c7 { --c: #a9b2ba; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; margin: .5rem 0; } h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; overflow-wrap: anywhere; }
p, li { overflow-wrap: anywhere; } p { margin: .4rem 0; max-width: 75ch; }
.dim, small { color: var(--dim); }
.warnings { border-left: 4px solid var(--alarm); background: var(--box); padding: .2rem 1rem; }
.warnings h2 { color: var(--alarm); margin: .5rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: right; padding: .3rem .7rem; border-bottom: 1px solid var(--rule); white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child, .left { text-align: left; }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 8rem; max-width: 20rem; }
th { color: var(--dim); font-weight: 600; }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }
figure { margin: 0; } figcaption { color: var(--dim); font-size: .85rem; overflow-wrap: anywhere; }
.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 250px), 1fr)); }
svg { width: 100%; height: auto; max-width: 620px; display: block; font: 11px system-ui, sans-serif; }
svg text { fill: var(--fg); } svg .title { font-weight: 600; font-size: 12px; } svg .unit { fill: var(--dim); }
svg .grid { stroke: var(--rule); stroke-width: 1; } svg .axis { stroke: var(--dim); stroke-width: 1; }
svg polyline { fill: none; stroke: var(--c); stroke-width: 1.6; } svg circle { fill: var(--c); stroke: var(--c); stroke-width: 1.2; }
svg .dashed polyline { stroke-dasharray: 5 4; } svg .hollow circle { fill: var(--bg); } svg .bar { fill: var(--c); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .5rem 0; padding: 0; list-style: none; font-size: .9rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; border: 2px solid var(--c); background: var(--c); border-radius: 50%; }
.legend .hollow { background: none; }
pre { background: var(--box); padding: .7rem; overflow-x: auto; font-size: .85rem; }
pre.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0 .6rem; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--dim); }
)css";

}  // namespace bitsmith
