"""Which of the strongest atoms are on in the same calls, as a network."""

from __future__ import annotations

from collections import Counter

import networkx
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from consilience.domains.variants.coactivation import strongest
from consilience.domains.variants.levels import FALSE_SHARE
from consilience.domains.variants.marks import COLORS, OF_CALLS, color_of, handle, key_row, plural
from consilience.figures.style import BLACK, ORANGE, empty_figure, entitle, new_figure, styled

NEAREST = 2  # lines of an atom: its pairs of largest lift
AREAS = (190, 540)  # of atoms, square points
WIDTHS = (0.6, 4.0)  # of lines, points, at a lift of 1 and of MOST
MOST = 8.0
ALIKE, OPPOSED = "#B8B8B8", ORANGE
ASPECT = 2.0  # width of the field relative to its height
STRETCH = 1.35  # of a single part, which has the field for itself: its width grows, its height falls by so much
GAP = 0.5  # between parts; an atom has a square of side 1
APART, PATIENCE = 0.62, 200
FIELD = (1.05, 3.6)  # inches, the least and the most height of the field of pairs
ROOM = 0.35  # inches above and below the circles' middles
UNIT = 0.8  # inches of an atom's square, where the field has room
SIDE_BY_SIDE = 12  # atoms without a line, in one row
TITLE = "Which of the strongest atoms are on together"


def clear_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs that are on together more often than chance gives, for certain, the largest lift first."""
    clear = pairs[(pairs["q_value"] < FALSE_SHARE) & (pairs["lift"] > 1)]
    return clear.sort_values(["lift", "atom_a", "atom_b"], ascending=[False, True, True], ignore_index=True)


def drawn_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return of `clear_pairs` those that are among the `NEAREST` of one of their atoms."""
    seen, near = Counter(), []
    for row in pairs.itertuples():
        near.append(min(seen[row.atom_a], seen[row.atom_b]) < NEAREST)
        seen.update((row.atom_a, row.atom_b))
    return pairs[np.array(near, bool)]


def layout(atoms: list[int], pairs: pd.DataFrame) -> tuple[dict[int, tuple[float, float]], list[int]]:
    """Return the places of atoms that have a pair, and those that have none; the same for the same pairs.

    Connected parts are laid out by themselves (Kamada & Kawai 1989; pairs of larger lift nearer), then set in rows.
    """
    graph = networkx.Graph()
    graph.add_nodes_from(sorted(atoms))
    for row in pairs.itertuples():
        graph.add_edge(row.atom_a, row.atom_b, distance=1 / np.sqrt(np.log2(1 + min(row.lift, 2 * MOST))))
    parts = sorted((sorted(part) for part in networkx.connected_components(graph)), key=lambda part: (-len(part), part))
    joined = [part for part in parts if len(part) > 1]
    stretch = STRETCH if len(joined) == 1 else 1.0
    total = np.sqrt(ASPECT * sum(len(part) for part in joined))
    places, left, bottom, height = {}, 0.0, 0.0, 0.0
    for part in joined:
        side = np.sqrt(len(part))
        if left and left + side > 1.2 * total:
            left, bottom, height = 0.0, bottom - height - GAP, 0.0
        found = _within(graph, part, np.array([side * stretch, side / stretch]))
        places |= {atom: (left + x, bottom - y) for atom, (x, y) in zip(part, found.tolist(), strict=True)}
        left, height = left + side + GAP, max(height, side)
    return places, [part[0] for part in parts if len(part) == 1]


def _within(graph: networkx.Graph, part: list[int], size: np.ndarray) -> np.ndarray:
    """Return the places (atoms, 2) of one connected part in a field of this size (2,), a pair along its diagonal."""
    if len(part) == 2:
        return np.array([[0.15, 0.3], [0.85, 0.7]]) * size
    own = networkx.Graph()
    own.add_nodes_from(part)
    edges = sorted(graph.edges(part, data="distance"), key=lambda edge: (min(edge[:2]), max(edge[:2])))
    own.add_weighted_edges_from(edges, weight="distance")
    found = networkx.kamada_kawai_layout(own, weight="distance")
    values = np.array([found[atom] for atom in part])
    values = size * (values - values.min(axis=0)) / np.maximum(np.ptp(values, axis=0), 1e-9)
    return _apart(values)


def _apart(values: np.ndarray) -> np.ndarray:
    """Move places (atoms, 2) away from each other until none are nearer than `APART`, or patience ends."""
    values = values.copy()
    for _ in range(PATIENCE):
        away = values[:, None] - values[None]
        distance = np.hypot(away[..., 0], away[..., 1])
        np.fill_diagonal(distance, np.inf)
        if distance.min() >= APART:
            break
        push = np.maximum(APART - distance, 0) / 2
        values += ((push / np.maximum(distance, 1e-9))[..., None] * away).sum(axis=1)
    return values


@styled
def coactivation_network(pairs: pd.DataFrame, table: pd.DataFrame, network: int) -> Figure:
    """Draw the `network` strongest atoms, those joined that are on together more often than chance gives.

    `pairs` is coactivation.tsv, `table` sae_feature_bias_analysis.csv.
    """
    if table.empty:
        return empty_figure(TITLE, "No atom is on in enough training calls to be tested.")
    atoms, clear = strongest(table, network).set_index("atom"), clear_pairs(pairs)
    drawn = drawn_pairs(clear)
    places, alone = layout(list(atoms.index), drawn)
    rows = [alone[start : start + SIDE_BY_SIDE] for start in range(0, len(alone), SIDE_BY_SIDE)]
    heights = [_field(places)] if places else []
    heights += [0.3 + 0.42 * len(rows)] * bool(rows)
    figure = new_figure(6.8, 1.5 + sum(heights))
    panels = list(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    if places:
        _lines(panels[0], drawn, places, atoms["direction"])
        _atoms(panels[0], places, atoms)
        panels[0].margins(0.08, ROOM / heights[0])
    if rows:
        spread = {atom: (place, -line) for line, row in enumerate(rows) for place, atom in enumerate(row)}
        _atoms(panels[-1], spread, atoms)
        panels[-1].set(aspect="auto", xlim=(-0.6, SIDE_BY_SIDE - 0.4), ylim=(0.4 - len(rows), 0.6))
        panels[-1].set_title("On with no other of these more often than chance gives")
    _keys(panels[0], atoms, drawn)
    entitle(figure, _message(clear, atoms), _caption(atoms, clear, drawn))
    return figure


def _field(places: dict[int, tuple[float, float]]) -> float:
    """Return the height, in inches, of the field that holds atoms at `places`: few need little of a page."""
    return float(np.clip(UNIT * (0.7 + np.ptp([y for _, y in places.values()])), *FIELD))


def _lines(axes: Axes, pairs: pd.DataFrame, places: dict[int, tuple[float, float]], directions: pd.Series) -> None:
    ends = [(places[row.atom_a], places[row.atom_b]) for row in pairs.itertuples()]
    opposed = _opposed(pairs, directions)
    share = np.log2(np.clip(pairs["lift"].to_numpy(), 1, MOST)) / np.log2(MOST)
    colors = np.where(opposed, OPPOSED, ALIKE)
    widths = WIDTHS[0] + (WIDTHS[1] - WIDTHS[0]) * share
    axes.add_collection(LineCollection(ends, colors=colors, linewidths=widths, capstyle="round", zorder=1))


def _opposed(pairs: pd.DataFrame, directions: pd.Series) -> np.ndarray:
    """Say which pairs (pairs,) speak for different classes."""
    return (directions[pairs["atom_a"]].to_numpy() != directions[pairs["atom_b"]].to_numpy()).astype(bool)


def _atoms(axes: Axes, places: dict[int, tuple[float, float]], atoms: pd.DataFrame) -> None:
    most = max(1, atoms["support"].max())
    for atom, (x, y) in places.items():
        row = atoms.loc[atom]
        area = AREAS[0] + (AREAS[1] - AREAS[0]) * row["support"] / most
        full = bool(row["significant"])
        color = color_of(row["direction"], full)
        axes.scatter(x, y, s=area, color=[color], edgecolor="white", linewidth=1.2, zorder=2, clip_on=False)
        axes.text(
            x, y, str(atom), ha="center", va="center", fontweight="bold", zorder=3,
            fontsize=6.5 if len(str(atom)) < 4 else 5.4, color="white" if full else BLACK,
        )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_visible(False)


def _keys(axes: Axes, atoms: pd.DataFrame, drawn: pd.DataFrame) -> None:
    found = [
        handle(f"on more in {OF_CALLS[name]}", color)
        for name, color in COLORS.items()
        if (atoms["direction"] == name).any()
    ]
    if not atoms["significant"].all():
        found.append(handle("not significant (light)", color_of("none", False)))
    opposed = _opposed(drawn, atoms["direction"])
    lines = {"linestyle": "-", "marker": "", "linewidth": 2.4}
    if (~opposed).any():
        found.append(handle("pair of one direction", ALIKE, **lines))
    if opposed.any():
        found.append(handle("of both", OPPOSED, **lines))
    key_row(axes, found, 4)


def _message(clear: pd.DataFrame, atoms: pd.DataFrame) -> str:
    if clear.empty:
        return f"None of the {plural(len(atoms), 'strongest atom')} is on with another more often than by chance"
    opposed = int(_opposed(clear, atoms["direction"]).sum())
    told = f"{plural(len(clear), 'pair')} of atoms {'is' if len(clear) == 1 else 'are'} on together"
    return f"{told}; {opposed or 'none'} {'is' if opposed == 1 else 'are'} of both directions"


def _caption(atoms: pd.DataFrame, clear: pd.DataFrame, drawn: pd.DataFrame) -> str:
    lines = (
        f"Lines, thicker for a larger lift: of {len(clear)} such pairs the {len(drawn)} that are among the {NEAREST} "
        "of largest lift of an atom. "
    )
    opposed = [_opposed(pairs, atoms["direction"]).any() for pairs in (clear, drawn)]
    if opposed == [True, False]:
        lines += "None of both directions is among these. "
    return (
        f"The {plural(len(atoms), 'strongest atom')} by bias; a circle's area is how many training calls have it on. "
        "Joined: on in the same calls more often than independent atoms would be (hypergeometric test, q < "
        f"{FALSE_SHARE} over all pairs). {lines if len(clear) else ''}Where circles lie means nothing else.\nIt "
        "looks bad where all circles hang together in one clump: then many atoms tell one thing, and a consensus "
        "counts it many times."
    )
