"""ODBC: connections, cursors and connection strings. The only package that imports pyodbc."""
