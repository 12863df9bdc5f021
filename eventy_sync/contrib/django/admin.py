"""Admin pages: what is in the queues, and what to do about dead letters.

Each page is a list that is read from the queue a page at a time, by key.  Whoever may view a model sees its list;
payloads, and texts that may quote them, are for those who may view payloads; whoever may change groups or dead
letters can pause and requeue.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from eventy_sync.contrib.django.configuration import DEFAULT_ALIAS, read_all
from eventy_sync.contrib.django.models import Claim, DeadLetter, Event, Group, Result, Row
from eventy_sync.contrib.django.pages import (
    HIDDEN,
    PAGE_ROWS,
    Button,
    Cell,
    Line,
    Link,
    Table,
    at_text,
    long,
    payload_text,
    query,
    short,
)
from eventy_sync.contrib.django.queues import get_queue
from eventy_sync.errors import CorruptRecordError, EventyError, InvalidArgumentError
from eventy_sync.event_queue import EventQueue
from eventy_sync.models import EventResult, GroupInfo, QueueEvent

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Row]
else:
    _Admin = admin.ModelAdmin

RESULT_COLUMNS = ("Event", "Outcome", "Time", "Group", "Attempt", "Seconds", "Worker", "Details")


class QueueAdmin(_Admin):
    """A list that is read from a queue."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Nothing is added by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is deleted by hand."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Return the list's, in place of those that would ask the database."""
        return [path("", self.admin_site.admin_view(self.changelist_view), name=f"{self._url_name}_changelist")]

    @property
    def _url_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show a page, or do what was posted."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._post(request)
        return self._show(request, self.table, str(self.opts.verbose_name_plural).capitalize())

    @abstractmethod
    def table(self, queue: EventQueue[Any], request: HttpRequest) -> Table:
        """Return the page that was asked for."""

    def act(self, queue: EventQueue[Any], request: HttpRequest) -> str:
        """Do what was posted, and return what was done."""
        raise PermissionDenied

    def _show(
        self, request: HttpRequest, read: Callable[[EventQueue[Any], HttpRequest], Table], title: str
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        alias = _alias(request)
        context: dict[str, Any] = {"title": title, "opts": self.opts, "alias": alias}
        try:
            queue = get_queue(alias)
            context["table"] = table = read(queue, request)
            health = queue.health()
            context["status"] = f"{health['mode']}, the last event is {health['tail']}"
            if table.next_page_id is not None:
                context["next"] = query(**{**request.GET.dict(), "page": table.next_page_id})
        except (EventyError, ImproperlyConfigured) as exc:
            context["error"] = str(exc)
        context["aliases"] = [Link(each, query(alias=each), each == alias) for each in read_all()[0]]
        return TemplateResponse(
            request, "admin/eventy_sync/table.html", {**self.admin_site.each_context(request), **context}
        )

    def _post(self, request: HttpRequest) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        try:
            self.message_user(request, self.act(get_queue(_alias(request)), request))
        except (EventyError, ImproperlyConfigured) as exc:
            self.message_user(request, str(exc), "ERROR")
        return HttpResponseRedirect(request.get_full_path())


class ReadOnlyAdmin(QueueAdmin):
    """A list that one can only look at."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is changed by hand."""
        return False


def _alias(request: HttpRequest) -> str:
    return request.GET.get("alias") or DEFAULT_ALIAS


def _url(request: HttpRequest, name: str, *arguments: int) -> str:
    """Return where one of the pages of this admin site is."""
    return reverse(f"admin:eventy_sync_{name}", args=arguments, current_app=getattr(request, "current_app", None))


def _page_id(request: HttpRequest) -> str | None:
    return request.GET.get("page") or None


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidArgumentError(f"{name} must be a number")
    return int(text) if text else None


def _may(request: HttpRequest, permission: str) -> bool:
    return request.user.has_perm(f"eventy_sync.{permission}")  # type: ignore[union-attr]


def _may_see_payloads(request: HttpRequest) -> bool:
    return _may(request, "view_payload")


def _event_cell(event_id: int, request: HttpRequest) -> Cell:
    if not _may(request, "view_event"):
        return Cell(str(event_id))
    url = _url(request, "event_change", event_id)
    return Cell(str(event_id), url + query(alias=_alias(request)))


# -- events and results ---------------------------------------------------------------------------------------------


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Events: the last ones first shown, and a page of its own for each."""

    def get_urls(self) -> list[URLPattern]:
        """Return the list's and that of one event."""
        detail = self.admin_site.admin_view(self.event_view)
        return [*super().get_urls(), path("<int:event_id>/", detail, name=f"{self._url_name}_change")]

    def table(self, queue: EventQueue[Any], request: HttpRequest) -> Table:
        """Return events from one on, the last ones unless one is asked for."""
        stats = queue.stats()
        start = _number(request, "from") or max(stats["oldest"], stats["tail"] - PAGE_ROWS + 1)
        shows = _may_see_payloads(request)
        events = list(_readable(queue, start, start + PAGE_ROWS))
        alias = _alias(request)
        links = []
        if start > stats["oldest"]:
            links.append(Link("Older", query(alias=alias, **{"from": max(stats["oldest"], start - PAGE_ROWS)})))
        if start + PAGE_ROWS <= stats["tail"]:
            links.append(Link("Newer", query(alias=alias, **{"from": start + PAGE_ROWS})))
            links.append(Link("Last", query(alias=alias)))
        columns = ("Event", "Time", *(["Payload"] * shows))
        return Table(columns, [_event_line(each, request, shows) for each in events], filters=links)

    def event_view(self, request: HttpRequest, event_id: int) -> HttpResponse:
        """Show one event, and what came of it."""
        if not self.has_view_permission(request):
            raise PermissionDenied

        def read(queue: EventQueue[Any], request: HttpRequest) -> Table:
            event = queue.get_event(event_id)
            payload = long(payload_text(event.payload, indent=2)) if _may_see_payloads(request) else HIDDEN
            lines = [("Event", str(event.id)), ("Time", at_text(event.created_at)), ("Payload", payload)]
            shown = [Line([Cell(name), Cell(text, is_block=True)]) for name, text in lines]
            links = []
            if _may(request, "view_result"):
                results = _url(request, "result_changelist")
                links = [Link("Results", results + query(alias=_alias(request), event=event_id))]
            return Table(("", ""), shown, filters=links)

        return self._show(request, read, f"Event {event_id}")


def _readable(queue: EventQueue[Any], first_id: int, end_id: int) -> Iterator[QueueEvent[Any]]:
    """Yield the events of a range; damaged ones are passed over."""
    next_id = first_id
    while next_id < end_id:
        try:
            for event in queue.iter_events(next_id):
                if event.id >= end_id:
                    return
                yield event
            return
        except CorruptRecordError as damage:
            next_id = damage.last_id + 1


def _event_line(event: QueueEvent[Any], request: HttpRequest, shows: bool) -> Line:
    payload = [Cell(short(payload_text(event.payload)))] if shows else []
    return Line([_event_cell(event.id, request), Cell(at_text(event.created_at)), *payload])


@admin.register(Result)
class ResultAdmin(ReadOnlyAdmin):
    """Results, oldest first."""

    def table(self, queue: EventQueue[Any], request: HttpRequest) -> Table:
        """Return results, of an event, of a group, or failed ones, if that is asked for."""
        event_id, group = _number(request, "event"), request.GET.get("group") or None
        failed = request.GET.get("failed") == "1"
        page = queue.search_results(
            _page_id(request), PAGE_ROWS, event_id, success__eq=False if failed else None, group__eq=group
        )
        given = {"alias": _alias(request), "event": event_id, "group": group}
        filters = [Link("All", query(**given), not failed), Link("Failed", query(**given, failed=1), failed)]
        lines = [_result_line(each, request) for each in page.items]
        return Table(RESULT_COLUMNS, lines, page.next_page_id, filters)


def _result_line(result: EventResult, request: HttpRequest) -> Line:
    outcome = ("done" if result.success else "failed") + (", stale" if result.stale else "")
    texts = [outcome, at_text(result.created_at), result.group or "", str(result.attempt)]
    texts += [f"{result.duration_seconds:.3f}", str(result.worker_id), _details(result.details, request)]
    return Line([_event_cell(result.event_id, request), *map(Cell, texts)])


def _details(details: str | None, request: HttpRequest) -> str:
    """Return the end of what a handler has said, which may quote the payload."""
    lines = (details or "").strip().splitlines()
    if lines and not _may_see_payloads(request):
        return HIDDEN
    return short(lines[-1] if lines else "")


# -- claims, groups and dead letters ----------------------------------------------------------------------------------


@admin.register(Claim)
class ClaimAdmin(ReadOnlyAdmin):
    """Claims that are held."""

    def table(self, queue: EventQueue[Any], request: HttpRequest) -> Table:
        """Return claims, by id."""
        page = queue.search_claims(_page_id(request), PAGE_ROWS)
        lines = []
        for each in page.items:
            texts = [short(each.id), str(each.worker_id), str(each.token), at_text(each.created_at)]
            lines.append(Line([*map(Cell, texts), Cell(at_text(each.expires_at))]))
        return Table(("Claim", "Worker", "Token", "Since", "Until"), lines, page.next_page_id)


@admin.register(Group)
class GroupAdmin(QueueAdmin):
    """Groups; whoever may change them can pause one, and let it go on."""

    def table(self, queue: EventQueue[Any], request: HttpRequest) -> Table:
        """Return all groups, by name."""
        may_change = self.has_change_permission(request)
        columns = ("Group", "Lag", "Leased", "Waiting", "Dead", "Next event", "State", *([""] * may_change))
        lines = [self._line(each, request, may_change) for each in queue.groups()]
        return Table(columns, lines)

    def _line(self, group: GroupInfo, request: HttpRequest, may_change: bool) -> Line:
        numbers = [group.lag, group.leased, group.waiting]
        dead = Cell(str(group.dead))
        if _may(request, "view_deadletter"):
            letters = _url(request, "deadletter_changelist")
            dead = Cell(str(group.dead), letters + query(alias=_alias(request), group=group.name))
        button = Button("resume", group.name, "Resume") if group.paused else Button("pause", group.name, "Pause")
        cells = [Cell(group.name), *(Cell(str(each)) for each in numbers), dead, Cell(str(group.next_id))]
        return Line([*cells, Cell("paused" if group.paused else "runs")], button=button if may_change else None)

    def act(self, queue: EventQueue[Any], request: HttpRequest) -> str:
        """Pause a group, or let it go on."""
        if group := request.POST.get("pause"):
            queue.pause_group(group)
            done = "paused"
        else:
            group = request.POST.get("resume", "")
            queue.resume_group(group)
            done = "resumed"
        self.log_change(request, Group(id=f"{_alias(request)}/{group}"), f"{done} in the queue")
        return f"The group {group} is {done}."


@admin.register(DeadLetter)
class DeadLetterAdmin(QueueAdmin):
    """Dead letters of a group; whoever may change them can have them handed out again."""

    def table(self, queue: EventQueue[Any], request: HttpRequest) -> Table:
        """Return a group's, by event; those of the first group that has some unless one is asked for."""
        groups = queue.groups()
        chosen = request.GET.get("group") or next((each.name for each in groups if each.dead), None)
        if chosen is None:
            return Table(("Event",), [], note="No group has dead letters.")
        alias = _alias(request)
        filters = [Link(f"{g.name} ({g.dead})", query(alias=alias, group=g.name), g.name == chosen) for g in groups]
        page = queue.dead_letters(chosen, _page_id(request), PAGE_ROWS)
        may_change = self.has_change_permission(request)
        lines = []
        for each in page.items:
            texts = [str(each.attempts), at_text(each.first_attempt_at), at_text(each.died_at), str(each.worker_id)]
            cells = [_event_cell(each.event_id, request), *map(Cell, texts), Cell(_details(each.details, request))]
            lines.append(Line(cells, key=str(each.event_id) if may_change else ""))
        buttons = []
        if may_change and lines:
            buttons = [Button("requeue", chosen, "Requeue chosen"), Button("requeue_all", chosen, "Requeue all")]
        columns = ("Event", "Attempts", "First attempt", "Died", "Worker", "Details")
        return Table(columns, lines, page.next_page_id, filters, buttons)

    def act(self, queue: EventQueue[Any], request: HttpRequest) -> str:
        """Hand dead letters out again."""
        if group := request.POST.get("requeue_all"):
            count = queue.requeue(group)
        else:
            group = request.POST.get("requeue", "")
            chosen = request.POST.getlist("event")
            if not chosen or not all(each.isascii() and each.isdigit() and len(each) < 20 for each in chosen):
                raise InvalidArgumentError("choose the dead letters that are to be handed out again")
            count = queue.requeue(group, [int(each) for each in chosen])
        what = "1 dead letter" if count == 1 else f"{count} dead letters"
        self.log_change(request, DeadLetter(id=f"{_alias(request)}/{group}"), f"{what} requeued")
        return f"{what} of the group {group} will be handed out again."
