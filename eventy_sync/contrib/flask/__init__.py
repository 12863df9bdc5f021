"""A queue in a Flask app: configuration, publishing from requests, and a worker that ``flask eventy worker`` runs.

::

    eventy = Eventy(app)            # or Eventy(), and eventy.init_app(app) in a factory
    eventy.queue.publish(Order(id=7, total=12.5))

``docs/flask.rst`` goes through it.
"""

try:
    import flask as _flask  # noqa: F401
except ImportError:
    raise ImportError('eventy_sync.contrib.flask needs Flask: pip install "eventy-sync[flask]"') from None

from eventy_sync.contrib.flask.extension import Eventy

__all__ = ["Eventy"]
