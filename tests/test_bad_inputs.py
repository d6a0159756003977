"""Each bad input ends as docs/bad-inputs.md says, and takes little memory."""

from __future__ import annotations

import tracemalloc

import pytest

import bad_inputs
from bad_inputs import Bad

INPUTS = bad_inputs.inputs()
WRITTEN = bad_inputs.written()
MOST_MEMORY = 6 * 2**20


@pytest.mark.parametrize("each", INPUTS, ids=lambda each: f"{each.entry}: {each.what}")
def test_each_ends_as_it_is_written(each: Bad) -> None:
    tracemalloc.start()
    try:
        outcome = each.outcome()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert bad_inputs.shown(outcome) == WRITTEN[each.area, bad_inputs.cell(each.what), each.entry]
    assert peak < MOST_MEMORY


def test_the_document_says_nothing_else() -> None:
    found = [(each.area, bad_inputs.cell(each.what), each.entry) for each in INPUTS]
    assert sorted(found) == sorted(WRITTEN)
