# SPDX-License-Identifier: LGPL-2.1-or-later
"""From rounds of figures to ratios, intervals, verdicts and the table."""
import random
import statistics

from contenders import DIRECT, OURS

RESAMPLES = 2000


def interval(ratios):
    """Bootstrap 95 % interval of the median."""
    dice = random.Random(len(ratios))
    medians = sorted(statistics.median(dice.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975) - 1]


def verdict(median, upper):
    return "first or equal" if upper >= 1.0 and median >= 0.95 else "behind" if median >= 0.9 else "below 0.9"


class Samples:
    """Figures of one row: name -> one dict a round, None where the measurement failed."""

    def __init__(self, names):
        self.rounds = {name: [] for name in names}

    def add(self, name, figures):
        self.rounds[name].append(figures)

    def values(self, name, key):
        return [figures[key] for figures in self.rounds.get(name, []) if figures and key in figures]

    def median(self, name, key):
        values = self.values(name, key)
        return statistics.median(values) if values else None

    def pairs(self, one, other, key):
        """Figures of the rounds in which both were measured."""
        return [(a[key], b[key]) for a, b in zip(self.rounds.get(one, []), self.rounds.get(other, []))
                if a and b and key in a and key in b]


def best_peer(samples, names, line):
    medians = {name: samples.median(name, line.key) for name in names if name not in (DIRECT, OURS)}
    known = {name: value for name, value in medians.items() if value is not None}
    if not known:
        return None
    return (min if line.lower else max)(known, key=known.get)


def ratios(samples, peer, line):
    """Ours to the peer's, above 1 where ours is better."""
    pairs = samples.pairs(OURS, peer, line.key)
    return [(theirs / ours if line.lower else ours / theirs) for ours, theirs in pairs
            if (ours if line.lower else theirs) > 0]


def compare(samples, names, line):
    """(best peer, median ratio, interval) or None where there is nothing to compare."""
    best = best_peer(samples, names, line)
    found = ratios(samples, best, line) if best and line.judged else []
    return (best, statistics.median(found), interval(found)) if found else None


def reaches_goal(samples, line):
    """The verdict on a ratio to a certain peer."""
    peer, wanted = line.goal
    found = ratios(samples, peer, line)
    if not found:
        return f", nothing to compare with {peer}"
    median = statistics.median(found)
    return f", {median:.2f} of {peer}" + ("" if median >= wanted else f" (wanted {wanted})")


def bounded(value, line):
    """The verdict on a figure of ours that has a bound of its own."""
    if value is None or (line.most is None and line.least is None):
        return ""
    bound = f"at most {line.most:g}" if line.most is not None else f"at least {line.least:g}"
    kept = value <= line.most if line.most is not None else value >= line.least
    return bound if kept else f"wanted {bound}"


def counted(samples, names, line):
    """The verdict on what was counted once."""
    best, ours = best_peer(samples, names, line), samples.median(OURS, line.key)
    if best is None or ours is None:
        return ""
    return "first or equal" if ours >= samples.median(best, line.key) else "behind"


def cell(samples, name, line):
    value = samples.median(name, line.key)
    if value is None:
        return "–" if any(samples.rounds.get(name, [])) else "failed"
    text = line.show.format(value * line.scale)
    if line.note and samples.median(name, line.note) is not None:
        text += f" ({line.note_show.format(samples.median(name, line.note))})"
    failed = samples.rounds[name].count(None)
    return f"{text} (failed {failed} of {len(samples.rounds[name])})" if failed else text


def table_line(samples, row, line):
    names = [name for name in row.names() if name in samples.rounds]
    best = best_peer(samples, names, line)
    others = [name for name in names if name not in (DIRECT, OURS, best)]
    compared = compare(samples, names, line)
    cells = [line.title, cell(samples, DIRECT, line) if DIRECT in names else "–",
             cell(samples, OURS, line) if OURS in names else "–",
             f"{best} {cell(samples, best, line)}" if best else "–",
             ", ".join(f"{name} {cell(samples, name, line)}" for name in others)]
    if row.once:
        cells += ["", counted(samples, names, line)]
    elif compared:
        _, median, (lower, upper) = compared
        cells += [f"{median:.2f} [{lower:.2f}, {upper:.2f}]", verdict(median, upper) + (reaches_goal(samples, line) if line.goal else "")]
    else:
        cells += ["", bounded(samples.median(OURS, line.key), line)]
    return "| " + " | ".join(cells) + " |"


HEAD = ("| load | direct | virt-forward | best peer | others | ratio [95 %] | |\n"
        "|---|---|---|---|---|---|---|")
