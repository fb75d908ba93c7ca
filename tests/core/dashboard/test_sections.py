"""What can be done wherever one is, and the pages of the settings."""

from __future__ import annotations

from stepwell.dashboard.actions import ACTIONS
from stepwell.dashboard.pages import PAGES
from stepwell.dashboard.sections import DEEDS, TABS
from stepwell.server.access import page_role

OF_ONESELF = "/settings/password"  # not for whoever has logged in with a key: the page of sessions knows who has


def test_every_action_that_is_about_nothing_in_particular_can_be_found_by_those_who_may_do_it() -> None:
    anywhere = {each.path: each.role for each in ACTIONS if "{" not in each.path}

    assert {each.path: each.role for each in DEEDS} == {
        path: role for path, role in anywhere.items() if path != OF_ONESELF
    }


def test_every_page_of_the_settings_is_a_tab_for_those_who_may_see_it() -> None:
    pages = {each.path for each in PAGES if each.path.startswith("/settings/") and "{" not in each.path}

    assert {each.path: each.role for each in TABS} == {path: page_role(path) for path in pages}
