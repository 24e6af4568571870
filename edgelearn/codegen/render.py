"""render(template, ...): the one Jinja2 environment; templates loop and print, all arithmetic is done before."""

from __future__ import annotations

import functools

import jinja2

from edgelearn import resources


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.templates_folder()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  (C and make, no HTML)
    )


def render(template_name: str, **context: object) -> str:
    """The text of `templates/<template_name>` with these values; a value that is missing is an error."""
    return _environment().get_template(template_name).render(**context)
