"""What the address of a page carries along, and what comes back."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

PAGE = """
import streamlit as st
from ui.app.address import enter_page, in_address, number_in_address, put_in_address, show_category
from ui.app.session import Key

enter_page(st.session_state.get("asked", "inspect"))
if chosen := st.session_state.get("chosen"):
    show_category(Key(chosen, "compact"))
if image := st.session_state.get("image"):
    put_in_address(image=image)
st.markdown(in_address("image"))
st.markdown(str(number_in_address("page", 1)))
"""


def shown(page: AppTest) -> dict[str, str]:
    assert not page.exception, page.exception
    values = page.query_params.items()
    return {name: value if isinstance(value, str) else value[-1] for name, value in values}


def visit(page: AppTest, name: str) -> AppTest:
    """What a click in the menu does: another page, with an empty address."""
    page.session_state["asked"] = name
    page.session_state["chosen"] = page.session_state["image"] = ""
    page.query_params.clear()
    return page.run()


def begin(chosen: str, image: str) -> AppTest:
    page = AppTest.from_string(PAGE)
    page.session_state["chosen"], page.session_state["image"] = chosen, image
    return page.run()


def test_category_goes_along_and_the_rest_stays_with_its_page() -> None:
    page = begin("grid", "a.png")
    assert shown(visit(page, "library")) == {"category": "grid", "backbone": "compact"}
    assert shown(visit(page, "inspect")) == {
        "category": "grid",
        "backbone": "compact",
        "image": "a.png",
    }


def test_what_a_page_showed_of_another_category_does_not_come_back() -> None:
    page = begin("grid", "a.png")
    visit(page, "library")
    page.session_state["chosen"] = "wood"
    page.run()
    assert shown(visit(page, "inspect")) == {"category": "wood", "backbone": "compact"}


def test_another_category_keeps_a_file_and_drops_an_image_of_the_library() -> None:
    for image, kept in (("/parts/a.png", True), ("0f9c", False)):
        page = begin("grid", image)
        page.session_state["chosen"], page.session_state["image"] = "wood", ""
        assert ("image" in shown(page.run())) == kept


def test_an_address_that_says_something_is_left_as_it_is() -> None:
    page = begin("grid", "a.png")
    visit(page, "library")
    page.session_state["asked"] = "inspect"
    page.query_params.clear()
    page.query_params["image"] = "b.png"
    assert shown(page.run()) == {"image": "b.png"}


def test_page_number_of_nonsense_is_the_first() -> None:
    for asked in ("-1", "²", "1" * 5000, "x"):
        page = AppTest.from_string(PAGE)
        page.query_params["page"] = asked
        page.run()
        assert not page.exception
        assert page.markdown[1].value == "1"
