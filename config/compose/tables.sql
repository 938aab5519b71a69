-- What the configuration beside this file writes into; PostgreSQL runs it when it starts for the first time.
CREATE TABLE reading (device text NOT NULL, at timestamptz NOT NULL, value numeric);
