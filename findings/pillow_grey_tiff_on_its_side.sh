#!/usr/bin/env bash
# Pillow 13.0.0: a grey TIFF file that lies on its side is garbled if it is opened by its name, and right if it is opened
# as a file.
#
# Pillow turns TIFF files by their orientation when it loads them, and gives them the size that they have then. One of
# 8 bits that is not compressed is mapped into memory where there is a name, with the width of the turned image for the
# rows of the stored one. Orientations 5 to 8 come out wrong, in size and in pixels, without a word; compressed files,
# RGB and orientations 1 to 4 are right in both ways.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
uv venv --quiet --python 3.11 venv
uv pip install --quiet --python venv pillow==13.0.0 numpy==2.4.6
cat > orientations.py <<'PYTHON'
import io

import numpy as np
from PIL import Image, ImageOps

pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
for kind, stored, options in (
    ("grey", pixels, {}),
    ("grey, LZW", pixels, {"compression": "tiff_lzw"}),
    ("RGB", np.stack([pixels, pixels, 99 - pixels], -1), {}),
):
    right_by_name, right_as_file = [], []
    for orientation in range(1, 9):
        note = Image.Exif()
        note[0x0112] = orientation
        Image.fromarray(stored).save("stored.tif", exif=note, **options)
        png = io.BytesIO()
        Image.fromarray(stored).save(png, "PNG", exif=note)
        seen = np.asarray(ImageOps.exif_transpose(Image.open(png)))
        if np.array_equal(np.asarray(Image.open("stored.tif")), seen):
            right_by_name.append(orientation)
        with open("stored.tif", "rb") as file:
            if np.array_equal(np.asarray(Image.open(file)), seen):
                right_as_file.append(orientation)
    print(f"{kind}: by name {right_by_name}, as a file {right_as_file}")
PYTHON
venv/bin/python orientations.py | tee seen
diff - seen <<'SEEN'
grey: by name [1, 2, 3, 4], as a file [1, 2, 3, 4, 5, 6, 7, 8]
grey, LZW: by name [1, 2, 3, 4, 5, 6, 7, 8], as a file [1, 2, 3, 4, 5, 6, 7, 8]
RGB: by name [1, 2, 3, 4, 5, 6, 7, 8], as a file [1, 2, 3, 4, 5, 6, 7, 8]
SEEN
