"""Serves HTTP with the TokenAuthentication of Django REST Framework, for BenchmarkServer.

    drf.py FOLDER

The service creates a SQLite file with users and tokens in the folder. It prints one line of JSON
with its address and keys, and serves until standard input is closed. The server is the threaded
WSGI server of Django, with connections that stay open, and without the debug mode, the reloader
and the log of the command runserver.
"""

import json
import os
import sys
import threading
import time

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["localhost"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(sys.argv[1], "db.sqlite3"),
            "CONN_MAX_AGE": None,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework.authtoken",
    ],
    # Sets Content-Length. Without it, the server closes the connection after each response.
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY="not used",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from rest_framework.authtoken.models import Token
from rest_framework.response import Response
from rest_framework.views import APIView


class Index(APIView):
    def get(self, request):
        return Response({"user": request.user.username})


urlpatterns = [
    path("", Index.as_view()),
    path("cpu", lambda request: HttpResponse(str(time.process_time_ns()))),
]


class Handler(WSGIRequestHandler):
    def log_message(self, format, *args):
        pass


call_command("migrate", verbosity=0)
count = int(os.environ["TOKENAUTH_BENCHMARK_TOKENS"])
User.objects.bulk_create(
    (User(username="user%d" % i, password="!") for i in range(count)), batch_size=1000
)
tokens = [Token(key=Token.generate_key(), user=user) for user in User.objects.all()]
Token.objects.bulk_create(tokens, batch_size=1000)

server = ThreadedWSGIServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
server.set_app(get_wsgi_application())
threading.Thread(target=server.serve_forever, daemon=True).start()
greeting = {
    "Address": "127.0.0.1:%d" % server.server_port,
    "Header": "Authorization",
    "Bad": "Token " + Token.generate_key(),
    "Good": ["Token " + token.key for token in tokens[:5000]],
}
print(json.dumps(greeting), flush=True)
sys.stdin.read()
