"""Words for faults that nobody foresaw, shown by every page instead of a traceback."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

import streamlit as st

from backbones.errors import VecspectError
from ui.app.text import plain

_LONGEST = 300


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn an error into a line and a way on; its traceback goes to stderr."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        st.error(plain(_in_a_line(error)), icon=":material/error:")
        st.markdown(
            "Nothing was changed by this. Try again; if it stays, choose another page or image. "
            "The details are in the terminal where the app was started."
        )
        # a script that reruns is stopped by an exception of its own, which is none of these
        if st.button("Try again", icon=":material/refresh:", key="try again"):
            st.rerun()


def _in_a_line(error: Exception) -> str:
    words = " ".join(str(error).split())
    if len(words) > _LONGEST:
        words = words[:_LONGEST] + " …"
    if isinstance(error, VecspectError | OSError):
        return f"This page could not go on: {words}"
    return f"This page ran into a defect of vecspect itself ({type(error).__name__}: {words})."
