"""The limit of making Cases: one HTTP connection that posts ready-made bodies, one after the other; nothing else."""

import json
import sys
from typing import Any

import requests

DATA = "services/data/v62.0"


def logged_in(salesforce: dict[str, Any]) -> tuple[requests.Session, str]:
    """Return a session with a token, and the address of the API."""
    form = {name: salesforce[name] for name in ("client_id", "client_secret", "username")}
    password = salesforce["password"] + salesforce["security_token"]
    form |= {"grant_type": "password", "password": password}
    session = requests.Session()
    session.trust_env = False
    answer = session.post(f"{salesforce['login_url']}/services/oauth2/token", form, timeout=30)
    answer.raise_for_status()
    token = answer.json()
    session.headers.update({"Authorization": f"Bearer {token['access_token']}", "Content-Type": "application/json"})
    return session, f"{token['instance_url']}/{DATA}"


def run(salesforce: dict[str, Any], batches: list[list[dict[str, Any]]]) -> None:
    bodies = [json.dumps({"allOrNone": False, "records": batch}).encode() for batch in batches]
    session, url = logged_in(salesforce)
    for body in bodies:
        answer = session.patch(f"{url}/composite/sobjects/Case/Message_Id__c", body, timeout=60)
        answer.raise_for_status()
        assert all(each["success"] for each in answer.json())


if __name__ == "__main__":
    run(**json.load(sys.stdin))
