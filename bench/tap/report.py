"""What the runs of bench.py say: medians with their spread, as a table, as a page with plots, and beside older results."""
import html
import statistics

# Beside what the tests are for: (row, test, key of a run, unit); less is better.
COSTS = [
    ("bulk_in cpu", "bulk_in", "cpu_s_per_gb", "s/GB"),
    ("bulk_out cpu", "bulk_out", "cpu_s_per_gb", "s/GB"),
    ("rr p50", "rr", "p50_us", "us"),
    ("rr_one_cpu p50", "rr_one_cpu", "p50_us", "us"),
]
# What is aimed at: (target, row, ratio, of this target); for costs at most, otherwise at least.
GOALS = [
    ("sluice", "bulk_in", 0.9, "ideal"),
    ("sluice", "bulk_out", 0.85, "ideal"),
    ("sluice", "bulk_in cpu", 1.1, "ideal"),
    ("sluice", "bulk_out cpu", 1.15, "ideal"),
    ("sluice", "rr", 0.95, "ideal"),
    ("sluice", "rr_one_cpu", 0.95, "lwip"),
    ("sluice", "connect", 1.1, "lwip"),
    ("sluice", "udp_echo", 1.05, "lwip"),
    ("sluice", "http", 1.05, "lwip"),
    ("sluice no-offload", "bulk_in", 1.1, "lwip"),
    ("sluice no-offload", "bulk_out", 1.2, "lwip"),
    ("sluice blocking", "bulk_in", 0.9, "sluice"),
    ("sluice blocking", "bulk_out", 0.9, "sluice"),
    ("sluice blocking", "rr", 1.0, "veth"),
    ("sluice blocking", "http", 1.0, "veth"),
]
DISTURBED = 0.3  # processors busy for others, beyond which a run says little
FAR = 2  # times the least distance between the processors, beyond which they share other caches, or none
LEAST_NOISE = 0.05  # of a median: smaller changes are never called changes


def disturbed(run, nearest):
    """By other programs, or by the host of a virtual machine, which moved the processors apart; `nearest` in ns, or None."""
    return run.get("foreign_load", 0) > DISTURBED or (nearest is not None and run.get("distance_ns", 0) > FAR * nearest)


class Results:
    """All runs, and a row of medians for each test and each cost; `data` is what is written as JSON.

    A median is of the runs that nothing disturbed; where there is none, of all, and marked.
    """

    def __init__(self, about, tests, targets):
        self.tests = [(t.name, t.name, t.key, t.unit, t.less_is_better) for t in tests]
        self.runs = {target: {t.name: [] for t in tests} for target in targets}
        self.data = {"about": about, "targets": targets, "rows": [], "runs": self.runs}

    def add(self, target, test, result):
        self.runs[target][test].append(result)
        self.data["rows"] = [self.row(*row) for row in self.tests + [(*cost, True) for cost in COSTS] if self.known(row[1])]
        self.data["about"] |= {"foreign_load": round(self.foreign_load(), 2), "distance_ns": self.nearest()}

    def known(self, test):
        return any(test == name for name, *_ in self.tests)

    def row(self, name, test, key, unit, less_is_better):
        row = {"name": name, "unit": unit, "less_is_better": less_is_better, "values": {}}
        nearest = self.nearest()
        for target, tests in self.runs.items():
            good = [r for r in tests[test] if key in r]
            quiet = [r for r in good if not disturbed(r, nearest)]
            values = [r[key] for r in quiet or good]
            if values:
                row["values"][target] = {"median": statistics.median(values), "least": min(values), "most": max(values),
                                         "disturbed": not quiet}
            elif any("error" in r for r in tests[test]):
                row["values"][target] = {"error": next(r["error"] for r in tests[test] if "error" in r)}
        return row

    def foreign_load(self):
        """Processors that others kept busy meanwhile, as a mean; the measured programs' interrupts count as well."""
        runs = [r for tests in self.runs.values() for runs in tests.values() for r in runs]
        loads = [r["foreign_load"] for r in runs if "foreign_load" in r]
        return statistics.mean(loads) if loads else 0

    def nearest(self):
        """The least distance of the two processors that a run has seen, in ns; None where it is not known."""
        return min((r["distance_ns"] for tests in self.runs.values() for runs in tests.values() for r in runs
                    if "distance_ns" in r), default=None)

    def failed(self):
        return any("error" in r for tests in self.runs.values() for runs in tests.values() for r in runs)


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def spread(cell):
    """Half of the range, as a part of the median."""
    return (cell["most"] - cell["least"]) / 2 / cell["median"] if cell["median"] else 0


def cell_text(cell):
    if cell is None:
        return ""
    if "error" in cell:
        return "failed"
    range_text = f" ±{spread(cell):.0%}" if cell["least"] != cell["most"] else ""
    return ("? " if cell["disturbed"] else "") + number(cell["median"]) + range_text


def goals(data):
    """For each goal that these results can judge: its words, and met, missed or unsure (other programs disturbed)."""
    rows = {row["name"]: row for row in data["rows"]}
    for target, name, ratio, of in GOALS:
        row = rows.get(name, {"values": {}})
        mine, other = row["values"].get(target, {}), row["values"].get(of, {})
        if not mine.get("median") or not other.get("median"):
            continue
        if mine["disturbed"] or other["disturbed"]:
            yield f"{target}: {name}", "unsure"
            continue
        got = mine["median"] / other["median"]
        bound = "at most" if row["less_is_better"] else "at least"
        met = got <= ratio if row["less_is_better"] else got >= ratio
        yield f"{target}: {name} {got:.2f} of {of}, {bound} {ratio}", "met" if met else "missed"


def table(data):
    width = 15
    words = [target.split(" ", 1) for target in data["targets"]]
    lines = [" " * 21 + "".join(f"{w[0]:>{width}}" for w in words),
             " " * 21 + "".join(f"{w[1] if len(w) > 1 else '':>{width}}" for w in words)]
    for row in data["rows"]:
        cells = "".join(f"{cell_text(row['values'].get(t)):>{width}}" for t in data["targets"])
        lines.append(f"{row['name']:14} {row['unit']:6}" + cells)
    about = data["about"]
    lines += ["", f"medians of {about['rounds']} runs of {about['seconds']} s, ± half of the range; "
              f"{about['foreign_load']} processors were busy for others", about_line(about), ""]
    if any(cell.get("disturbed") for row in data["rows"] for cell in row["values"].values()):
        lines += ["? every run was disturbed: other programs kept the machine busy, or its host moved the processors apart", ""]
    lines += [f"{verdict:7} {words}" for words, verdict in goals(data)]
    return "\n".join(lines)


def about_line(about):
    control = about["congestion_control"]
    apart = f" {about['distance_ns']} ns apart" if about.get("distance_ns") else ""
    return (f"{about['processor']}, {about['processors']} processors{apart}, Linux {about['kernel']}, MTU {about['mtu']}, "
            f"congestion control: kernel {control['kernel']}, sluice {control['sluice']}")


def compare(old, new):
    """The rows whose undisturbed medians moved by more than both spreads together, and by more than LEAST_NOISE."""
    before = {row["name"]: row for row in old["rows"]}
    lines, same = [], 0
    for row in new["rows"]:
        for target, now in row["values"].items():
            then = before.get(row["name"], {"values": {}})["values"].get(target)
            if not then or not then.get("median") or not now.get("median") or then["disturbed"] or now["disturbed"]:
                continue
            change = now["median"] / then["median"] - 1
            if abs(change) <= max(spread(then) + spread(now), LEAST_NOISE):
                same += 1
                continue
            better = (change < 0) == row["less_is_better"]
            lines.append(f"{'better' if better else 'WORSE ':7} {target:18} {row['name']:14} "
                         f"{number(then['median']):>12} -> {number(now['median']):>12} {row['unit']:7} {change:+.0%}")
    head = f"since {old['about'].get('date', 'then')}: {len(lines)} changed, {same} within noise"
    if any(line for line in lines if " veth" in line):
        head += "; veth changed too, so the machine did"
    return "\n".join([head, *lines])


# --- the page ---

STYLE = """
:root { --ink: #1c2530; --faint: #68737f; --rule: #d9dee4; --paper: #fff; --own: #0b6e99; --other: #a9b4c0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaef; --faint: #93a0ad; --rule: #35404b; --paper: #14191f; --own: #4fb3dd; --other: #566472; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1080px;
       margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.05rem; margin: 0 0 .3rem }
p.about { color: var(--faint); margin-top: .3rem }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 1.6rem 2rem; margin: 1.5rem 0 }
svg { width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: var(--ink) }
svg .faint { fill: var(--faint) } svg .own { fill: var(--own) } svg .other { fill: var(--other) }
svg line { stroke: var(--ink) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
td, th { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--rule) }
td:first-child, th:first-child { text-align: left } .met { color: #2a8a4a } .missed { color: #c0392b }
.wide { overflow-x: auto }
"""


def plot(row, targets):
    """Bars with whiskers from the least to the greatest run."""
    left, room, step = 130, 210, 21
    shown = [t for t in targets if t in row["values"] and "median" in row["values"][t]]
    most = max((row["values"][t]["most"] for t in shown), default=0) or 1
    parts = []
    for i, target in enumerate(shown):
        cell, y = row["values"][target], i * step
        end, low, high = (left + room * cell[k] / most for k in ("median", "least", "most"))
        kind = "own" if target.startswith("sluice") else "other"
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{html.escape(target)}</text>'
                     f'<rect class="{kind}" x="{left}" y="{y + 3}" width="{end - left:.1f}" height="14" rx="2"/>'
                     f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 10}" y2="{y + 10}"/>'
                     f'<text class="faint" x="{max(end, high) + 8:.1f}" y="{y + 14}">{number(cell["median"])}</text>')
    note = "less is better" if row["less_is_better"] else ""
    return (f'<section><h2>{html.escape(row["name"])}, {html.escape(row["unit"])} <small>{note}</small></h2>'
            f'<svg viewBox="0 0 430 {max(len(shown), 1) * step + 4}" role="img">{"".join(parts)}</svg></section>')


def page(data):
    head = "".join(f"<th>{html.escape(t)}</th>" for t in data["targets"])
    rows = "".join(
        f"<tr><td>{html.escape(row['name'])}, {html.escape(row['unit'])}</td>"
        + "".join(f"<td>{html.escape(cell_text(row['values'].get(t)))}</td>" for t in data["targets"]) + "</tr>"
        for row in data["rows"])
    judged = "".join(f'<li class="{verdict}">{html.escape(words)}: {verdict}</li>' for words, verdict in goals(data))
    about = data["about"]
    return (f"<!doctype html><html lang=en><meta charset=utf-8><title>sluice: benchmarks</title><style>{STYLE}</style>"
            f"<h1>sluice over a tap</h1><p class=about>{html.escape(about['date'])} · {html.escape(about_line(about))}<br>"
            f"medians of {about['rounds']} runs of {about['seconds']} s; whiskers and ± show the range</p>"
            f"<div class=plots>{''.join(plot(row, data['targets']) for row in data['rows'])}</div>"
            f"<h2>Goals</h2><ul>{judged}</ul><h2>All numbers</h2><div class=wide><table><tr><th></th>{head}</tr>{rows}"
            f"</table></div></html>\n")
