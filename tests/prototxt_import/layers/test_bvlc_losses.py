"""One text, several meanings: InfogainLoss, Accuracy and SigmoidCrossEntropyLoss by dialect, and what auto says."""

from __future__ import annotations

import pytest

from prototxt_import import CaffeFormatError, net_text, parse_net

HEAD = (
    'input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 } input: "l" input_shape { dim: 2 dim: 1 dim: 4 dim: 5 } '
    'input: "H" input_shape { dim: 3 dim: 3 } input: "one" input_shape { dim: 2 }\n'
)


def infogain(label: str = "l", fields: str = "", bottom: str = "x") -> str:
    return (
        f'layer {{ name: "g" type: "InfogainLoss" bottom: "{bottom}" bottom: "{label}" bottom: "H" top: "g" {fields} }}'
    )


def takes(text: str, **state) -> str:
    return parse_net(HEAD.replace("dim: 3 dim: 3 }", "dim: 9 }") + text, **state).layers[-1].options.takes


def test_infogain_loss_by_dialect_and_by_clue():
    assert takes(infogain(), dialect="bvlc") == "scores"
    assert takes(infogain()) == "scores"  # a label for every position
    assert takes(infogain(fields="loss_param { ignore_label: 2 }")) == "scores"
    with pytest.raises(CaffeFormatError, match="do not give one number for each item"):
        takes(infogain(), dialect="pspnet")
    small = HEAD.replace("dim: 4 dim: 5", "dim: 1 dim: 1")
    assert parse_net(small + infogain("one")).layers[-1].options.takes == "probabilities"
    assert parse_net(small + infogain("one"), dialect="bvlc").layers[-1].options.takes == "scores"
    told = infogain("one", "infogain_loss_param { axis: 1 }")
    assert parse_net(small + told).layers[-1].options.takes == "scores"
    softmax = 'layer { name: "p" type: "Softmax" bottom: "x" top: "p" }'
    spec = parse_net(small + softmax + infogain("one", bottom="p"))
    assert spec.layers[-1].options.takes == "probabilities"
    assert "for a Softmax comes before" in spec.notes[0]


def test_infogain_refusals_name_the_layer():
    def refusal(text: str, **state) -> str:
        with pytest.raises(CaffeFormatError) as caught:
            parse_net(HEAD + text, "n.prototxt", **state)
        return str(caught.value)

    assert "layer 'g' (InfogainLoss): normalize in loss_param" in refusal(
        infogain(fields="loss_param { normalize: true }")
    )
    lone = 'layer { name: "g" type: "InfogainLoss" bottom: "x" bottom: "l" }'
    assert "layer 'g' (InfogainLoss): needs its matrix" in refusal(lone)
    other = infogain().replace('bottom: "H"', 'bottom: "one"')
    assert "the matrix [2] has not 3 x 3 numbers" in refusal(other, dialect="bvlc")
    assert "axis 9 is outside" in refusal(infogain(fields="infogain_loss_param { axis: 9 }"))


ACCURACY = HEAD + 'layer { name: "a" type: "Accuracy" bottom: "x" bottom: "l" top: "a" }'
SIGMOID = HEAD + 'layer { name: "s" type: "SigmoidCrossEntropyLoss" bottom: "x" bottom: "x" top: "s" }'


def test_accuracy_and_sigmoid_loss_by_dialect():
    assert parse_net(ACCURACY, dialect="bvlc").layers[0].options.ties == "MISS"
    for dialect in ("auto", "v1", "v2", "segnet", "enet", "pspnet", "hed", "crfrnn"):
        assert parse_net(ACCURACY, dialect=dialect).layers[0].options.ties == "LAST"
    assert parse_net(SIGMOID, dialect="hed").layers[0].options.balanced
    for dialect in ("auto", "bvlc", "v2", "crfrnn"):
        assert not parse_net(SIGMOID, dialect=dialect).layers[0].options.balanced


def test_auto_says_once_what_it_took():
    twice = ACCURACY + 'layer { name: "b" type: "Accuracy" bottom: "x" bottom: "l" top: "b" }'
    (note,) = parse_net(twice).notes
    assert note.startswith("layer 'a' (Accuracy): of equal scores the largest index wins")
    assert "--dialect hed" in parse_net(SIGMOID).notes[0]
    assert parse_net(SIGMOID, dialect="hed").notes == ()


def test_a_net_of_edges_with_its_crop_is_hed():
    text = 'input: "x" input_dim: 1 input_dim: 1 input_dim: 9 input_dim: 9 '
    text += 'layer { name: "c" type: "Convolution" bottom: "x" top: "c" '
    text += "convolution_param { num_output: 1 kernel_size: 3 pad: 3 } }"
    text += 'layer { name: "crop" type: "Crop" bottom: "c" bottom: "x" top: "y" }'
    text += 'layer { name: "s" type: "SigmoidCrossEntropyLoss" bottom: "y" bottom: "x" top: "s" }'
    spec = parse_net(text)
    assert spec.dialect == "hed"
    assert spec.layers[-1].options.balanced
    assert any("HED's balanced loss" in note for note in spec.notes)


@pytest.mark.parametrize("text", [ACCURACY, SIGMOID])
@pytest.mark.parametrize("meant", ["auto", "bvlc", "hed", "v2"])
@pytest.mark.parametrize("form", ["v2", "bvlc", "hed", "text"])
def test_a_written_file_means_what_its_net_meant(text, meant, form):
    spec = parse_net(text, dialect=meant)
    for dialect in ("auto", form if form != "text" else "bvlc"):
        assert parse_net(net_text(spec, form), dialect=dialect).layers == spec.layers


def test_a_wrong_rule_in_a_comment_is_refused():
    with pytest.raises(CaffeFormatError, match=r"layer 'a' \(Accuracy\): ties is 'FIRST'"):
        parse_net("# rules: Accuracy FIRST\n" + ACCURACY)
