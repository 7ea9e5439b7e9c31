"""pydensecrf's interface on this project's operators: `densecrf` and `utils`.

Replace `import pydensecrf.densecrf as dcrf` by `import deeplab_repro.compat.pydensecrf.densecrf as dcrf`.
"""
