"""What both connectors need: configuration, the broker, the pump, formats, value expressions, dead letters.

Imports neither sfconnector nor dbconnector.
"""
