"""Nets in text, layer by layer."""

from prototxt_import import read_net


def net_of(tmp_path, layers, size=(321, 321)):
    text = f'name: "n"\ninput: "data"\ninput_shape {{ dim: 1 dim: 3 dim: {size[0]} dim: {size[1]} }}\n{layers}'
    (tmp_path / "n.prototxt").write_text(text)
    return read_net(tmp_path / "n.prototxt")


def conv(name, bottom, **fields):
    facts = " ".join(f"{key}: {value}" for key, value in {"num_output": 2, **fields}.items())
    head = f'name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"'
    return f"layer {{ {head} convolution_param {{ {facts} }} }}\n"


def pool(name, bottom, stride):
    return (
        f'layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}" '
        f"pooling_param {{ pool: MAX kernel_size: 3 stride: {stride} pad: 1 }} }}\n"
    )
