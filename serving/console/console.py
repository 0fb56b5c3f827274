"""The console's application: its pages, and the files that they load."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving.api.gate.access import Access
from serving.api.messages.request_errors import ApiError
from serving.api.monitoring.all_processes import AllProcesses
from serving.api.monitoring.server_state import ServerState
from serving.api.routes import Routes
from serving.console.pages.experiments import ExperimentsPage
from serving.console.pages.live import LivePage
from serving.console.pages.lookup import LookupPage
from serving.console.pages.sign_in import SignIn
from serving.console.pages.tables import TablesPage
from serving.console.pages.trial import TrialPage
from serving.console.rendering import FOLDER, Renderer
from serving.console.sampler import Sampler
from serving.console.user_history import UserHistory
from serving.console.user_trial import UserTrial
from serving.erasure.place import Finding
from serving.replica import Replica
from streaming.log.event_log import EventLog


class Console:
    """The pages, and the `sampler` whose past they draw, which is to run while the server does.

    `learned` are the actions that decide labels; `keys` says whether the server has any, `compare` whether an
    experiment has several arms; `erase` forgets a user as `DELETE /v1/users/{user}` does.
    """

    def __init__(
        self,
        replica: Replica,
        log: EventLog,
        state: ServerState,
        processes: AllProcesses,
        routes: Routes,
        trial: UserTrial,
        access: Access,
        erase: Callable[[str], list[Finding]],
        *,
        version: str,
        keys: bool,
        learned: Collection[str],
        dead_letters: Path,
        compare: bool,
    ) -> None:
        render = self.render = Renderer(version, keys=keys)
        self.sampler = Sampler(state, processes.degraded, routes.summarised, compare=compare)
        self.live = LivePage(
            render, state, processes, self.sampler, lambda: replica.models.champion, lambda: replica.promotions
        )
        self.trial = TrialPage(render, trial, learned, lambda: replica.trainers.by_model, state.now)
        self.experiments = ExperimentsPage(render, routes.summarised, self.sampler)
        self.lookup = LookupPage(render, replica, UserHistory(log), erase, state.now)
        self.tables = TablesPage(render, state, dead_letters, log)
        self.sign_in = SignIn(render, access)

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
