"""The live view in a browser: what is shown (panel), who may see it (guard), the page and its server."""
