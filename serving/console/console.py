"""The console's application: its pages, and the files that they load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving.api.request_errors import ApiError
from serving.console.experiments_page import ExperimentsPage
from serving.console.live_page import LivePage
from serving.console.lookup_page import LookupPage
from serving.console.rendering import FOLDER, Renderer
from serving.console.sign_in import SignIn
from serving.console.tables_page import TablesPage
from serving.console.trial_page import TrialPage


@dataclass(frozen=True, slots=True)
class Console:
    """Its pages."""

    render: Renderer
    live: LivePage
    trial: TrialPage
    experiments: ExperimentsPage
    lookup: LookupPage
    tables: TablesPage
    sign_in: SignIn

    def app(self) -> Starlette:
        """To be mounted; addresses in its pages are relative."""
        return Starlette(
            routes=[
                Route("/", self.live.page),
                Route("/live", self.live.part),
                Route("/plots/loop", self.live.plots),
                Route("/try", self.trial.page),
                Route("/ask", self.trial.ask, methods=["POST"]),
                Route("/click", self.trial.click, methods=["POST"]),
                Route("/after", self.trial.after, methods=["POST"]),
                Route("/experiments", self.experiments.page),
                Route("/plots/experiments", self.experiments.plots),
                Route("/lookup", self.lookup.page),
                Route("/erase", self.lookup.confirm),
                Route("/erase", self.lookup.erase, methods=["POST"]),
                Route("/tables", self.tables.page),
                Route("/sign-in", self.sign_in.page),
                Route("/sign-in", self.sign_in.enter, methods=["POST"]),
                Route("/sign-out", self.sign_in.leave, methods=["POST"]),
                Mount("/static", StaticFiles(directory=FOLDER / "static")),
            ],
            exception_handlers={ApiError: self._refused, HTTPException: self._unknown},
        )

    def _refused(self, request: Request, error: Any) -> Response:
        """What is wrong with a request, as a page, or as the part of one that asked."""
        assert isinstance(error, ApiError)
        detail = error.detail
        message = f"{detail.field}: {detail.message}" if detail.field else detail.message
        template = "message_part.html" if "hx-request" in request.headers else "message.html"
        return self.render.page(template, status=error.status, message=message)

    def _unknown(self, request: Request, error: Any) -> Response:
        message = f"There is no page {request.url.path}." if error.status_code == 404 else str(error.detail)
        return self.render.page("message.html", status=error.status_code, message=message)
