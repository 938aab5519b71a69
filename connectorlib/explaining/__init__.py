"""What one message would become, asked without a network: for `explain`, configuration tests, edited dead letters.

`message` stands for what travels beside the body, `explanation` is the answer, `places` finds the spot in the body,
`telling` writes it for a person, `command` is the command. The connectors give the answers: their `offline` modules.
"""
