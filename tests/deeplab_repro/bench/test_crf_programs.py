"""The dense CRF's problem and the programs that solve it."""

import torch

from deeplab_repro.bench.cases import CrfCase
from deeplab_repro.bench.crf_programs import EXACT_BOUND, drawn_scores, exact_crf, problem_of, programs

CASE = CrfCase("busy", height=17, width=21, labels=4, iterations=2, batch=2)


def test_a_case_has_the_same_problem_every_time_and_each_image_its_own():
    first, again = problem_of(CASE), problem_of(CASE)
    assert first.images.shape == (2, 17, 21, 3)
    assert first.scores.shape == (2, 4, 17, 21)
    assert first.params.iterations == 2
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.scores, again.scores)
    assert not torch.equal(first.images[0], first.images[1])
    assert not torch.equal(first.scores[0], first.scores[1])
    assert torch.equal(first.scores[0], drawn_scores(CASE, CASE.first_seed + 1))


def test_drawn_scores_leave_confident_and_doubtful_pixels():
    case = CrfCase("busy", height=120, width=160, labels=21, iterations=1)
    best = drawn_scores(case).softmax(0).max(0).values
    assert best.min() < 0.3
    assert best.max() > 0.9
    assert best.diff(dim=0).abs().max() < 0.2  # smooth, as upsampled scores are


def test_programs_agree_on_the_cpu():
    calls = programs(CASE, "cpu")
    marginals = {name: torch.as_tensor(call()) for name, call in calls.items()}
    assert "ours" in marginals
    assert "float16" not in marginals
    for name, values in marginals.items():
        assert values.shape == (2, 4, 17, 21)
        # pydensecrf builds its lattice from other roundings.
        assert (values - marginals["ours"]).abs().mean() < 1e-4, name


def test_the_exact_mode_leaves_out_no_more_than_its_bound():
    problem = problem_of(CASE)
    crf = exact_crf(problem)
    assert bool((crf.error_bound <= EXACT_BOUND).all())
