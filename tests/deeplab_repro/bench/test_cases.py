"""Shapes that are timed: their names, sizes and lists."""

import pytest

from deeplab_repro.bench import net
from deeplab_repro.bench.cases import (
    CONV_CASES,
    CRF_GPU_CASES,
    LARGE_NET_CASES,
    MOST_ENERGIES,
    NET_CASES,
    ConvCase,
    NetCase,
    conv_cases,
    crf_cases,
)


def test_crf_cases_of_the_gate_are_named_apart():
    names = [case.name for case in CRF_GPU_CASES]
    assert len(set(names)) == len(names) == 8
    assert max(case.energies for case in CRF_GPU_CASES) <= MOST_ENERGIES


def test_crf_cases_fit_into_memory():
    assert [case.labels for case in crf_cases()] == [21, 21]
    many = crf_cases(full=True, batches=(1, 8))
    assert {(case.height, case.labels, case.batch) for case in many} >= {(1024, 60, 1), (321, 150, 8), (375, 150, 1)}
    assert max(case.energies for case in many) <= MOST_ENERGIES


# Shares of valid products as they were counted for the table of shapes.
@pytest.mark.parametrize(("rate", "size", "valid"), [(6, 41, 0.81), (24, 41, 0.37), (12, 65, 0.77), (24, 65, 0.57)])
def test_valid_share(rate, size, valid):
    assert ConvCase("fc6", 512, 1024, 3, rate, size).valid == pytest.approx(valid, abs=0.005)


def test_the_short_list_is_part_of_the_long_one():
    assert len(conv_cases()) == 6
    assert set(conv_cases()) < set(CONV_CASES) == set(conv_cases(full=True))
    assert {case.batch for case in conv_cases(batches=(1, 10))} == {1, 10}
    assert {case.size for case in CONV_CASES} == {41, 65, 97}
    named = conv_cases(batches=(1, 10), only=r"4x4 r8 65 n10$")
    assert [case.name for case in named] == ["fc6 512->1024 4x4 r8 65 n10"]


def test_cases_name_blobs_of_their_nets():
    for case in (*NET_CASES, *LARGE_NET_CASES):
        options = {**case.options, "width": 1 / 32, "size": (65, 65)}
        assert case.scores in net.build(NetCase(case.title, case.model, case.scores, 65, options)).spec.blobs
