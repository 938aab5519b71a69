"""Imports simple_salesforce without its metadata API, which brings a library for SOAP, and without its log-ins, which
bring cryptography: the connector uses neither, and they take longer than all the rest."""

from connectorlib.service.postponed_imports import left_out, postponed

with left_out("simple_salesforce.metadata", "SfdcMetadataApi"), postponed("jwt"):
    from simple_salesforce.api import Salesforce as Api
    from simple_salesforce.exceptions import SalesforceError

__all__ = ["Api", "SalesforceError"]
