"""What extensions have called when the page is made."""

from typing import Any

before_component: list[Any] = []
app_started: list[Any] = []
ui_settings: list[Any] = []


def on_before_component(callback, *, name=None):
    before_component.append(callback)


def on_app_started(callback, *, name=None):
    app_started.append(callback)


def on_ui_settings(callback, *, name=None):
    ui_settings.append(callback)
