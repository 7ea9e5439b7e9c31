"""The stand-in for pydensecrf: the same scripts, against the real one where it is installed."""

from itertools import product

import numpy as np
import pytest

import deeplab_repro.compat.pydensecrf.densecrf as ours
import deeplab_repro.compat.pydensecrf.utils as our_utils

NORMALIZATIONS = ["NO_NORMALIZATION", "NORMALIZE_BEFORE", "NORMALIZE_AFTER", "NORMALIZE_SYMMETRIC"]
WIDTH, HEIGHT, LABELS = 36, 25, 4


@pytest.fixture
def theirs():
    return pytest.importorskip("pydensecrf.densecrf", reason="pip install pydensecrf2")


@pytest.fixture
def their_utils():
    return pytest.importorskip("pydensecrf.utils", reason="pip install pydensecrf2")


def photo(seed=0, height=HEIGHT, width=WIDTH):
    """A smooth image with some noise, uint8 [h, w, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(a * x + b * y + c) for a, b, c in random.uniform(-0.3, 0.3, (3, 3))]
    return (128 + 90 * np.stack(waves, -1) + random.uniform(-9, 9, (height, width, 3))).astype(np.uint8)


def probabilities(seed=0, height=HEIGHT, width=WIDTH):
    scores = 2 * np.random.default_rng(seed).normal(size=(LABELS, height, width))
    return (np.exp(scores) / np.exp(scores).sum(0)).astype(np.float32)


def compatibility(kind, seed=0):
    random = np.random.default_rng(seed)
    return {
        "number": 3,
        "diagonal": (-3 * random.random(LABELS)).astype(np.float32),
        "matrix": random.normal(size=(LABELS, LABELS)).astype(np.float32),
    }[kind]


def agree(got, want):
    """The tolerances for ports: mean 1e-6, isolated pixels more; labels equal but for one in a thousand pixels."""
    got, want = np.array(got), np.array(want)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    difference = np.abs(got - want)
    assert difference.mean() < 2e-6
    assert np.quantile(difference, 0.999) < 1e-4
    assert (got.argmax(0) != want.argmax(0)).mean() <= 1e-3


def two_kernels(dcrf, utils, gaussian, bilateral, kinds, seed=0):
    """A script as people write it."""
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, LABELS)
    crf.setUnaryEnergy(utils.unary_from_softmax(probabilities(seed)))
    crf.addPairwiseGaussian(
        sxy=(3, 2), compat=compatibility(gaussian), kernel=dcrf.DIAG_KERNEL, normalization=getattr(dcrf, kinds[0])
    )
    crf.addPairwiseBilateral(
        sxy=20, srgb=(13, 20, 9), rgbim=photo(seed), compat=compatibility(bilateral), kernel=dcrf.FULL_KERNEL,
        normalization=getattr(dcrf, kinds[1]),
    )  # fmt: skip
    return crf


@pytest.mark.parametrize("kind", ["number", "diagonal", "matrix"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS[1:])
def test_inference_equals_pydensecrf(theirs, their_utils, normalization, kind) -> None:
    kinds = [normalization, normalization]
    want = two_kernels(theirs, their_utils, kind, kind, kinds).inference(5)
    agree(two_kernels(ours, our_utils, kind, kind, kinds).inference(5), want)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("gaussian", "bilateral", "kinds"),
    [
        ("number", "matrix", NORMALIZATIONS[2:]),
        ("diagonal", "number", NORMALIZATIONS[1:3]),
        ("number", "number", NORMALIZATIONS[2:]),
    ],
)
def test_kernels_may_differ_in_compatibility_and_normalization(
    theirs, their_utils, gaussian, bilateral, kinds, seed
) -> None:
    want = two_kernels(theirs, their_utils, gaussian, bilateral, kinds, seed).inference(4)
    agree(two_kernels(ours, our_utils, gaussian, bilateral, kinds, seed).inference(4), want)


def test_without_normalization_the_labels_agree(theirs, their_utils) -> None:
    kinds = ["NO_NORMALIZATION"] * 2
    want = np.array(two_kernels(theirs, their_utils, "number", "number", kinds).inference(5))
    got = two_kernels(ours, our_utils, "number", "number", kinds).inference(5)
    # Arguments of order 100s saturate the softmax.
    assert np.abs(got - want).mean() < 1e-4


def test_defaults_are_the_same(theirs, their_utils) -> None:
    def script(dcrf, utils):
        crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, LABELS)
        crf.setUnaryEnergy(utils.unary_from_labels(photo()[..., 0] // 64 + 1, LABELS, 0.7))
        crf.addPairwiseGaussian(3, 3)
        crf.addPairwiseBilateral(20, 13, photo(), 10)
        return crf.inference(5)

    agree(script(ours, our_utils), script(theirs, their_utils))


def test_any_features_in_any_dimension(theirs, their_utils) -> None:
    def script(dcrf, utils):
        shape = (8, 9, 10)
        random = np.random.default_rng(3)
        volume = random.random((8, 9, 10, 2)).astype(np.float32)
        crf = dcrf.DenseCRF(8 * 9 * 10, 3)
        energy = utils.unary_from_softmax(random.dirichlet(np.ones(3), 720).T.astype(np.float32), scale=0.9)
        crf.setUnaryEnergy(energy)
        crf.addPairwiseEnergy(utils.create_pairwise_gaussian((2, 2, 1.5), shape), compat=3)
        features = utils.create_pairwise_bilateral((3, 4, 5), 0.2, volume, chdim=3)
        crf.addPairwiseEnergy(features, 2, dcrf.CONST_KERNEL, dcrf.NORMALIZE_BEFORE)
        return crf.inference(3)

    agree(script(ours, our_utils), script(theirs, their_utils))


def test_step_by_step_and_kl_divergence(theirs, their_utils) -> None:
    def script(dcrf, utils):
        crf = two_kernels(dcrf, utils, "matrix", "number", NORMALIZATIONS[2:])
        q, tmp1, tmp2 = crf.startInference()
        states, divergences = [np.array(q)], []
        for _ in range(4):
            divergences.append(crf.klDivergence(q))
            crf.stepInference(q, tmp1, tmp2)
            states.append(np.array(q))
        return states, divergences

    (got, divergence), (want, reference) = script(ours, our_utils), script(theirs, their_utils)
    for ours_then, theirs_then in zip(got, want, strict=True):
        agree(ours_then, theirs_then)
    np.testing.assert_allclose(divergence, reference, rtol=1e-4)


def test_steps_give_what_inference_gives() -> None:
    crf = two_kernels(ours, our_utils, "number", "number", ["NORMALIZE_SYMMETRIC"] * 2)
    q, tmp1, tmp2 = crf.startInference()
    for _ in range(3):
        crf.stepInference(q, tmp1, tmp2)
    np.testing.assert_allclose(q, crf.inference(3), atol=1e-5)
    np.testing.assert_array_equal(crf.map(3), crf.inference(3).argmax(0))


def test_other_unaries(theirs) -> None:
    random = np.random.default_rng(1)
    weights, features = (random.random(shape).astype(np.float32) for shape in ((3, 2), (2, 12)))

    def script(dcrf):
        results = []
        for unary in (dcrf.ConstUnary(weights @ features), dcrf.LogisticUnary(weights, features)):
            crf = dcrf.DenseCRF(12, 3)
            crf.setUnary(unary)
            results.append(np.array(crf.inference(1)))
        return results

    for got, want in zip(script(ours), script(theirs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_no_kernels_or_iterations_give_the_softmax(theirs) -> None:
    energy = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    for dcrf, count in product((ours, theirs), (0, 2)):
        crf = dcrf.DenseCRF(8, 3)
        crf.setUnaryEnergy(energy)
        np.testing.assert_allclose(np.array(crf.inference(count)), np.exp(-energy) / np.exp(-energy).sum(0), rtol=1e-5)


def add_gaussian(dcrf, crf, std):
    crf.addPairwiseGaussian(std, 3)


def add_close(dcrf, crf, std):
    crf.addPairwiseBilateral(std, 13, photo(), 5)


def add_alike(dcrf, crf, std):
    crf.addPairwiseBilateral(20, std, photo(), 5)


def of_one_kernel(dcrf, utils, add, std):
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, LABELS)
    crf.setUnaryEnergy(utils.unary_from_softmax(probabilities()))
    add(dcrf, crf, std)
    return crf.inference(3)


@pytest.mark.parametrize("std", [0.05, 1e-4, -3, np.inf])
@pytest.mark.parametrize("add", [add_gaussian, add_close, add_alike])
def test_deviations_near_zero_below_it_and_without_end_are_taken_as_there(theirs, their_utils, add, std) -> None:
    agree(of_one_kernel(ours, our_utils, add, std), of_one_kernel(theirs, their_utils, add, std))


@pytest.mark.parametrize("add", [add_gaussian, add_close, add_alike])
def test_a_tiny_deviation_leaves_each_pixel_alone(add) -> None:
    """Without a neighbour the normalised filter gives a pixel its own marginals."""
    weight = 3 if add is add_gaussian else 5
    energy = our_utils.unary_from_softmax(probabilities())
    q = np.exp(-energy) / np.exp(-energy).sum(0)
    for _ in range(3):
        q = np.exp(weight * q - energy)
        q /= q.sum(0)
    got = of_one_kernel(ours, our_utils, add, 1e-4)
    if add is add_alike:
        # Pixels of one colour lie in one place but for their position.
        assert np.abs(got - q).mean() < 0.1
    else:
        np.testing.assert_allclose(got, q, atol=1e-5)


@pytest.mark.parametrize("std", [1e-9, 0, np.nan])
@pytest.mark.parametrize("add", [add_gaussian, add_close, add_alike])
def test_deviations_at_which_pydensecrf_dies_are_refused(add, std) -> None:
    """There the process ends with a signal: the int16 keys of a lattice of such features point anywhere."""
    with pytest.raises(RuntimeError, match="a standard deviation near 0"):
        of_one_kernel(ours, our_utils, add, std)


@pytest.mark.parametrize("columns", [64, 65, 100])
def test_features_of_many_columns(theirs, their_utils, columns) -> None:
    def script(dcrf):
        random = np.random.default_rng(columns)
        crf = dcrf.DenseCRF(60, 3)
        crf.setUnaryEnergy(random.random((3, 60)).astype(np.float32))
        features = (0.05 * random.normal(size=(columns, 60))).astype(np.float32)
        crf.addPairwiseEnergy(features, 3, dcrf.DIAG_KERNEL, dcrf.NORMALIZE_AFTER)
        return crf.inference(3)

    agree(script(ours), script(theirs))


def test_unaries_in_numbers() -> None:
    """Clipped at 1e-5, so that no energy exceeds 11.5; labels share what the given one leaves, 0 is unknown."""
    sure = our_utils.unary_from_softmax(np.array([[1.0], [0.0]]))
    np.testing.assert_allclose(sure, [[0], [-np.log(1e-5)]], atol=1e-6)
    mixed = our_utils.unary_from_softmax(np.array([[1.0], [0.0]]), scale=0.8, clip=None)
    np.testing.assert_allclose(mixed, -np.log([[0.9], [0.1]]), rtol=1e-6)
    labels = np.array([0, 1, 3])
    drawn = np.exp(-our_utils.unary_from_labels(labels, 3, 0.7))
    np.testing.assert_allclose(drawn.T, [[1 / 3] * 3, [0.7, 0.15, 0.15], [0.15, 0.15, 0.7]], rtol=1e-6)
    plain = np.exp(-our_utils.unary_from_labels(np.array([0, 2]), 3, 0.7, zero_unsure=False))
    np.testing.assert_allclose(plain.T, [[0.7, 0.15, 0.15], [0.15, 0.15, 0.7]], rtol=1e-6)


def test_a_scale_brings_energies_into_order() -> None:
    transposed = probabilities().reshape(LABELS, -1).T.copy().T
    assert our_utils.unary_from_softmax(transposed, scale=0.9).flags.c_contiguous
    assert not our_utils.unary_from_softmax(transposed).flags.c_contiguous


def test_the_kind_of_kernel_changes_nothing() -> None:
    results = []
    for kernel in ours.KernelType:
        crf = ours.DenseCRF2D(WIDTH, HEIGHT, LABELS)
        crf.setUnaryEnergy(our_utils.unary_from_softmax(probabilities()))
        crf.addPairwiseBilateral(20, 13, photo(), 5, kernel=kernel)
        results.append(crf.inference(2))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_of_equal_marginals_the_first_label_wins() -> None:
    crf = ours.DenseCRF2D(4, 3, 5)
    crf.setUnaryEnergy(np.zeros((5, 12), np.float32))
    assert not crf.map(2).any()


CALLS = {
    "unary of another size": lambda d, c: c.setUnaryEnergy(np.zeros((2, 11), "f")),
    "unary in double": lambda d, c: c.setUnaryEnergy(np.zeros((2, 12))),
    "unary in Fortran order": lambda d, c: c.setUnaryEnergy(np.zeros((12, 2), "f").T),
    "unary with three axes": lambda d, c: c.setUnaryEnergy(np.zeros((2, 3, 4), "f")),
    "no unary": lambda d, c: c.setUnaryEnergy(None),
    "unary of another class": lambda d, c: c.setUnary(np.zeros((2, 12), "f")),
    "compatibility with three axes": lambda d, c: c.addPairwiseGaussian(3, np.zeros((2, 2, 2), "f")),
    "compatibility in double": lambda d, c: c.addPairwiseGaussian(3, np.zeros(2)),
    "compatibility as a list": lambda d, c: c.addPairwiseGaussian(3, [1, 2]),
    "deviation as text": lambda d, c: c.addPairwiseGaussian("ab", 3),
    "one deviation of two": lambda d, c: c.addPairwiseGaussian((1,), 3),
    "two deviations of three": lambda d, c: c.addPairwiseBilateral(3, (3, 3), np.zeros((3, 4, 3), "u1"), 3),
    "image of another size": lambda d, c: c.addPairwiseBilateral(3, 3, np.zeros((4, 3, 3), "u1"), 3),
    "image in float": lambda d, c: c.addPairwiseBilateral(3, 3, np.zeros((3, 4, 3), "f"), 3),
    "grey image": lambda d, c: c.addPairwiseBilateral(3, 3, np.zeros((3, 4), "u1"), 3),
    "image with alpha": lambda d, c: c.addPairwiseBilateral(3, 3, np.zeros((3, 4, 4), "u1"), 3),
    "features of another length": lambda d, c: c.addPairwiseEnergy(np.zeros((2, 11), "f"), 3),
    "features in double": lambda d, c: c.addPairwiseEnergy(np.zeros((2, 12)), 3),
    "no features": lambda d, c: c.addPairwiseEnergy(None, 3),
    "kernel as text": lambda d, c: c.addPairwiseGaussian(3, 3, kernel="x"),
    "iterations as text": lambda d, c: c.inference("a"),
    "number of labels missing": lambda d, c: d.DenseCRF2D(4, 3),
    "Q as a list": lambda d, c: c.stepInference([1, 2], None, None),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_wrong_arguments_raise_the_same_type(theirs, call) -> None:
    raised = []
    for dcrf in (theirs, ours):
        with pytest.raises((ValueError, TypeError, IndexError)) as error:
            call(dcrf, dcrf.DenseCRF2D(4, 3, 2))
        raised.append(error.type)
    assert raised[0] is raised[1]


def test_compatibility_of_another_size_and_unknown_normalization_are_refused() -> None:
    crf = ours.DenseCRF2D(4, 3, 2)
    with pytest.raises(ValueError, match="Bad shape for compat"):
        crf.addPairwiseGaussian(3, np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="normalization"):
        crf.addPairwiseGaussian(3, 3, normalization=7)


def test_marginals_that_are_none_are_refused_where_pydensecrf_crashes() -> None:
    with pytest.raises(TypeError, match="Q"):
        ours.DenseCRF2D(4, 3, 2).klDivergence(None)


@pytest.mark.parametrize("name", ["KernelType", "NormalizationType"])
def test_constants_have_the_same_names_and_values(theirs, name) -> None:
    assert {member.name: int(member) for member in getattr(ours, name)} == {
        member.name: int(member) for member in getattr(theirs, name)
    }
    for constant in getattr(ours, name):
        assert getattr(ours, constant.name) == getattr(theirs, constant.name)


HELPERS = {
    "softmax": lambda u: u.unary_from_softmax(probabilities()),
    "softmax scaled": lambda u: u.unary_from_softmax(probabilities(), scale=0.7, clip=None),
    "softmax clipped": lambda u: u.unary_from_softmax(probabilities(), clip=0.1),
    "softmax, old": lambda u: u.softmax_to_unary(probabilities(), 0.8),
    "labels": lambda u: u.unary_from_labels(np.arange(12).reshape(3, 4) % 5, 4, 0.6),
    "labels without unknown": lambda u: u.unary_from_labels(np.arange(12) % 4, 4, 0.6, zero_unsure=False),
    "labels, old": lambda u: u.compute_unary(np.arange(12) % 4, 4),
    "gaussian": lambda u: u.create_pairwise_gaussian((3, 2), (4, 5)),
    "gaussian in three dimensions": lambda u: u.create_pairwise_gaussian((3, 2, 1.5), (4, 5, 6)),
    "bilateral": lambda u: u.create_pairwise_bilateral((3, 2), (5, 6, 7), photo(), chdim=2),
    "bilateral of one number": lambda u: u.create_pairwise_bilateral((3, 2), 0.5, photo().transpose(2, 0, 1), 0),
    "bilateral of one channel": lambda u: u.create_pairwise_bilateral((3, 2), (5,), photo()[..., 0]),
}


@pytest.mark.parametrize("call", HELPERS.values(), ids=HELPERS.keys())
def test_helpers_equal_pydensecrf(their_utils, call) -> None:
    got, want = call(our_utils), call(their_utils)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "call",
    [lambda u: u.unary_from_labels(np.ones(3, int), 2, 1.0), lambda u: u.unary_from_softmax(probabilities(), scale=2)],
)
def test_helpers_refuse_the_same(their_utils, call) -> None:
    for utils in (our_utils, their_utils):
        with pytest.raises(AssertionError):
            call(utils)


@pytest.mark.gpu
def test_cuda_gives_the_labels_of_the_cpu() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    here = two_kernels(ours, our_utils, "matrix", "number", NORMALIZATIONS[2:]).inference(5)
    try:
        ours.set_device("cuda")
        there = two_kernels(ours, our_utils, "matrix", "number", NORMALIZATIONS[2:]).inference(5)
    finally:
        ours.set_device("cpu")
    agree(there, here)
