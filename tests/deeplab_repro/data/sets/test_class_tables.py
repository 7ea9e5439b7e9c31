"""Class names, colours and numbers of the data sets."""

import numpy as np

from deeplab_repro.data.sets import class_tables as tables


def test_numbers_of_classes_are_the_published_ones():
    counts = (tables.VOC, tables.CONTEXT_59, tables.PERSON_PART, tables.CITYSCAPES, tables.CAMVID)
    assert [len(names) for names in counts] == [21, 59, 7, 19, 11]
    assert all(len(set(names)) == len(names) for names in counts)
    assert len(set(tables.CITYSCAPES_PALETTE)) == 19


def test_train_ids_and_label_ids_of_cityscapes_lead_back_to_each_other():
    train, ids = tables.cityscapes_train_ids(), tables.cityscapes_label_ids()
    assert train.dtype == ids.dtype == np.uint8
    assert (train != 255).sum() == (ids != 0).sum() == 19
    np.testing.assert_array_equal(train[ids[:19]], np.arange(19))
    assert (train[0], train[7], train[33], ids[255]) == (255, 0, 18, 0)


def test_parts_and_categories_are_of_classes_that_there_are():
    assert set(tables.PERSON_PARTS.values()) == set(range(1, len(tables.PERSON_PART)))
    assert set(tables.COCO_OF_VOC) == set(range(1, len(tables.VOC)))
    assert len(set(tables.COCO_OF_VOC.values())) == 20
