"""Long curves thinned for a screen: nothing that a reader must see may get lost."""

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workbench.widgets.svg import _THEMED, themed, thinned

NAN = float("nan")
COLUMNS = 20

values = arrays(
    np.float64,
    st.integers(1, 400),
    elements=st.one_of(st.floats(-1e6, 1e6), st.just(NAN), st.just(float("inf"))),
)
few_gaps = st.builds(
    lambda whole, holes: np.where(np.isin(np.arange(len(whole)), list(holes)), NAN, whole),
    arrays(np.float64, st.integers(50, 400), elements=st.floats(-1e6, 1e6)),
    st.sets(st.integers(0, 399), max_size=COLUMNS),
)


def kept(curve: np.ndarray, columns: int = COLUMNS) -> list[int]:
    return thinned(np.arange(len(curve), dtype=float), curve, columns).tolist()


@given(values)
def test_the_ends_and_the_global_extremes_stay(curve):
    places = kept(curve)
    assert {places[0], places[-1]} == {0, len(curve) - 1}
    finite = curve[np.isfinite(curve)]
    if len(finite):
        left = curve[places][np.isfinite(curve[places])]
        assert (left.min(), left.max()) == (finite.min(), finite.max())


@given(few_gaps)
def test_every_edge_of_every_gap_stays(curve):
    places = set(kept(curve))
    missing = np.isnan(curve)
    for place in range(1, len(curve)):
        if missing[place] != missing[place - 1]:
            known = place - 1 if missing[place] else place
            assert known in places
    drawn = missing[sorted(places)]
    runs = int(missing[0]) + int((~missing[:-1] & missing[1:]).sum())
    assert int(drawn[0]) + int((~drawn[:-1] & drawn[1:]).sum()) == runs


@given(values)
def test_a_column_keeps_its_own_extremes(curve):
    places = kept(curve)
    column = np.minimum(np.arange(len(curve)) / max(len(curve) - 1, 1) * COLUMNS, COLUMNS - 1).astype(int)
    for number in range(COLUMNS):
        whole = curve[(column == number) & np.isfinite(curve)]
        left = curve[[place for place in places if column[place] == number and np.isfinite(curve[place])]]
        if len(whole):
            assert (left.min(), left.max()) == (whole.min(), whole.max())


@given(values)
def test_places_rise_without_repeats_and_are_few(curve):
    places = kept(curve)
    assert places == sorted(set(places))
    assert len(places) <= max(2 * COLUMNS, 7 * COLUMNS + 2)


def test_a_short_curve_stays_whole():
    assert kept(np.array([3.0, 1.0, NAN, 2.0])) == [0, 1, 2, 3]


def test_one_spike_and_one_hole_among_ten_thousand_stay():
    curve = np.ones(10_000)
    curve[4_321], curve[7_777] = 9.0, NAN
    places = kept(curve, 486)
    assert {4_321, 7_776, 7_777, 7_778} <= set(places)
    assert len(places) < 2_000


def test_where_every_other_value_is_missing_each_column_still_shows_a_gap():
    curve = np.where(np.arange(100_000) % 2, NAN, 1.0)
    places = thinned(np.arange(100_000.0), curve, 100)
    assert len(places) <= 702
    assert np.isnan(curve[places]).sum() >= 100


def test_steps_far_apart_are_thinned_by_where_they_lie():
    across = np.append(np.arange(1_000.0), 1_000_000.0)
    assert thinned(across, np.arange(1_001.0), 10).tolist() == [0, 999, 1_000]


def test_a_million_points_are_thinned_in_less_than_half_a_second():
    curve = np.sin(np.arange(1_000_000.0))
    thinned(np.arange(1_000_000.0), curve, 486)
    started = time.thread_time()
    thinned(np.arange(1_000_000.0), curve, 486)
    assert time.thread_time() - started < 0.5


def luminance(colour: str) -> float:
    """By WCAG 2.2, of a colour as #rrggbb."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_every_colour_is_readable_on_a_light_page_and_on_a_dark_one():
    assert contrast("#000000", "#ffffff") == 21
    for _, light, dark in _THEMED.values():
        assert contrast(light, "#ffffff") >= 4.5
        assert contrast(dark, "#2b2b2b") >= 4.5


def test_a_drawing_takes_the_colours_of_its_page():
    shown = themed('<svg><path stroke="#0072B2"/></svg>', 760)
    assert '<path stroke="var(--wb-blue,#0072B2)"/>' in shown
    assert "[data-jp-theme-light=false] .wb-svg" in shown
