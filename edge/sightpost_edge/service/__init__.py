"""A station as a systemd service: put on the machine, looked at, taken away again."""
