"""A minimal Django project, as the tests make it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests import web_projects

FILES = {
    "manage.py": """
        import os
        import sys

        from django.core.management import execute_from_command_line

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
        execute_from_command_line(sys.argv)
        """,
    "settings.py": """
        import json
        import os
        from pathlib import Path

        BASE_DIR = Path(__file__).parent
        SECRET_KEY = "of a test"
        DEBUG = bool(os.environ.get("TEST_DEBUG"))
        ALLOWED_HOSTS = ["*"]
        USE_TZ = True
        TIME_ZONE = "UTC"
        INSTALLED_APPS = [
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "eventy_sync.contrib.django",
            "shop",
        ]
        MIDDLEWARE = [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ]
        TEMPLATES = [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
        PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        STATIC_URL = "/static/"
        ROOT_URLCONF = "urls"
        TEST_RUNNER = "runner.Runner"
        EVENTY_SYNC = {"default": {"ROOT_DIR": BASE_DIR / "orders", "PAYLOAD_TYPE": "shop.events.Order"}}
        EVENTY_SYNC["default"] |= json.loads(os.environ.get("TEST_QUEUE", "{}"))
        """,
    "urls.py": """
        from django.contrib import admin
        from django.urls import path

        from shop import views

        urlpatterns = [path("admin/", admin.site.urls), path("order/<int:number>/", views.order)]
        """,
    "wsgi.py": """
        import os

        from django.core.wsgi import get_wsgi_application

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
        application = get_wsgi_application()

        if os.environ.get("TEST_PUBLISH_AT_IMPORT"):
            from shop import events, views

            views.publish_on_commit(events.Order(0, 1.0))
        """,
    "shop/__init__.py": "",
    "shop/events.py": """
        from dataclasses import dataclass


        @dataclass
        class Order:
            id: int
            total: float
        """,
    "shop/views.py": """
        import os
        import threading

        from django.db import transaction
        from django.http import JsonResponse

        from eventy_sync import CoordinationError
        from eventy_sync.contrib.django import publish_on_commit
        from shop.events import Order


        def order(request, number):
            try:
                with transaction.atomic():
                    publish_on_commit(Order(number, 1.0))
            except CoordinationError as exc:
                return JsonResponse({"error": str(exc)}, status=503)
            threads = [each.name for each in threading.enumerate() if each.name.startswith("eventy")]
            return JsonResponse({"pid": os.getpid(), "threads": threads})
        """,
    "shop/subscribers.py": """
        from django.contrib.auth.models import User
        from django.db import connection

        from eventy_sync.contrib.django import subscriber


        @subscriber(group="billing", from_index=1, max_attempts=1)
        def bill(event):
            is_fresh = connection.connection is None
            User.objects.count()
            if event.payload.total < 0:
                raise ValueError(f"a total of {event.payload.total}")
            print("billed", event.payload.id, "fresh" if is_fresh else "stale", flush=True)
        """,
    "runner.py": """
        import json
        import os
        import unittest

        from django.test.runner import DiscoverRunner


        class Result(unittest.TextTestResult):
            outcomes = {}

            def startTest(self, test):
                super().startTest(test)
                self.outcomes[test._testMethodName] = ""

            def addError(self, test, err):
                super().addError(test, err)
                self.outcomes[getattr(test, "_testMethodName", "all")] = self.errors[-1][1]

            def addFailure(self, test, err):
                super().addFailure(test, err)
                self.outcomes[test._testMethodName] = self.failures[-1][1]


        class Runner(DiscoverRunner):
            def get_resultclass(self):
                return Result

            def run_suite(self, suite, **kwargs):
                result = super().run_suite(suite, **kwargs)
                with open(os.environ["TEST_OUTCOMES"], "w") as file:
                    json.dump(Result.outcomes, file)
                return result
        """,
}


class Project(web_projects.Project):
    """What ``django-admin startproject`` makes, and an app."""

    files = FILES
    also_on_path = (Path(__file__).parent,)
    application = "wsgi"
    worker = ("manage.py", "eventy_worker")

    def manage(self, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``manage.py`` to its end."""
        return self.run("manage.py", *arguments, **env)

    def prepare(self) -> None:
        """Make the database's tables."""
        assert self.manage("migrate", "--verbosity", "0").returncode == 0

    def queue_settings(self, **settings: object) -> dict[str, str]:
        """Return the environment that adds settings of the queue."""
        return {"TEST_QUEUE": json.dumps(settings)}
