"""Real MicroPython for the tests: packages.py gets it, armhf.py and emulated.py run it."""
