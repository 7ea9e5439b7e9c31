"""Activations computed again instead of kept."""


def test_recomputed_activations_change_no_bit(tiny, same):
    tiny.train("plain")
    tiny.train("other", checkpoint_activations=True)
    same(tiny.weights("plain"), tiny.weights("other"))
