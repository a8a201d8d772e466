"""The packages live in folders at the root; this lists them all, so that none is forgotten."""

from setuptools import find_packages, setup

FOLDERS = ("spaces", "hw_models", "estimators", "search", "db", "dashboard")

packages = ["netloom"]
for folder in FOLDERS:
    packages.append(f"netloom.{folder}")
    packages.extend(f"netloom.{folder}.{name}" for name in find_packages(folder))

setup(packages=packages)
