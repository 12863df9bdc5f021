"""A minimal Flask app, as the tests make it."""

from __future__ import annotations

import json
import subprocess

from tests import web_projects

FILES = {
    "events.py": """
        from dataclasses import dataclass


        @dataclass
        class Order:
            id: int
            total: float
        """,
    "shop.py": """
        import json
        import os
        import threading

        from flask import Flask, current_app

        from eventy_sync import CoordinationError
        from eventy_sync.contrib.flask import Eventy
        from events import Order

        eventy = Eventy()


        @eventy.subscriber(group="billing", from_index=1, max_attempts=1)
        def bill(event):
            print("billed", event.payload.id, "in", current_app.name, flush=True)


        def create_app():
            app = Flask("shop")
            here = os.path.dirname(os.path.abspath(__file__))
            app.config.update(EVENTY_ROOT_DIR=os.path.join(here, "orders"), EVENTY_PAYLOAD_TYPE="events.Order")
            app.config.update(json.loads(os.environ.get("TEST_CONFIG", "{}")))
            eventy.init_app(app)

            @app.get("/order/<int:number>/")
            def order(number):
                try:
                    eventy.queue.publish(Order(number, 1.0))
                except CoordinationError as exc:
                    return {"error": str(exc)}, 503
                threads = [each.name for each in threading.enumerate() if each.name.startswith("eventy")]
                return {"pid": os.getpid(), "threads": threads}

            if os.environ.get("TEST_PUBLISH_AT_IMPORT"):
                with app.app_context():
                    eventy.queue.publish(Order(0, 1.0))
            return app
        """,
}


class Project(web_projects.Project):
    """An app that a factory makes."""

    files = FILES
    application = "shop:create_app()"
    worker = ("-m", "flask", "--app", "shop", "eventy", "worker")

    def flask(self, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``flask`` to its end."""
        return self.run("-m", "flask", "--app", "shop", *arguments, **env)

    def queue_settings(self, **settings: object) -> dict[str, str]:
        """Return the environment that adds settings of the queue."""
        return {"TEST_CONFIG": json.dumps({f"EVENTY_{key}": value for key, value in settings.items()})}

    def prepare(self) -> None:
        """Check that the app can be made; it needs nothing."""
        assert self.flask("routes").returncode == 0
