"""What `eval` and `trimap` are asked: which parameters the CRF has."""

from dataclasses import asdict

from deeplab_repro.crf.params import CRFParams
from deeplab_repro.evaluate.question import pick_crf


def test_a_preset_comes_before_the_models_own_parameters_and_those_before_the_defaults():
    own = CRFParams(iterations=3)
    assert pick_crf(own, False, None) is None
    assert pick_crf(own, True, None) is own
    assert asdict(pick_crf(None, True, None)) == asdict(CRFParams())
    assert asdict(pick_crf(own, False, "v2_vgg16")) == asdict(CRFParams.preset("v2_vgg16"))
