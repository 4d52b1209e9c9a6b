"""Intervals that are there."""


def ends_of(one):
    """Low and high of an estimate, a score or a gain."""
    assert one.low is not None
    assert one.high is not None
    return one.low, one.high
