#!/usr/bin/env bash
# libsndfile 1.2.2 in soundfile 0.14.0: valid CAF and FLAC files that do not say their length cannot be read whole.
#
# Apple's specification of CAF allows the size -1 for the samples, "to the end of the file", and RFC 9639 allows 0
# samples in FLAC's STREAMINFO for a number that is not known; programs that write to a pipe leave them so. One would
# expect the samples. The CAF file is refused as malformed. The FLAC file opens with 2^63 - 1 samples: what begins and
# ends within it is read, and reading up to its end fails, so that not one of its samples is had. WAV files with unknown
# sizes are read to their end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
uv venv --quiet --python 3.11 venv
uv pip install --quiet --python venv soundfile==0.14.0 numpy==2.4.6
cat > lengths.py <<'PYTHON'
import numpy as np
import soundfile

wave = np.sin(np.arange(4000) / 9)


def unsaid(form, edit):
    soundfile.write("a", wave, 8000, format=form, subtype="PCM_16")
    content = bytearray(open("a", "rb").read())
    edit(content)
    open("a", "wb").write(content)


def put(name, place, value):
    def edit(content):
        begin = content.index(name) + place
        content[begin : begin + len(value)] = value

    return edit


def flac(content):
    content[21] &= 0xF0
    content[22:26] = bytes(4)


for form, edit in (("WAV", put(b"data", 4, b"\xff" * 4)), ("CAF", put(b"data", 4, b"\xff" * 8)), ("FLAC", flac)):
    unsaid(form, edit)
    for number in (1000, 5000):
        try:
            with soundfile.SoundFile("a") as file:
                print(f"{form}: {number} wanted, {len(file.read(number))} read")
        except soundfile.SoundFileError as error:
            print(f"{form}: {number} wanted, {error.error_string}")
PYTHON
venv/bin/python lengths.py | tee seen
diff - seen <<'SEEN'
WAV: 1000 wanted, 1000 read
WAV: 5000 wanted, 4000 read
CAF: 1000 wanted, Supported file format but file is malformed.
CAF: 5000 wanted, Supported file format but file is malformed.
FLAC: 1000 wanted, 1000 read
FLAC: 5000 wanted, Internal psf_fseek() failed.
SEEN
