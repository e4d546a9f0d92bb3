"""Every setting, read once from the environment and `.env`; `.env.example` lists what can be set."""

import secrets
from pathlib import Path
from typing import Any

import dj_database_url
from dotenv import load_dotenv

from config import env
from config.admin_look import UNFOLD  # noqa: F401  (a setting)
from config.storage import image_origins, storages

BASE_DIR = Path(__file__).resolve().parent.parent
load_dotenv(env.text("ENV_FILE", str(BASE_DIR / ".env")))  # what the environment says already stays
VAR_DIR = Path(env.text("VAR_DIR", str(BASE_DIR / "var")))  # everything a development site writes
try:
    VAR_DIR.mkdir(parents=True, exist_ok=True)
except OSError as error:
    raise env.BadSetting(f"VAR_DIR can't be made: {error.strerror}: {VAR_DIR}") from None

# Site
PRODUCTION = env.switch("PRODUCTION", False)
DEBUG = env.switch("DEBUG", False)
PORT = env.integer("PORT", 8000)
WEB_PROCESSES = env.integer("WEB_PROCESSES", 1, least=1)
PUBLIC_URL = env.text("PUBLIC_URL").rstrip("/")  # empty: links use the host of the request


def secret_key() -> str:
    """Return SECRET_KEY; in development make one up and keep it."""
    if key := env.text("SECRET_KEY"):
        return key
    if PRODUCTION:
        raise env.BadSetting("SECRET_KEY must be set in production (or SECRET_KEY_FILE).")
    return made_up("secret_key")


def made_up(name: str) -> str:
    """Return a random secret that this development site keeps in VAR_DIR."""
    path = VAR_DIR / name
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(50))
    return path.read_text()


SECRET_KEY = secret_key()
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "" if PRODUCTION else "*")
if PRODUCTION and not (ALLOWED_HOSTS and PUBLIC_URL):
    raise env.BadSetting("ALLOWED_HOSTS and PUBLIC_URL must be set in production.")
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")  # peers whose X-Forwarded-For is believed
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []

YEAR_SECONDS = 365 * 24 * 3600
if PRODUCTION:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = env.switch("SSL_REDIRECT", True)
    SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]  # asked from inside, without TLS
    SECURE_HSTS_SECONDS = env.integer("HSTS_SECONDS", YEAR_SECONDS, least=0)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = env.switch("HSTS_SUBDOMAINS", False)
    SECURE_HSTS_PRELOAD = env.switch("HSTS_PRELOAD", False)
    if SECURE_HSTS_PRELOAD and not (SECURE_HSTS_INCLUDE_SUBDOMAINS and SECURE_HSTS_SECONDS >= YEAR_SECONDS):
        raise env.BadSetting(f"HSTS_PRELOAD wants HSTS_SUBDOMAINS=yes and HSTS_SECONDS of at least {YEAR_SECONDS}.")
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]  # who else serves the domain, the operator knows
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True

INSTALLED_APPS = [
    "unfold",  # before the admin, which it dresses
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.forms",  # for our templates of form fields
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "corsheaders",
    "django_rq",
    "auditlog",
    "hijack",
    "accounts",
    "billing",
    "generation",
    "office",
    "operations",
]
MIDDLEWARE = [
    "config.logs.RequestIds",
    "operations.metrics.Requests",
    "operations.probes.Probes",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.csp.ContentSecurityPolicy",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "operations.staff.SecondFactor",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "accounts.audit.remember_the_request",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.navigation.navigation",
                "billing.chip.balance",
                "office.announcements.announcements",
            ]
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
LANGUAGE_CODE = "en"
LOCALE_PATHS = [BASE_DIR / "locale"]  # our words for libraries' pages
TIME_ZONE = "UTC"
USE_TZ = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024 * 1024  # two start images of 20 MB as base64, and room to spare

# Content-Security-Policy
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:", *image_origins(env.text("STORAGE_URL"))],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'", "https://checkout.stripe.com", "https://billing.stripe.com"],  # forms that lead there
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
}
CSP_EXCEPTIONS: dict[str, dict[str, list[str]]] = {  # path prefix → what pages that are not ours need beside it
    "/admin/": {"script-src": ["'unsafe-inline'", "'unsafe-eval'"], "style-src": ["'unsafe-inline'"]},  # django-unfold
}

# Static files
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # no collectstatic step

# API
CORS_ALLOW_ALL_ORIGINS = True
CORS_URLS_REGEX = r"^/(api|media)/"
CORS_ALLOW_HEADERS = ["*", "authorization"]  # browsers don't count it among the rest
CORS_EXPOSE_HEADERS = [
    "Retry-After",
    "Idempotent-Replayed",
    *(f"{prefix}RateLimit-{name}" for prefix in ("", "X-") for name in ("Limit", "Remaining", "Reset")),
]
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Atelier",
    "DESCRIPTION": "Images from images and words. Programs written for the Stable Diffusion API, V3, work unchanged.",
    "VERSION": "3",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}
V3_REAL_STATUS_CODES = env.switch("V3_REAL_STATUS_CODES", False)  # off: every V3 answer is 200, as the original's
V3_INLINE_BASE64 = env.switch("V3_INLINE_BASE64", False)  # on: `base64: yes` answers strings, not links
SYNC_WAIT_SECONDS = env.decimal("SYNC_WAIT_SECONDS", 25)
FETCH_WAIT_SECONDS = env.decimal("FETCH_WAIT_SECONDS", 10)

# Accounts
AUTH_USER_MODEL = "accounts.User"
SESSION_ENGINE = "config.sessions"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "accounts.adapter.Adapter"
ACCOUNT_FORMS = {"signup": "accounts.forms.SignupForm"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True  # mail scanners follow links
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_CHANGE = ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_EMAIL_NOTIFICATIONS = True  # of changed passwords, addresses and second factors
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Atelier: "
ACCOUNT_CHANGE_EMAIL = True  # one address an account, changed when the new one is confirmed
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_METHODS = {"password", "mfa"}  # no code by mail: who sits here may read the mail too
ACCOUNT_SESSION_REMEMBER = True
STAFF_SECOND_FACTOR = env.switch("STAFF_SECOND_FACTOR", PRODUCTION)  # nobody reaches the admin without
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Atelier"
MFA_TOTP_TOLERANCE = 1  # a telephone's clock may be 30 seconds off
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# What staff do
HIJACK_PERMISSION_CHECK = "office.impersonation.may_impersonate"
AUDITLOG_INCLUDE_TRACKING_MODELS = (  # kept with before and after; secrets are not among the fields
    {
        "model": "accounts.User",
        "include_fields": [
            *("email", "plan", "time_zone", "suspended_at", "suspension_reason"),
            *("is_active", "is_staff", "is_superuser", "groups", "user_permissions"),
        ],
        "m2m_fields": ["groups", "user_permissions"],
    },
    {
        "model": "accounts.ApiKey",
        "include_fields": [
            *("user", "name", "scope", "spending_cap_credits", "allowed_addresses"),
            *("expires_at", "revoked_at"),
        ],
    },
    "accounts.Plan",
    "accounts.QuotaOverride",
    "billing.Pack",
    "billing.Offer",
    "office.Announcement",
)

# E-mail
EMAIL_HOST = env.text("EMAIL_HOST")  # empty: e-mails are printed; `make run` keeps them in log/web.log and log/io-N.log
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
EMAIL_PORT = env.integer("EMAIL_PORT", 587)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD")
EMAIL_USE_SSL = EMAIL_PORT == 465
EMAIL_USE_TLS = env.switch("EMAIL_USE_TLS", not EMAIL_USE_SSL)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("EMAIL_FROM", "Atelier <atelier@localhost>")

# Credits
WELCOME_CREDITS = env.integer("WELCOME_CREDITS", 20)
CREDIT_PIXEL_STEPS = env.integer("CREDIT_PIXEL_STEPS", 512 * 512 * 31)  # pixels × UNet steps that one credit buys


def default_image_credits(credit_pixel_steps: int) -> int:
    """Return the price of one image as it comes when nothing is chosen: 512 × 512 from a prompt, 31 steps."""
    return max(1, -(-512 * 512 * 31 // credit_pixel_steps))


DEFAULT_IMAGE_CREDITS = default_image_credits(CREDIT_PIXEL_STEPS)

# Card payments; without a key they are off
STRIPE_SECRET_KEY = env.text("STRIPE_SECRET_KEY")
STRIPE_WEBHOOK_SECRETS = env.words("STRIPE_WEBHOOK_SECRETS")  # two while one replaces the other
STRIPE_API_BASE = env.text("STRIPE_API_BASE").rstrip("/")  # empty: Stripe itself
STRIPE_TAX = env.switch("STRIPE_TAX", False)
STRIPE_PROMOTION_CODES = env.switch("STRIPE_PROMOTION_CODES", False)
CURRENCY = env.text("CURRENCY", "usd").lower()  # of new packs and plans
SUPPORT_EMAIL = env.text("SUPPORT_EMAIL")  # whom customers may ask
if STRIPE_SECRET_KEY and PRODUCTION and not STRIPE_WEBHOOK_SECRETS:
    raise env.BadSetting("STRIPE_WEBHOOK_SECRETS must be set where STRIPE_SECRET_KEY is: payments arrive by webhook.")

# Database
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": VAR_DIR / "atelier.sqlite3"}
DATABASE_URL = env.text("DATABASE_URL")
try:
    DATABASES: dict[str, Any] = {"default": dj_database_url.parse(DATABASE_URL) if DATABASE_URL else SQLITE}
except ValueError:  # which may hold the password
    raise env.BadSetting("DATABASE_URL must look like postgres://USER:PASSWORD@HOST/NAME.") from None
DATABASE_POOL = env.integer("DATABASE_POOL", 16, least=0)  # connections of a web process; 0: one for each request
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",  # writers queue up front instead of failing half-way
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }

# Storage
STORAGES = storages(env.text("STORAGE_URL"), VAR_DIR)
MEDIA_URL = "/media/"


# Queue
def redis_url() -> str:
    """Return REDIS_URL, or the address of the embedded server, which `make run` writes down."""
    note = VAR_DIR / "redis_url"
    return env.text("REDIS_URL") or (note.read_text() if note.exists() else "redis://127.0.0.1:6379/0")


REDIS_URL = redis_url()
if not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
    raise env.BadSetting("REDIS_URL must look like redis://HOST:6379/0.")
CACHES = {
    "default": {
        "BACKEND": "config.cache.PatientCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "cache",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    },
    "keys": {  # of accounts/authentication.py; some 1 kB each
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "keys",
        "TIMEOUT": 60,
        "OPTIONS": {"MAX_ENTRIES": 3000},
    },
}
RQ_QUEUES = {
    "gpu": {"URL": REDIS_URL, "DEFAULT_TIMEOUT": -1, "DEFAULT_RESULT_TTL": 60, "SERIALIZER": "json"},
    "fetch": {"URL": REDIS_URL, "DEFAULT_TIMEOUT": 120, "DEFAULT_RESULT_TTL": 60, "SERIALIZER": "json"},
    "io": {"URL": REDIS_URL, "DEFAULT_TIMEOUT": 120, "DEFAULT_RESULT_TTL": 60, "SERIALIZER": "json"},
}
LEASE_SECONDS = env.decimal("LEASE_SECONDS", 30)  # a worker silent for longer has lost its generation
SWEEP_SECONDS = env.integer("SWEEP_SECONDS", 5)
MAX_ATTEMPTS = env.integer("MAX_ATTEMPTS", 3)
STOP_GRACE_SECONDS = env.decimal("STOP_GRACE_SECONDS", 20)  # a stopping worker hands back what would take longer

# Engine
MODEL = env.text("MODEL", str(BASE_DIR / "generation" / "starter"))
MODEL_REVISION = env.text("MODEL_REVISION") or None
MODEL_VARIANT = env.text("MODEL_VARIANT") or None  # "fp16" where a hub id offers such weights
MODEL_CONFIG = env.text("MODEL_CONFIG") or None  # for a single file: folder or hub id of its configs
SCHEDULER = env.text("SCHEDULER") or None
DEVICE = env.text("DEVICE", "auto")
DTYPE = env.text("DTYPE", "auto")
SAFETY_CHECKER = env.text("SAFETY_CHECKER", "opennsfw")
TUNING = env.words("TUNING", "auto")  # how the network computes: what was measured to pay, or names, or none
QUANTIZE = env.text("QUANTIZE")  # weights in fewer bits, by torchao: "int8", "fp8", or nothing
if QUANTIZE not in ("", "int8", "fp8"):
    raise env.BadSetting(f"QUANTIZE must be int8, fp8 or empty, not {QUANTIZE!r}.")
BATCH_IMAGES = env.integer("BATCH_IMAGES", 16)  # generations that a gpu worker makes at once, sharing every step

# User-given URLs
FETCH_ALLOWED_HOSTS = frozenset(env.words("FETCH_ALLOWED_HOSTS"))  # host:port let through though private
if not PRODUCTION:  # the documentation's samples begin with a picture that the site itself serves
    FETCH_ALLOWED_HOSTS |= {f"{name}:{PORT}" for name in ("127.0.0.1", "localhost")}

# A pretend Stripe beside a development site: cards can be tried, and no money moves
STRIPE = env.text("STRIPE")  # "fake", or nothing
if STRIPE not in ("", "fake"):
    raise env.BadSetting(f"STRIPE must be fake or empty, not {STRIPE!r}; the real one needs only STRIPE_SECRET_KEY.")
if STRIPE == "fake":
    if PRODUCTION:
        raise env.BadSetting("STRIPE=fake gives credits for no money, so it is refused in production.")
    if env.text("STRIPE_SECRET_KEY"):
        raise env.BadSetting("Set STRIPE=fake or STRIPE_SECRET_KEY, not both.")
    STRIPE_PORT = env.integer("STRIPE_PORT", PORT + 1)
    STRIPE_API_BASE = f"http://127.0.0.1:{STRIPE_PORT}"
    STRIPE_SECRET_KEY = f"sk_test_{made_up('stripe_key')}"
    STRIPE_WEBHOOK_SECRETS = [f"whsec_{made_up('stripe_webhook_secret')}"]
if STRIPE_API_BASE:  # buttons lead to its pay pages
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["form-action"].append(STRIPE_API_BASE)

# Retention, where the plan says nothing: none keeps forever, 0 only as long as delivery needs
RETENTION_OUTPUT_DAYS = env.days("RETENTION_OUTPUT_DAYS")
RETENTION_INPUT_DAYS = env.days("RETENTION_INPUT_DAYS")

# Operation
METRICS_FOLDER = env.text("PROMETHEUS_MULTIPROC_DIR")  # what several web processes count; set by config/serve.py
METRICS_TOKEN = env.text("METRICS_TOKEN")  # of the Prometheus server: "Authorization: Bearer …"
METRICS_ADDRESSES = env.networks("METRICS_ADDRESSES", "" if PRODUCTION else "127.0.0.0/8 ::1/128")  # may ask without
LOG_FORMAT = env.text("LOG_FORMAT", "json" if PRODUCTION else "line")
if LOG_FORMAT not in ("json", "line"):
    raise env.BadSetting(f"LOG_FORMAT must be json or line, not {LOG_FORMAT!r}.")
LOG_LEVEL = env.text("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
    raise env.BadSetting(f"LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not {LOG_LEVEL!r}.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "config.logs.Line", "format": "{asctime} {levelname} {name} {message}", "style": "{"},
        "json": {"()": "config.logs.Json"},
    },
    "filters": {"no_probes": {"()": "config.logs.NoProbes"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    # These would bring handlers of their own, which know nothing of secrets.
    "loggers": {name: {"handlers": [], "propagate": True} for name in ("django", "django.server", "rq.worker")}
    | {"stripe": {"level": "WARNING"}}  # it logs every call
    | {"django.request": {"filters": ["no_probes"]}},
}
