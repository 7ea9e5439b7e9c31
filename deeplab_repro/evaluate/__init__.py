"""Scores of label maps: mean IoU, trimap curve, folders refined by the CRF, search of its parameters."""
