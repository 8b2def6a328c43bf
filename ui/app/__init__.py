"""The Streamlit app that `vecspect ui` serves."""
