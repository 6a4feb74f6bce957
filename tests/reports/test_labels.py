"""Do the names of points keep clear of points, lines and each other?"""

from __future__ import annotations

import numpy
import pytest

from benchbench.reports.labels import place

BOUNDS = (0.0, 0.0, 400.0, 300.0)
NO_LINES = numpy.zeros((0, 4))


def boxes(anchors: numpy.ndarray, sizes: list[tuple[float, float]], lines: numpy.ndarray = NO_LINES) -> numpy.ndarray:
    corners = place(anchors, sizes, anchors, lines, BOUNDS)
    return numpy.concatenate([corners, corners + numpy.array(sizes)], axis=1)


def overlaps(first: numpy.ndarray, second: numpy.ndarray) -> bool:
    return bool((first[:2] < second[2:]).all() and (second[:2] < first[2:]).all())


@pytest.mark.parametrize("seed", range(4))
def test_the_labels_of_a_crowd_do_not_overlap_each_other_or_a_point(seed: int) -> None:
    anchors = numpy.random.default_rng(seed).uniform((60, 60), (340, 240), (14, 2))
    found = boxes(anchors, [(60.0, 8.0)] * len(anchors))
    assert not [(i, j) for i in range(14) for j in range(i) if overlaps(found[i], found[j])]
    marks = numpy.concatenate([anchors - 3, anchors + 3], axis=1)
    assert not [(i, j) for i in range(14) for j in range(14) if overlaps(found[i], marks[j])]


def test_points_in_the_same_place_get_labels_in_different_places() -> None:
    found = boxes(numpy.full((4, 2), 150.0), [(40.0, 8.0)] * 4)
    assert not [(i, j) for i in range(4) for j in range(i) if overlaps(found[i], found[j])]


def test_a_lone_label_stands_to_the_right_of_its_point() -> None:
    (box,) = boxes(numpy.array([[100.0, 100.0]]), [(40.0, 8.0)])
    assert box[0] > 100
    assert box[1] < 100 < box[3]


def test_a_label_at_the_edge_stays_inside_the_panel() -> None:
    (box,) = boxes(numpy.array([[395.0, 150.0]]), [(60.0, 8.0)])
    assert box[2] <= 400


def test_a_label_steps_off_a_line() -> None:
    (box,) = boxes(numpy.array([[100.0, 100.0]]), [(60.0, 8.0)], numpy.array([[100.0, 100.0, 300.0, 100.0]]))
    assert box[1] > 100 or box[3] < 100


def test_the_same_points_give_the_same_places() -> None:
    anchors = numpy.random.default_rng(3).uniform(50, 250, (10, 2))
    sizes = [(50.0, 8.0)] * 10
    assert numpy.array_equal(boxes(anchors, sizes), boxes(anchors.copy(), sizes))
