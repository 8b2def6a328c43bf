"""The address of a page holds its state, so that a copied address shows the same.

The category goes along from page to page. What else a page shows (an image, a patch, a batch) is
its own: `put_in_address` keeps it, and it comes back when the menu leads to the page again in the
same tab. A widget made with ``key=NAME, bind="query-params"`` keeps its value in the address.
"""

from __future__ import annotations

import contextlib

import streamlit as st
from streamlit.errors import StreamlitAPIException

from ui.app.session import Key

_CARRIED = ("category", "backbone")
_PAGE, _OWN, _CHOSEN = "page shown", "address of each page", "category of this tab"


def in_address(name: str) -> str:
    """The value of that name in the address; empty without one."""
    value = st.query_params.get(name, "")
    _remember(name, value)
    return value


def number_in_address(name: str, default: int) -> int:
    """A whole number of that name in the address; the default for anything else."""
    value = in_address(name)
    return int(value) if value.isdecimal() and len(value) < 10 else default


def put_in_address(**values: str) -> None:
    """Keep these values in the address of the page; an empty one is taken out."""
    for name, value in values.items():
        _remember(name, value)
        if value and st.query_params.get(name) != value:
            st.query_params[name] = value
        elif not value:
            # what a widget put there goes with the widget's value
            with contextlib.suppress(StreamlitAPIException):
                st.query_params.pop(name, None)


def address_of(key: Key, **values: str) -> dict[str, str]:
    """Query parameters of a page that shows a category, and this of it: for links and `go`."""
    return {"category": key.category, "backbone": key.backbone, **values}


def asked_category() -> Key:
    """The category in the address; empty words where it names none."""
    return Key(*(st.query_params.get(name, "") for name in _CARRIED))


def show_category(key: Key) -> None:
    """Put a category in the address of this page, and of those the menu leads to."""
    if asked_category() not in (key, Key("", "")):
        own = _own_values()
        # a file can be inspected against another category, an image of a library cannot
        put_in_address(**{n: "" for n, v in own.items() if n != "image" or not v.startswith("/")})
    put_in_address(**address_of(key))


def enter_page(page: str) -> None:
    """Give back what a menu click left behind: the category, and what the page itself showed."""
    came_here = st.session_state.get(_PAGE) != page
    st.session_state[_PAGE] = page
    if not came_here or st.query_params.to_dict():
        return
    category, own = st.session_state.get(_CHOSEN, {}), _own_values()
    if any(own.get(name, value) != value for name, value in category.items()):
        own.clear()
    for name, value in {**own, **category}.items():
        st.query_params[name] = value


def page_shown() -> str:
    """Name of the page that this tab shows."""
    page: str = st.session_state.get(_PAGE, "")
    return page


def _remember(name: str, value: str) -> None:
    kept = [_own_values()]
    if name in _CARRIED:
        kept.append(st.session_state.setdefault(_CHOSEN, {}))
    for values in kept:
        values.pop(name, None)
        if value:
            values[name] = value


def _own_values() -> dict[str, str]:
    """Values that this page last had in its address, in this tab."""
    own: dict[str, str] = st.session_state.setdefault(_OWN, {}).setdefault(page_shown(), {})
    return own
