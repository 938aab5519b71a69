"""A client of the sandbox that hides nothing: plain HTTP, and simple_salesforce pointed at the same address."""

from collections.abc import Sequence
from typing import Any

import requests
from simple_salesforce.api import Salesforce, SFType
from simple_salesforce.exceptions import SalesforceError

from tests.services.salesforce import CLIENT_ID, CLIENT_SECRET, PASSWORD, SECURITY_TOKEN, Org

USER = "hvac@example.com"
BASE = "/services/data/v62.0"


class Rest:
    """One session of one user, who is made if need be."""

    def __init__(self, org: Org, username: str = USER) -> None:
        self.org = org
        self.username = username
        self.user_id = org.user(username)
        self.session = requests.Session()
        self.session.trust_env = False
        self.token = ""
        self.log_in()

    def log_in(self) -> None:
        """Open a new session; the one before stays open."""
        self.token = self.log_in_answer().json()["access_token"]
        self.session.headers["Authorization"] = f"Bearer {self.token}"

    def log_in_answer(self) -> requests.Response:
        form = {
            "grant_type": "password",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "username": self.username,
            "password": PASSWORD + SECURITY_TOKEN,
        }
        return requests.post(f"{self.org.url}/services/oauth2/token", form, timeout=30)

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request to a path below the API version's."""
        return self.session.request(method, self.org.url + BASE + path, **{"timeout": 30, **options})

    def create(self, fields: Any, sobject: str = "Case", **headers: str) -> requests.Response:
        return self.send("POST", f"/sobjects/{sobject}", json=fields, headers=headers)

    def create_many(self, records: Sequence[Any], sobject: str = "Case", **body: Any) -> requests.Response:
        typed = [{"attributes": {"type": sobject}, **record} for record in records]
        return self.send("POST", "/composite/sobjects", json={"allOrNone": False, "records": typed, **body})

    def upsert_many(self, records: Sequence[Any], field: str = "Message_Id__c", **body: Any) -> requests.Response:
        typed = [{"attributes": {"type": "Case"}, **record} for record in records]
        path = f"/composite/sobjects/Case/{field}"
        return self.send("PATCH", path, json={"allOrNone": False, "records": typed, **body})

    def query(self, soql: str, **headers: str) -> requests.Response:
        return self.send("GET", "/query", params={"q": soql}, headers=headers)

    def simple(self) -> Salesforce:
        """Return simple_salesforce with the same token; it knows https only, until it is told the address."""
        session = requests.Session()
        session.trust_env = False
        client = Salesforce(session_id=self.token, instance_url=self.org.url, version="62.0", session=session)
        client.base_url = f"{self.org.url}{BASE}/"
        return client

    def simple_object(self, sobject: str) -> SFType:
        found: SFType = getattr(self.simple(), sobject)
        found.base_url = f"{self.org.url}{BASE}/sobjects/{sobject}/"
        return found


def told(error: SalesforceError) -> tuple[Any, Any]:
    """Return the status and the JSON that simple_salesforce was answered (its types say that this is text)."""
    return error.status, error.content
