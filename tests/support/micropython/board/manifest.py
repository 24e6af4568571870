# ruff: noqa
"""What is frozen into the firmware."""

module("_boot.py", base_path=".")
