"""The learnable CRF: equal to the fixed one at its start, trained end to end."""

import pytest
import torch

from deeplab_repro import CRFParams, DenseCRF, LearnableCRF

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return request.param


def scene(device="cpu", height: int = 20, width: int = 24, labels: int = 3):
    """An image of three coloured stripes, noisy logits, and the truth."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.arange(width)[None].expand(height, width) * labels // width
    colors = torch.tensor([[200, 40, 40], [40, 200, 40], [40, 40, 200]])
    image = (colors[truth] + torch.randint(-20, 20, (height, width, 3), generator=generator)).to(torch.uint8)
    clear = torch.nn.functional.one_hot(truth, labels).permute(2, 0, 1).float()
    scores = clear + 1.5 * torch.randn(labels, height, width, generator=generator)
    return image.to(device), scores.to(device), truth.to(device)


@pytest.mark.parametrize("compatibility", [None, torch.tensor([-1.0, -2.0, 0.5]), torch.randn(3, 3)])
def test_equals_the_fixed_crf_at_its_start(compatibility, device) -> None:
    image, scores, _ = scene(device)
    params = CRFParams(iterations=3, bilateral_xy_std=8, bilateral_rgb_std=20, compatibility=compatibility)
    learnable = LearnableCRF(3, params).to(device)
    want = DenseCRF(params)(image, scores)
    torch.testing.assert_close(learnable(image, scores), want)
    with torch.no_grad():
        torch.testing.assert_close(learnable(image, scores), want)


@pytest.mark.parametrize("recompute", [False, True])
def test_trains_end_to_end_with_the_layer_that_makes_the_scores(recompute, device) -> None:
    image, scores, truth = scene(device)
    torch.manual_seed(0)
    crf = LearnableCRF(3, CRFParams(iterations=3, bilateral_xy_std=8, bilateral_rgb_std=30, bilateral_weight=0.1,
                                    gaussian_weight=0.1), recompute).to(device)  # fmt: skip
    head = torch.nn.Conv2d(3, 3, 1).to(device)
    before = {name: value.clone() for name, value in crf.state_dict().items()}
    optimizer = torch.optim.Adam([*crf.parameters(), *head.parameters()], lr=0.1)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        q = crf(image[None], head(scores[None]))
        loss = torch.nn.functional.nll_loss(q.clamp(min=1e-6).log(), truth[None])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
    assert all(not torch.equal(value, before[name]) for name, value in crf.state_dict().items())


def test_recomputing_gives_the_same_gradients() -> None:
    image, scores, _ = scene()
    gradients = []
    for recompute in (False, True):
        crf, own = LearnableCRF(3, recompute=recompute), scores.clone().requires_grad_()
        crf(image, own)[0].sum().backward()
        gradients.append([own.grad, *(parameter.grad for parameter in crf.parameters())])
    for plain, again in zip(*gradients, strict=True):
        assert torch.equal(plain, again)


def test_parameters_are_saved_under_their_names() -> None:
    assert {name: list(value.shape) for name, value in LearnableCRF(4).state_dict().items()} == {
        "kernel_weights": [2],
        "compatibility": [4, 4],
    }


def test_compatibility_for_another_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[3, 3\] is not for 4 labels"):
        LearnableCRF(4, CRFParams(compatibility=torch.eye(3)))


def test_fixed_crf_passes_gradients_to_scores_and_compatibility(device) -> None:
    image, scores, _ = scene(device)
    scores = scores.double().requires_grad_()
    matrix = torch.randn(3, 3, dtype=torch.float64, device=device, requires_grad=True)
    small = (image[:4, :5].contiguous(), scores.detach()[:, :4, :5].clone().requires_grad_(), matrix)

    def run(_, scores, matrix):
        params = CRFParams(iterations=2, bilateral_xy_std=3, bilateral_rgb_std=60, compatibility=matrix)
        return DenseCRF(params)(small[0], scores)

    assert torch.autograd.gradcheck(run, small)
