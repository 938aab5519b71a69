"""The data of a sandbox that starts without a state: two users, an app, customers and their devices."""

from sfconnector.sandbox.world import World

CLIENT_ID, CLIENT_SECRET = "sandbox-app", "sandbox-secret"  # public: of the sandbox only
PASSWORD, SECURITY_TOKEN = "sandbox-password", "sandbox-token"
USERS = {"field-service": "field-service@example.com", "cold-chain": "cold-chain@example.com"}
_NAMES = {"field-service": "Field Service", "cold-chain": "Cold Chain"}
_CUSTOMERS = {
    "Northwind Pumps": ("Ada", "Field", "ada.field@example.com", "PUMP-1001"),
    "Blue Lake Water": ("Ben", "Rivers", "ben.rivers@example.com", "PUMP-1002"),
    "Polar Foods": ("Cleo", "Frost", "cleo.frost@example.com", "FREEZER-2001"),
}


def fill(world: World) -> None:
    """Add the data to an empty world."""
    world.accounts.put_app({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "run_as": USERS["field-service"]})
    for division, username in USERS.items():
        world.accounts.put_user(
            {"username": username, "name": _NAMES[division], "password": PASSWORD, "security_token": SECURITY_TOKEN}
        )
    for company, (first, last, email, serial) in _CUSTOMERS.items():
        account = world.org.seed("Account", [{"Name": company}])[0]
        person = {"AccountId": account, "FirstName": first, "LastName": last, "Email": email}
        contact = world.org.seed("Contact", [person])[0]
        device = {"Name": serial, "Serial_Number__c": serial, "AccountId": account, "ContactId": contact}
        world.org.seed("Asset", [device])


def configuration(url: str) -> str:
    """Return a configuration of sfconnector for this data, as JSON: that of docs/tutorials/first-case.md."""
    return _CONFIGURATION.replace("URL", url)


_CONFIGURATION = """{
  "tenant": {
    "salesforce": {
      "login_url": "URL", "auth": "client_credentials",
      "client_id": "sandbox-app", "client_secret": "sandbox-secret"
    },
    "amqp": {"host": "127.0.0.1", "username": "guest", "password": "guest"}
  },
  "divisions": {
    "pumps": {
      "source": {"exchange": "devices", "routing_keys": ["alarm.pump.#"]},
      "case": {
        "defaults": {"Origin": "Web"},
        "mapping": {
          "Subject": "Pump {device.id}: {alarm|no text}",
          "Priority": {"path": "severity", "map": {"1": "Low", "2": "Medium", "3": "High"}, "default": "Medium"},
          "SuppliedEmail": "contact.email",
          "ContactId": {"lookup": "Contact", "where": {"Email": "contact.email"}, "missing": "skip"}
        },
        "external_id": {"field": "Message_Id__c", "value": "$message_id"}
      }
    }
  },
  "monitoring": {"port": 9401}
}"""
