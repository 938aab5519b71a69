"""HTML is in templates, which escape what they are given; and nothing in a template gets around that."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("connectorlib", "dbconnector", "deadletterqueue", "sfconnector")
SOURCES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
TEMPLATES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("templates/*.html"))]
TAG = re.compile(r"</?(?:a|b|body|div|form|h[1-6]|html|input|li|main|p|pre|span|svg|t[dhr]|table|textarea|ul)\b[^<]*>")


def test_there_is_one_base_template_and_one_style_sheet() -> None:
    assert [file.name for file in TEMPLATES].count("base.html") == 1
    assert len([file for package in PACKAGES for file in (ROOT / package).rglob("*.css")]) == 1


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_there_is_no_html_in_python(file: Path) -> None:
    texts = (node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant))
    assert [text for text in texts if isinstance(text, str) and TAG.search(text)] == []


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_template_has_scripts_styles_or_unescaped_values(file: Path) -> None:
    assert not re.search(r"<script|<style|\bstyle=|\bon\w+=|\|\s*safe\b|autoescape", file.read_text())
