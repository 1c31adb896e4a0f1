"""Renders the jinja2 templates of `templates/`; a variable that a template wants and does not get is an error."""

from __future__ import annotations

import json

import jinja2

from packc.resources import resource_dir


def render_template(template: str, /, **values: object) -> str:
    """Text of `templates/<template>` filled with `values`; the filter `py` writes a value as a Python literal."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource_dir("templates")),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["py"] = _python_literal
    return environment.get_template(template).render(values)


def _python_literal(value: object) -> str:
    """`value` as source in the formatter's style: double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        inner = ", ".join(_python_literal(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)
