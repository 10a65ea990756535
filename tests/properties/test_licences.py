"""Each data set and each source of weights says its licence, who says so, and what is to be cited."""

import re

from torchatlas.licences import Terms
from torchatlas.weights import NAMINGS
from torchatlas.weights.terms import TERMS
from torchatlas.zoo import config_text, terms

MADE = (
    "own_images",
    "own_samples",
    "image_folder",
    "unlabelled_folder",
    "mask_folder",
    "sound_folder",
    "parallel_files",
    "series_csv",
    "text_csv",
)
OWN = {*MADE, "text_file", "text_file_masked", "text_order", "token_file"}  # files of the user


def test_of_each_data_set(data_name: str) -> None:
    found = terms(data_name)
    assert found.licence, f"configs/data/{data_name}.yaml has no line «# Licence:  ...»"
    assert bool(found.source) == bool(found.cite) == (data_name not in OWN)
    comments = re.findall(r"^# .*$", config_text("data", data_name), re.MULTILINE)
    assert not comments[0].startswith("# Licence"), "the first line says what the data are"


def known(found: Terms) -> bool:
    return all((found.licence, found.source, found.cite))


def test_of_each_source_of_weights() -> None:
    sources = {naming.source.replace("huggingface", "Hugging Face") for naming in NAMINGS} | {"inception"}
    assert sources == set(TERMS)
    assert all(map(known, TERMS.values()))
