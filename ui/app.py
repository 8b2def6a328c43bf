"""The app that ``vecspect ui`` serves."""

from __future__ import annotations

import streamlit as st

from ui.shell import admitted, pages

st.set_page_config(page_title="vecspect", page_icon=":material/search:", layout="wide")
st.html("<style>.stMainBlockContainer { padding-top: 4rem; }</style>")
st.logo(":material/center_focus_strong:")
if admitted():
    st.navigation(pages(), position="top").run()
