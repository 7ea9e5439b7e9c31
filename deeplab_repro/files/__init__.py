"""Files read and written whole: arrays, images, palettes, lists, tables, records that survive a kill."""
