"""Whatever a browser sends, the console answers with a page that is escaped, and never with an error of the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.serving.console.shop import Shop, shop

pytestmark = pytest.mark.slow

PAGES = ("try", "lookup", "erase", "experiments", "tables", "live", "")
FORMS = ("ask", "click", "after", "erase", "sign-in")
texts = st.text(max_size=12) | st.sampled_from(["ada", "tea", "<script>", "1", "{}", '{"tea": 0.5}', "9" * 400, "\n"])
fields = st.dictionaries(
    st.sampled_from(["user", "item", "items", "count", "impression", "action", "before", "clicked", "again", "key"]),
    texts,
    max_size=6,
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop"), customers=30) as one:
        yield one


def check(answer: httpx.Response) -> None:
    assert answer.status_code in (200, 303, 400, 401, 403, 404, 422, 429), answer.text
    if answer.status_code != 303:
        assert not re.search(r"<script(?! src=\"static/)", answer.text)


@given(st.sampled_from(PAGES), fields)
@example("try", {"user": "ada", "count": "9" * 4500})
@example("lookup", {"user": "\x00"})
def test_pages(opened: Shop, address: str, given: dict[str, str]) -> None:
    check(opened.http.get(f"/console/{address}", params=given))


@given(st.sampled_from(FORMS), fields)
@example("after", {"user": "ada", "before": '{"tea": 0.5}', "clicked": "9" * 400})
@example("after", {"user": "", "before": "{}", "clicked": "-1"})
@example("after", {"user": "ada", "before": '{"tea": 1e308}', "clicked": "1"})
@example("erase", {"user": "u" * 600, "again": "u" * 600})
@example("click", {"user": "ada", "items": "", "impression": "x", "item": "tea", "action": "click"})
def test_forms(opened: Shop, address: str, given: dict[str, str]) -> None:
    body = urlencode(given, errors="surrogatepass").encode()
    check(opened.http.post(f"/console/{address}", content=body, headers={"Origin": opened.url}))
