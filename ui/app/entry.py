"""The app that ``vecspect ui`` serves.

Its pages lie in `ui.app.views`: Streamlit would take a folder called ``pages`` for pages of its own
and serve them by address, past the password.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ui.app.auth import admitted, refuse
from ui.app.faults import explained
from ui.app.layout import pages

_HERE = Path(__file__).parent
# a file of our own: Streamlit's icons for a tab come from a host on the internet
st.set_page_config(page_title="vecspect", page_icon=str(_HERE / "icon.svg"), layout="wide")
st.html(_HERE / "entry.css")
st.logo(":material/center_focus_strong:")
with explained():
    inside = admitted()
    # before the password is given, too: otherwise the requested page is forgotten
    current = st.navigation(pages(), position="top" if inside else "hidden")
    if inside:
        current.run()
    else:
        refuse()
