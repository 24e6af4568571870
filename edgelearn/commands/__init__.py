"""Groups of commands, one file each; `edgelearn.cli` puts them together."""
