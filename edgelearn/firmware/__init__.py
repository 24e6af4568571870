"""Toolchains, emulators and the doctor; `runtime/` and `port/` hold the static device code."""
