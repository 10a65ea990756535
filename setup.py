"""Which packages there are: every folder of src, under the name torchatlas. All else is said in pyproject.toml."""

from setuptools import find_packages, setup

setup(packages=["torchatlas", "torchatlas.configs", *(f"torchatlas.{name}" for name in find_packages("src"))])
