"""What the command line and a solver file may say."""

import pytest


@pytest.mark.parametrize(
    ("changed", "settings", "word"),
    [
        ({"lr_policy": '"polly"'}, {}, "poly"),
        ({"momentum": 1.5}, {}, "momentum"),
        ({"momentum": "nan"}, {}, "momentum"),
        ({"weight_decay": "nan"}, {}, "solver.prototxt: weight_decay must be a finite number, is nan"),
        ({"solver_mode": "CPU clip_gradients: nan"}, {}, "clip_gradients must be a number"),
        ({"net": '"other.prototxt"'}, {}, "other.prototxt"),
        ({}, {"max_iter": 99}, "poly ends at max_iter 12"),
        ({}, {"amp": "fp8"}, "fp8"),
        ({"solver_mode": 'CPU type: "AdaGrad"'}, {}, "momentum"),
        ({"solver_mode": "CPU test_interval: 2 test_iter: 0"}, {}, "test_iter"),
        ({"solver_mode": "CPU iter_size: 0"}, {}, "iter_size"),
        ({"solver_mode": 'CPU regularization_type: "L3"'}, {}, "L3"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tiny, changed, settings, word):
    tiny.write(**changed)
    with pytest.raises(ValueError, match=word):
        tiny.train(**settings)
