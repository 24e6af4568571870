"""The host's side of the link: ports, requests and replies, devices, data, the stream, its views and its records.

Submodules, from the bottom up: `transport` (bytes), `link` (requests and replies), `device` (one device, typed),
`data` (samples), `metrics`, `telemetry` (the run folder), `view` and `plots` (what a person sees), `stream` (the loop).
"""
