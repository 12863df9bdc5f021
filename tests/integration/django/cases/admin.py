"""Admin pages show what is in the queues to those who may see it, and do what they may do."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client, TestCase

from eventy_sync import EventQueue
from eventy_sync.contrib.django import close_queues, get_queue

MODELS = ("event", "result", "claim", "group", "deadletter")
MARKUP = "<script>alert('&')</script>"


class AdminTests(TestCase):
    """A queue with two groups: one has failed with all of its events."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.addCleanup(close_queues)
        entries = {each: {"ROOT_DIR": Path(directory.name) / each} for each in ("default", "second")}
        changed = self.settings(EVENTY_SYNC=entries)
        changed.enable()
        self.addCleanup(changed.disable)

    def filled(self, count: int = 3) -> EventQueue[Any]:
        queue = get_queue()
        queue.publish_many([{"secret": f"{MARKUP}-{n}"} for n in range(1, count + 1)])

        def fail(event: Any) -> None:
            raise ValueError(f"cannot do {event.payload['secret']}")

        failing = queue.subscribe(fail, group="billing", from_index=1, max_attempts=1)
        working = queue.subscribe(lambda event: None, group="mail", from_index=1)
        assert queue.wait_until_idle(20)
        queue.unsubscribe(failing.id)
        queue.unsubscribe(working.id)
        return queue

    def who_may(self, *permissions: str) -> Client:
        user = User.objects.create_user(f"user{User.objects.count()}", is_staff=True)
        user.user_permissions.set(
            Permission.objects.filter(content_type__app_label="eventy_sync", codename__in=permissions)
        )
        assert user.user_permissions.count() == len(permissions)
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        return client

    def url(self, model: str, query: str = "") -> str:
        return f"/admin/eventy_sync/{model}/{query}"

    def page(self, client: Client, model: str, query: str = "") -> str:
        response = client.get(self.url(model, query))
        assert response.status_code == 200, response
        return response.content.decode()

    def post(self, client: Client, model: str, query: str = "", **data: Any) -> Any:
        client.get(self.url(model, query))
        token = client.cookies["csrftoken"].value
        return client.post(self.url(model, query), {**data, "csrfmiddlewaretoken": token})

    # -- permissions -----------------------------------------------------------------------------------------

    def test_there_are_permissions_and_no_tables(self) -> None:
        """Real permissions, of models that have nothing in the database, and whose rows are none."""
        found = Permission.objects.filter(content_type__app_label="eventy_sync").values_list("codename", flat=True)
        views = {f"view_{each}" for each in MODELS}
        assert set(found) == {*views, "view_payload", "change_group", "change_deadletter"}
        assert not [each for each in connection.introspection.table_names() if each.startswith("eventy")]
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)
        with tempfile.NamedTemporaryFile() as file:
            call_command("dumpdata", "eventy_sync", use_base_manager=True, output=file.name, verbosity=0)
            assert Path(file.name).read_text().strip() == "[]"

    def test_nobody_sees_what_they_may_not(self) -> None:
        """Each list is for those with its permission; the others do not even find it on the index."""
        self.filled()
        nobody = self.who_may()
        for model in MODELS:
            allowed = self.who_may(f"view_{model}")
            for other in MODELS:
                assert allowed.get(self.url(other)).status_code == (200 if other == model else 403), (model, other)
            assert nobody.get(self.url(model)).status_code == 403
            assert Client().get(self.url(model)).status_code == 302
            assert self.url(model) in allowed.get("/admin/").content.decode()
            assert self.url(model) not in nobody.get("/admin/").content.decode()
        assert nobody.get(self.url("event", "1/")).status_code == 403

    def test_payloads_are_hidden_unless_allowed(self) -> None:
        """So are the texts of exceptions, which may quote them."""
        self.filled()
        views = [f"view_{each}" for each in MODELS]
        for model, query in (("event", ""), ("event", "1/"), ("result", "?failed=1"), ("deadletter", "?group=billing")):
            assert "alert" not in self.page(self.who_may(*views), model, query), (model, query)
            shown = self.page(self.who_may(*views, "view_payload"), model, query)
            assert "alert" in shown, (model, query)
            assert MARKUP not in shown, "it must be escaped"

    # -- lists -----------------------------------------------------------------------------------------------

    def test_events_are_paged_by_their_ids(self) -> None:
        """The last ones come first, older and newer ones are a link away."""
        get_queue().publish_many([{"n": n} for n in range(1, 121)])
        client = self.who_may("view_event")
        last = self.page(client, "event")
        assert "/event/120/" in last
        assert "/event/70/" not in last
        assert "?alias=default&amp;from=21" in last
        older = self.page(client, "event", "?alias=default&from=21")
        assert "/event/21/" in older
        assert "/event/70/" in older
        assert "/event/71/" not in older
        assert "?alias=default&amp;from=71" in older

    def test_damaged_events_are_passed_over(self) -> None:
        """The page shows the others."""
        queue = get_queue()
        queue.publish_many([{"n": n} for n in range(1, 6)])
        close_queues()
        (segment,) = Path(queue.root_dir, "events").glob("*.log")
        lines = segment.read_bytes().splitlines(keepends=True)
        segment.write_bytes(b"".join([lines[0], lines[1].replace(b'"n":2', b'"n":7'), *lines[2:]]))
        client = self.who_may("view_event", "view_payload")
        shown = [each.cells[0].text for each in client.get(self.url("event")).context["table"].lines]
        assert shown == ["1", "3", "4", "5"]
        assert "errornote" in self.page(client, "event", "2/")

    def test_results_and_claims_are_paged_by_key(self) -> None:
        """Each page leads to the next one, the last one to none, and together they show everything once."""
        queue = self.filled(60)
        for n in range(60):
            queue.create_claim(f"claim-{n}")
        client = self.who_may("view_result", "view_claim")
        for model, query, rows in (("result", "?failed=1", 60), ("claim", "", 60)):
            count, url = 0, self.url(model, query)
            while url:
                response = client.get(url)
                count += len(response.context["table"].lines)
                url = self.url(model, response.context["next"]) if "next" in response.context else ""
            assert count == rows, model

    def test_results_are_found_by_event_and_outcome(self) -> None:
        """What failed, of one event or of all."""
        self.filled()
        client = self.who_may("view_result")
        assert len(client.get(self.url("result")).context["table"].lines) == 6
        assert len(client.get(self.url("result", "?failed=1")).context["table"].lines) == 3
        assert len(client.get(self.url("result", "?event=2&failed=1")).context["table"].lines) == 1

    def test_groups_say_how_they_do(self) -> None:
        """Lag and dead letters, which are a link away for those who may see them."""
        self.filled()
        page = self.page(self.who_may("view_group", "view_deadletter"), "group")
        assert "/deadletter/?alias=default&amp;group=billing" in page
        assert "/deadletter/" not in self.page(self.who_may("view_group"), "group")

    def test_another_queue_is_chosen_by_its_alias(self) -> None:
        """Each has pages of its own."""
        self.filled()
        get_queue("second").publish({})
        client = self.who_may("view_event")
        assert len(client.get(self.url("event", "?alias=second")).context["table"].lines) == 1
        assert "?alias=second" in self.page(client, "event")

    def test_what_is_wrong_is_said_on_the_page(self) -> None:
        """A queue, event, group or page that is not there, settings that are wrong: no traceback."""
        client = self.who_may("view_event", "view_result", "view_deadletter")
        pages = (("event", "?alias=none"), ("event", "?from=x"), ("event", "9/"), ("result", "?page=x"))
        for model, query in (*pages, ("deadletter", "?group=none")):
            assert "errornote" in self.page(client, model, query), (model, query)
        with self.settings(EVENTY_SYNC={"default": {}}):
            assert "ROOT_DIR" in self.page(client, "event")

    # -- actions ---------------------------------------------------------------------------------------------

    def test_dead_letters_are_requeued(self) -> None:
        """Those that are chosen, or all; it stands in the log of the admin."""
        queue = self.filled()
        client = self.who_may("view_deadletter", "change_deadletter")
        assert 'name="requeue' in self.page(client, "deadletter", "?group=billing")
        response = self.post(client, "deadletter", "?group=billing", requeue="billing", event=[1, 3])
        assert response.status_code == 302
        assert [each.event_id for each in queue.dead_letters("billing").items] == [2]
        assert "2 dead letters of the group billing" in self.page(client, "deadletter", "?group=billing")
        self.post(client, "deadletter", "?group=billing", requeue_all="billing")
        assert not queue.dead_letters("billing").items
        assert [each.object_repr for each in LogEntry.objects.all()] == ["default/billing"] * 2

    def test_groups_are_paused_and_resumed(self) -> None:
        """By those who may change them."""
        queue = self.filled()
        client = self.who_may("view_group", "change_group")
        assert 'name="pause"' in self.page(client, "group")
        self.post(client, "group", pause="billing")
        assert [each.paused for each in queue.groups()] == [True, False]
        self.post(client, "group", resume="billing")
        assert [each.paused for each in queue.groups()] == [False, False]

    def test_actions_need_the_permission_to_change(self) -> None:
        """Looking is not enough; neither is there a button, nor is a post heeded, of any list."""
        queue = self.filled()
        client = self.who_may(*(f"view_{each}" for each in MODELS))
        assert 'name="requeue' not in self.page(client, "deadletter", "?group=billing")
        assert 'name="pause"' not in self.page(client, "group")
        assert self.post(client, "deadletter", "?group=billing", requeue_all="billing").status_code == 403
        assert self.post(client, "group", pause="billing").status_code == 403
        for model in ("event", "result", "claim"):
            assert self.post(client, model).status_code == 403
        assert len(queue.dead_letters("billing").items) == 3
        assert not any(each.paused for each in queue.groups())

    def test_an_action_needs_the_token_of_its_form(self) -> None:
        """Another site cannot post in a user's name, and a link does nothing."""
        queue = self.filled()
        client = self.who_may("view_deadletter", "change_deadletter")
        assert client.post(self.url("deadletter"), {"requeue_all": "billing"}).status_code == 403
        client.get(self.url("deadletter", "?requeue_all=billing"))
        assert len(queue.dead_letters("billing").items) == 3

    def test_a_wrong_action_is_refused_in_words(self) -> None:
        """Nothing chosen, no numbers, no such group."""
        queue = self.filled()
        client = self.who_may("view_deadletter", "change_deadletter")
        for data in ({"requeue": "billing"}, {"requeue": "billing", "event": "x"}, {"requeue_all": "none"}, {}):
            assert self.post(client, "deadletter", "?group=billing", **data).status_code == 302
            assert 'class="error"' in self.page(client, "deadletter", "?group=billing"), data
        assert len(queue.dead_letters("billing").items) == 3
