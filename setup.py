"""Build the package as pyproject.toml and setup.cfg say."""

import warnings

from setuptools import setup

# Packages are named differently from their folders, which takes an import finder in an editable install; with one,
# setuptools always reminds that a folder may hide a package of its name. The tests hold which is imported.
warnings.filterwarnings("ignore", message="Editable installation")

setup()
