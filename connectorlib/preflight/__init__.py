"""`check`: one line for each thing that a configuration needs of the live systems, without taking a message.

`findings` are the lines, `broker` and `certificates` what both connectors ask, `command` prints them and says the exit
code. What is asked of databases and of Salesforce is in the connectors' `checking`.
"""
