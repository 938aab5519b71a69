"""The version of the distribution; everything else that shows a version takes it from here."""

VERSION = "0.2.0"
