"""As which user a connector is known to the broker, and how that user gets rights; in words, for a person. Pure."""

from shlex import quote

from connectorlib.shared_settings import BrokerSettings
from connectorlib.values.text import listed

#: With a certificate the broker takes the user's name from it, and does not tell it.
OF_CERTIFICATE = "the user of the client certificate"


def user_of(settings: BrokerSettings) -> str:
    """Return the name of the user, or what is known of it."""
    return OF_CERTIFICATE if settings.auth == "external" else settings.username


def refused_advice(settings: BrokerSettings, subject: str = "") -> str:
    """Return what to do about a log-in that the broker has refused; `subject` is that of the certificate."""
    if settings.token:
        return (
            "the broker does not take the token, and its log has the reason: auth_backends lacks the plugin "
            "rabbitmq_auth_backend_oauth2, the audience is not its resource_server_id, or it lacks the signing key"
        )
    if settings.auth == "external":
        name = quote(subject or "CN=…")
        return (
            f"create the user that the certificate names: rabbitmqctl add_user {name} PASSWORD && rabbitmqctl "
            f"clear_password {name} (the common name alone where ssl_cert_login_from says so)"
        )
    return "correct username and password; guest may log in from the broker's own machine only"


def grant(settings: BrokerSettings, right: str) -> str:
    """Return how the user gets a right, such as `read`."""
    if settings.token:
        return _scopes(settings, right)
    name = "USER" if settings.auth == "external" else settings.username
    command = f"rabbitmqctl set_permissions -p {settings.virtual_host} {name} …"
    return f"give {user_of(settings)} the right {right} for it ({command})"


def grant_topic(settings: BrokerSettings, exchange: str) -> str:
    """Return how the user gets the right to publish to a topic exchange with other routing keys."""
    name = "USER" if settings.auth == "external" else settings.username
    command = f"rabbitmqctl set_topic_permissions -p {settings.virtual_host} {name} {exchange} …"
    return f"give {user_of(settings)} the right write for it ({command})"


def grant_all(settings: BrokerSettings) -> str:
    """Return what gives the user every right in the virtual host."""
    if settings.token:
        return _scopes(settings, "configure", "write", "read")
    name = "USER" if settings.auth == "external" else quote(settings.username)
    return f"rabbitmqctl set_permissions -p {quote(settings.virtual_host)} {name} '.*' '.*' '.*'"


def _scopes(settings: BrokerSettings, *rights: str) -> str:
    scopes = listed([f"RESOURCE.{right}:{settings.virtual_host}/*/*" for right in rights])
    return f"have the token server give client {settings.username} {scopes}, with the broker's resource_server_id"
