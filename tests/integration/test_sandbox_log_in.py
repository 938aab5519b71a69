"""The sandbox gives tokens out, and refuses them, in the words of Salesforce."""

import base64
import time

import jwt
import pytest
import requests

from tests.services.salesforce import CLIENT_ID, CLIENT_SECRET, PASSWORD, SECURITY_TOKEN, Org, private_key

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
USER = "hvac@example.com"
PASSWORD_FORM = {
    "grant_type": "password",
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "username": USER,
    "password": PASSWORD + SECURITY_TOKEN,
}
CLIENT_FORM = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


def log_in(org: Org, form, **more) -> requests.Response:
    return requests.post(f"{org.url}/services/oauth2/token", form, timeout=10, **more)


def refusal(answer: requests.Response) -> tuple[int, dict]:
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
    return answer.status_code, answer.json()


def assertion(org: Org, key: str = "", **claims) -> str:
    told = {"iss": CLIENT_ID, "sub": USER, "aud": "https://login.salesforce.com", "exp": int(time.time()) + 120}
    return jwt.encode(told | claims, key or org.key, algorithm="RS256")


def test_password_and_security_token_give_a_token(salesforce):
    salesforce.login("hvac")
    answer = log_in(salesforce, PASSWORD_FORM)
    told = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(told) == {"id", "issued_at", "token_type", "instance_url", "signature", "access_token"}
    assert told["instance_url"] == salesforce.url
    assert told["id"].startswith(f"{salesforce.url}/id/00D")
    assert told["issued_at"].isdigit()
    assert told["access_token"][15:18] == "!AQ"
