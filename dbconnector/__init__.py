"""Between AMQP queues and any ODBC database: select, receive, subscribe."""
