"""What the device saw, brought to others: events from the store's outbox to an MQTT broker.

A process of its own: it reads the store and writes nothing there but its cursor, so a dead network
costs the run nothing. Import its modules by name: the run needs only ``settings`` and ``child``.
"""
