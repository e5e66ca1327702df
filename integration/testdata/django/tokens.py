"""Creates users and tokens with Django REST Framework (DRF), and authenticates each key.

    tokens.py MODEL sqlite3 FILE
    tokens.py MODEL postgresql HOST PORT DATABASE

MODEL is "authtoken", the model of DRF, or "many", a model of a service that has named tokens. The
script prints a tab-separated line for each token: the key, the ID of the user, the name of the
token, the creation time in microseconds since 1970, and the ID of the user for whom DRF accepts
the key. If DRF refuses the key, the last field is empty.
"""

import sys

import django
from django.conf import settings

model, engine, *place = sys.argv[1:]
database = {"ENGINE": "django.db.backends." + engine, "NAME": place[-1]}
if engine == "postgresql":
    database.update(HOST=place[0], PORT=place[1], USER="postgres")
settings.configure(
    DATABASES={"default": database},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    # Without the app authtoken, the model of DRF is abstract, and another model can extend it.
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"]
    + ["rest_framework.authtoken"] * (model == "authtoken"),
    SECRET_KEY="not used",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, models, transaction
from rest_framework.authentication import TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.exceptions import AuthenticationFailed

NAMES = ["laptop", "backup job", "名前", 'a "quoted" one', "it's; --"]

call_command("migrate", verbosity=0)
if model == "many":

    class Token(Token):
        id = models.AutoField(primary_key=True)
        key = models.CharField(max_length=40, unique=True)
        user = models.ForeignKey(User, related_name="tokens", on_delete=models.CASCADE)
        name = models.CharField(max_length=64)

        class Meta:
            app_label = "tokens"
            unique_together = [("user", "name")]

    with connection.schema_editor() as editor:
        editor.create_model(Token)


class Authentication(TokenAuthentication):
    model = Token


def authenticated_user(key):
    try:
        user, _ = Authentication().authenticate_credentials(key)
        return user.pk
    except AuthenticationFailed:
        return ""


with transaction.atomic():
    for i in range(40):
        user, _ = User.objects.get_or_create(username=f"user{i}", is_active=i % 4 != 3)
        for name in NAMES[: i % len(NAMES) + 1] if model == "many" else [None]:
            Token.objects.create(user=user, **({"name": name} if name else {}))

for token in Token.objects.all():
    created = round(token.created.timestamp() * 1e6)
    name = getattr(token, "name", "")
    print(token.key, token.user_id, name, created, authenticated_user(token.key), sep="\t")
